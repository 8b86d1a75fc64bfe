"""One HTTP exchange with a site, with every guard in one place and no retry.

Only addresses inside the site are asked; redirects are not followed; the environment (proxies, ``.netrc``, certificate
bundles) has no say; a body is read under a cap that counts decompressed bytes and under a deadline; only JSON is
believed.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
import urllib3.exceptions
from requests import exceptions

from fhirbridge import __version__
from fhirbridge.client.auth import Anonymous, Authorization
from fhirbridge.client.bounded import BoundedAdapter, Late, until
from fhirbridge.client.origin import within
from fhirbridge.errors import JsonError, SiteUnreachable, SiteUntrusted
from fhirbridge.fhir.json import Json, parse

FHIR_JSON = "application/fhir+json"
_CHUNK = 1 << 16
# Seconds for a connection, and for any one block of a request to leave.
LONGEST_CONNECT = 10.0
_JSON_TYPE = re.compile(r"application/(?:[a-z0-9.+-]+\+)?json(?:\s*;.*)?", re.IGNORECASE)
_READABLE = ("", "identity", "gzip")
# Nothing had been sent when one of these came up.
_BEFORE_FIRST_BYTE = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, the headers, the JSON of the body (``None`` for an empty one)."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    tree: Json = field(default=None, repr=False)


class Transport:
    """A connection to one site. ``timeout`` is seconds between bytes, ``deadline`` seconds for a whole answer,
    ``max_body`` bytes.

    Before each request leaves, the thread that asks calls ``turn``, which keeps a pace, and then ``permit``, which says
    until when the request may leave (see :meth:`exchange`), or raises.
    """

    def __init__(
        self,
        base: str,
        *,
        authorization: Authorization | None = None,
        timeout: float = 30.0,
        deadline: float = 600.0,
        max_body: int = 64 * 2**20,
    ) -> None:
        self.base = base.rstrip("/")
        self._authorization = authorization or Anonymous()
        self._timeout = (min(timeout, LONGEST_CONNECT), timeout)
        self._deadline = deadline
        self._max_body = max_body
        self.turn: Callable[[], object] | None = None
        self.permit: Callable[[], float | None] | None = None
        self._session = requests.Session()
        self._session.trust_env = False
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, BoundedAdapter())

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def exchange(
        self,
        method: str,
        address: str,
        *,
        body: bytes | None = None,
        content_type: str = FHIR_JSON,
        headers: Mapping[str, str] | None = None,
        not_after: float | None = None,
    ) -> Answer:
        """Send one request and read its answer, whatever its status.

        ``address`` is absolute or relative to the base. No block of the request begins to leave after ``not_after``
        (``time.monotonic``); whoever gives it has waited for the turn and asked for the permit. Raises
        :class:`SiteUntrusted` (foreign address, redirect, too large, not JSON) and :class:`SiteUnreachable`, whose
        ``sent`` tells whether the server may have acted; and whatever ``permit`` raises.
        """
        url = within(self.base, address)
        if not_after is None:
            if self.turn is not None:
                self.turn()
            not_after = None if self.permit is None else self.permit()
        started = time.monotonic()
        try:
            with (
                until(not_after),
                self._session.request(
                    method,
                    url,
                    data=body,
                    headers=self._headers(body, content_type, headers or {}),
                    timeout=self._timeout,
                    allow_redirects=False,
                    stream=True,
                ) as response,
            ):
                return self._read(response, started + self._deadline)
        except exceptions.RequestException as error:
            raise _unreachable(error, method) from None

    def _headers(self, body: bytes | None, content_type: str, more: Mapping[str, str]) -> dict[str, str]:
        headers = {
            "Accept": FHIR_JSON,
            "Accept-Encoding": "gzip",
            "Cache-Control": "no-cache",
            "User-Agent": f"fhirbridge/{__version__}",
        }
        if body is not None:
            headers["Content-Type"] = content_type
        return headers | dict(more) | dict(self._authorization.headers())

    def _read(self, response: requests.Response, deadline: float) -> Answer:
        if 300 <= response.status_code < 400 and response.status_code != 304:
            hint = "put the final address into base_url"
            raise SiteUntrusted("the site sends elsewhere", code="site.redirect", hint=hint)
        body = self._body(response, deadline)
        headers = {name.lower(): value for name, value in response.headers.items()}
        if not body.strip():
            return Answer(response.status_code, headers)
        error_status = response.status_code >= 400
        if _JSON_TYPE.fullmatch(headers.get("content-type", "").strip()) is None:
            if error_status:
                return Answer(response.status_code, headers)
            hint = "is this the FHIR base address, or a proxy's page?"
            raise SiteUntrusted("the answer is not JSON", code="site.not_json", hint=hint)
        try:
            return Answer(response.status_code, headers, parse(body))
        except JsonError as error:
            if error_status:
                return Answer(response.status_code, headers)
            raise SiteUntrusted(f"the answer is broken JSON: {error.message}", code="site.broken_json") from None

    def _body(self, response: requests.Response, deadline: float) -> bytes:
        if response.headers.get("Content-Encoding", "").strip().lower() not in _READABLE:
            raise SiteUntrusted("the answer is packed in a way nobody asked for", code="site.encoding")
        body = bytearray()
        try:
            while chunk := response.raw.read(_CHUNK, decode_content=True):
                body += chunk
                if len(body) > self._max_body:
                    hint = "ask for smaller pages, or raise max_body"
                    raise SiteUntrusted("the answer is larger than max_body", code="site.too_large", hint=hint)
                if time.monotonic() > deadline:
                    raise SiteUnreachable("the answer took too long", sent=True)
        except urllib3.exceptions.DecodeError:
            raise SiteUntrusted("the answer cannot be unpacked", code="site.encoding") from None
        except (urllib3.exceptions.HTTPError, OSError):
            raise SiteUnreachable("the connection broke off in the middle of the answer", sent=True) from None
        return bytes(body)


def _unreachable(error: exceptions.RequestException, method: str) -> SiteUnreachable:
    causes = list(_causes(error))
    late = next((cause for cause in causes if isinstance(cause, Late)), None)
    if late is not None:
        return SiteUnreachable("the time in which it might be sent was over", sent=late.sent, hint="push again")
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return SiteUnreachable("the site's certificate is not trusted", sent=False, hint="check the address and the CA")
    if any(isinstance(cause, _BEFORE_FIRST_BYTE) for cause in causes):
        return SiteUnreachable("no connection to the site", sent=False, hint="check base_url and the network")
    if isinstance(error, exceptions.Timeout):
        return SiteUnreachable("the site did not answer in time", sent=True, hint="raise timeout")
    return SiteUnreachable(f"the connection broke off during {method}", sent=True)


def _causes(error: BaseException) -> list[BaseException]:
    """The error and all it was raised from or wraps; requests and urllib3 keep causes in ``args`` and ``reason``."""
    found: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseException) and all(one is not other for other in found):
            found.append(one)
            waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    return found
