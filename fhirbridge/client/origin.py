"""Which addresses belong to a site: the same scheme, host and port, at or below the base path. Nothing else is asked.

A server's ``next`` link may name any host; a client that follows it hands over its token and the patient's data
(measured on the two usual Python clients; HAPI core had it as CVE-2026-34359). So an address is not repaired or
interpreted, as browsers do, but held against a narrow form. What passes is written anew behind the scheme, host and
port of the configuration: no spelling of those out of data reaches a connection.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes, urlsplit

from fhirbridge.errors import SiteUntrusted
from fhirbridge.origins import origin_of

_LONGEST = 8_192
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\xa0\\]")
# A colon before any slash: a scheme, or what wants to be taken for one.
_SCHEME = re.compile(r"[^/?]*:")
_ABSOLUTE = re.compile(r"(?:([A-Za-z]+):)?//([^/?#]*)(.*)", re.DOTALL)
# No ``;``: some servers cut a segment there before they look at it. No ``%`` but of two digits.
_PATH = re.compile(r"(?:[A-Za-z0-9!$&'()*+,./:=@_~-]|%[0-9A-Fa-f]{2})*")
# A dot, a slash, a semicolon or a percent sign in disguise: the server may read another path than was checked.
_DISGUISED = re.compile(r"%(?:2e|2f|3b|5c|25|[01][0-9a-f]|7f)", re.IGNORECASE)
# What stands in a query as it is; a % that is there stays, so that nothing is encoded twice.
_QUERY = "!$&'()*+,-./:;=?@_~%"


def within(base: str, address: str) -> str:
    """``address``, absolute or relative to ``base``, as an absolute URL inside the site, in ASCII, without a fragment.

    Raises :class:`SiteUntrusted` for any other origin or path, for user information, dot segments however they are
    written, path parameters, and whatever two readers might read differently.
    """
    if len(address) > _LONGEST:
        raise _untrusted("is far too long")
    if _UNSAFE.search(address):
        raise _untrusted("holds characters that no address has")
    home = urlsplit(base)
    address = address.partition("#")[0]
    if address.startswith("//") or _SCHEME.match(address):
        address = _without_origin(address, f"{home.scheme}://{home.netloc}", home.scheme)
    elif not address.startswith("/"):
        address = f"{home.path}/{address}"
    path, mark, query = address.partition("?")
    _check(path, home.path)
    try:
        return f"{home.scheme}://{home.netloc}{path}{mark}{quote(query, safe=_QUERY)}"
    except UnicodeEncodeError:
        raise _untrusted("cannot be read as an address") from None


def _without_origin(address: str, home: str, scheme: str) -> str:
    parts = _ABSOLUTE.fullmatch(address)
    if parts is None:
        raise _untrusted("leads to another origin")
    if "@" in parts[2]:
        raise _untrusted("names a user")
    origin = origin_of(f"{parts[1] or scheme}://{parts[2].removesuffix(':')}")
    if origin is None or origin != origin_of(home):
        raise _untrusted("leads to another origin")
    return parts[3]


def _check(path: str, home: str) -> None:
    if _PATH.fullmatch(path) is None or _DISGUISED.search(path):
        raise _untrusted("hides a part of its path")
    try:
        unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        raise _untrusted("hides a part of its path") from None
    if any(step in (".", "..") for step in path.split("/")):
        raise _untrusted("hides a part of its path")
    if path != home and not path.startswith(f"{home}/"):
        raise _untrusted("leaves the path of the site")


def _untrusted(reason: str) -> SiteUntrusted:
    hint = "check base_url; a server behind a proxy must know its public address"
    return SiteUntrusted(f"a link of the site {reason}", code="site.foreign_link", hint=hint)
