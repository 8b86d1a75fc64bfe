"""Which addresses belong to a site: the same scheme, host and port, at or below the base path. Nothing else is asked.

A server's ``next`` link may name any host; a client that follows it hands over its token and the patient's data
(measured on the two usual Python clients; HAPI core had it as CVE-2026-34359).
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urljoin, urlsplit

from fhirbridge.errors import SiteUntrusted

_PORTS = {"http": 80, "https": 443}
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\xa0\\]")
# A dot or a slash in disguise: the server may read another path than the one that was checked.
_DISGUISED = re.compile(r"%(?:2e|2f|5c|25|00)", re.IGNORECASE)


def within(base: str, address: str) -> str:
    """``address``, absolute or relative to ``base``, as an absolute URL inside the site.

    Raises :class:`SiteUntrusted` for any other origin or path, for user information, dot segments and encoded slashes.
    """
    if _UNSAFE.search(address):
        raise _untrusted("holds characters that no address has")
    try:
        home, target = urlsplit(base), urlsplit(urljoin(f"{base}/", address))
        same = _origin(home) == _origin(target)
    except ValueError:
        raise _untrusted("cannot be read as an address") from None
    # urljoin resolves dot segments of what it joins; one that is left, or was there, is an attempt.
    written = urlsplit(address).path
    if target.username is not None or target.password is not None or "@" in target.netloc:
        raise _untrusted("names a user")
    if _DISGUISED.search(target.path) or any(step in (".", "..") for step in written.split("/")):
        raise _untrusted("hides a part of its path")
    if not same:
        raise _untrusted("leads to another origin")
    if target.path.rstrip("/") != home.path and not target.path.startswith(f"{home.path}/"):
        raise _untrusted("leaves the path of the site")
    return target._replace(fragment="").geturl()


def _origin(parts: SplitResult) -> tuple[str, str, int | None]:
    return parts.scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme)


def _untrusted(reason: str) -> SiteUntrusted:
    hint = "check base_url; a server behind a proxy must know its public address"
    return SiteUntrusted(f"a link of the site {reason}", code="site.foreign_link", hint=hint)
