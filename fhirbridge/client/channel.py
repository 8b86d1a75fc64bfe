"""One request and its answer over guarded connections, with no credential of its own and no retry.

Only addresses that the rules of the network allow are connected to; TLS is 1.2 or newer and always checked; redirects
are not followed; the environment (proxies, ``.netrc``, certificate bundles) has no say; no cookie is kept; a body is
read under caps that count what comes and what it unpacks to, and under a clock for the whole answer; only JSON is
believed. Every request of the project goes through here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException, IncompleteRead, LineTooLong
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.exceptions import InvalidURL, ReadTimeout, RequestException, Timeout
from urllib3.exceptions import HTTPError

from fhirbridge import __version__
from fhirbridge.client.body import JSON_TYPE, LINES_TYPE, Caps, believed, blocks, cut_off, headers_of, lines
from fhirbridge.client.bounded import Late, Route
from fhirbridge.client.exchange import Exchange
from fhirbridge.client.incoming import Allowance, TookTooLong, TooMuch
from fhirbridge.client.network import Network
from fhirbridge.client.pool import Session
from fhirbridge.client.tls import Tls, own_certificate_refused
from fhirbridge.errors import JsonError, SiteRefused, SiteUnreachable, SiteUntrusted
from fhirbridge.fhir.json import Json

_ACCEPT_LINES = "application/fhir+ndjson"
# What is not looked at is read to its end only if that is near, in blocks; a new connection costs less than more of it.
_WORTH_READING = 2
# What requests raises are OSErrors. What is no Latin-1 in a header is a ValueError; a byte that is no number in the
# framing is one too.
_TROUBLE = (OSError, HTTPError, HTTPException, TooMuch, ValueError)
_HOST = re.compile(r"[A-Za-z0-9._:-]+")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, the headers, the JSON of the body (``None`` for an empty one)."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    tree: Json = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class _Received:
    """The head of an answer, and what its body is read from."""

    status: int
    headers: dict[str, str]
    raw: Any
    exchange: Exchange

    @property
    def length(self) -> int | None:
        """Bytes that are still to come as far as the head says."""
        length: int | None = self.raw.length_remaining
        return length

    def read(self, amt: int, /) -> bytes:
        """At most ``amt`` bytes of the body as they come."""
        with self.exchange.at_hand():
            block: bytes = self.raw.read(amt, decode_content=False)
        return block

    def blocks(self, caps: Caps) -> Iterator[bytes]:
        """The body, unpacked; what goes wrong with the connection is told as an error of ours."""
        try:
            yield from blocks(self, self.headers, caps, self.exchange.allowance)
        except _TROUBLE as error:
            raise _told(error, sent=True) from None


class Channel:
    """Connections to whatever the rules allow. ``timeout`` is seconds between bytes, ``deadline`` seconds for a whole
    exchange, ``max_body`` bytes of an answer, as it comes and unpacked.

    Raises :class:`ConfigError` where the certificates cannot be used.
    """

    def __init__(
        self,
        *,
        tls: Tls = Tls(),  # noqa: B008 - frozen
        network: Network = Network(),  # noqa: B008 - frozen
        timeout: float = 30.0,
        deadline: float = 600.0,
        max_body: int = 64 * 2**20,
    ) -> None:
        self._timeout, self._deadline = timeout, deadline
        self._caps = Caps(max_body, max_body)
        self._session = Session(Route(tls, network, timeout))

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def exchange(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        not_after: float | None = None,
    ) -> Answer:
        """Send one request to an absolute ``url`` and read its answer, whatever its status.

        No block of the request begins to leave after ``not_after`` (``time.monotonic``). Raises
        :class:`SiteUntrusted` (redirect, too large, not JSON) and :class:`SiteUnreachable`, whose ``sent`` tells
        whether the server may have acted.
        """
        deadline = time.monotonic() + self._deadline
        with self._asked(method, url, headers, body, not_after, deadline) as received:
            return self._answer(received)

    @contextmanager
    def lines(
        self, url: str, *, headers: Mapping[str, str], caps: Caps, deadline: float, not_after: float | None = None
    ) -> Iterator[Iterator[bytes]]:
        """GET a file of NDJSON: a context that gives its lines, none of them empty, as they come.

        ``caps`` and ``deadline`` (seconds for the whole file) are those of the file. Raises :class:`SiteRefused` for
        any status but 200, and what :meth:`exchange` raises, then and while lines are taken.
        """
        headers = {"Accept": _ACCEPT_LINES} | dict(headers)
        with self._asked("GET", url, headers, None, not_after, time.monotonic() + deadline) as received:
            status = received.status
            if status != 200:
                raise SiteRefused(
                    f"the site answered GET with status {status}",
                    status=status,
                    retry_after=received.headers.get("retry-after"),
                )
            if LINES_TYPE.fullmatch(received.headers.get("content-type", "").strip()) is None:
                raise SiteUntrusted("the answer is not NDJSON", code="site.not_json", hint="is that the file?")
            yield lines(received.blocks(caps), caps.line)

    @contextmanager
    def _asked(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        not_after: float | None,
        deadline: float,
    ) -> Iterator[_Received]:
        """Send a request; a context in which its answer is read, and after which the connection waits for the next."""
        exchange = Exchange(_target(url), not_after, Allowance(deadline, self._timeout))
        try:
            request = _prepared(method, url, headers, body)
            with exchange.at_hand():
                response = self._session.send(
                    request, stream=True, allow_redirects=False, timeout=self._timeout, proxies={}
                )
        except InvalidURL:
            raise _no_address() from None
        except _TROUBLE as error:
            # Of a read timeout that does not come from our connections nothing more is known.
            raise _told(error, sent=exchange.sent or isinstance(error, ReadTimeout)) from None
        try:
            status = response.status_code
            if 300 <= status < 400 and status != 304:
                hint = "put the final address into base_url"
                raise SiteUntrusted("the site sends elsewhere", code="site.redirect", hint=hint)
            yield _Received(status, headers_of(response.raw.headers.items()), response.raw, exchange)
        finally:
            # Of what was not read to its end the connection is closed.
            with exchange.at_hand():
                response.close()

    def _answer(self, received: _Received) -> Answer:
        status, headers = received.status, received.headers
        parts = received.blocks(self._caps)
        is_json = JSON_TYPE.fullmatch(headers.get("content-type", "").strip()) is not None
        body: list[bytes] = []
        for part in parts:
            if body or part.strip():
                body.append(part)
            if not is_json and body and (status < 400 or len(body) > _WORTH_READING):
                break
        if not body:
            return Answer(status, headers)
        if not is_json:
            if status >= 400:
                return Answer(status, headers)
            hint = "is this the FHIR base address, or a proxy's page?"
            raise SiteUntrusted("the answer is not JSON", code="site.not_json", hint=hint)
        try:
            return Answer(status, headers, believed(b"".join(body)))
        except JsonError as error:
            if status >= 400:
                return Answer(status, headers)
            raise SiteUntrusted(f"the answer is broken JSON: {error.message}", code="site.broken_json") from None


def _target(url: str) -> str:
    """What stands in the request line. Who asks has checked that it is the right address."""
    try:
        parts = urlsplit(url)
        # Not read here, but it raises for what is no port.
        _ = parts.port
    except ValueError:
        raise _no_address() from None
    sound = parts.scheme in ("http", "https") and _HOST.fullmatch(parts.hostname or "") and parts.username is None
    if not sound or not url.isascii():
        raise _no_address()
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _prepared(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> requests.PreparedRequest:
    """The request, with nothing of a session in it, and its address as it was given."""
    full = {**headers, "Accept-Encoding": "gzip", "User-Agent": f"fhirbridge/{__version__}"}
    request = requests.PreparedRequest()
    request.prepare(method, url, full, data=body)
    # prepare() writes some characters in another way.
    request.url = url
    return request


def _no_address() -> SiteUntrusted:
    return SiteUntrusted("that is no address to ask", code="site.foreign_link", hint="check base_url")


def _told(error: BaseException, *, sent: bool) -> SiteUnreachable | SiteUntrusted:
    """What an error of a connection means; ``sent``: a first byte had left, so that the server may have acted."""
    match error := _cause(error):
        case Late():
            return SiteUnreachable("the time in which it might be sent was over", sent=sent, hint="push again")
        case TookTooLong():
            return SiteUnreachable("the answer took too long", sent=True)
        case TimeoutError() | Timeout():
            return SiteUnreachable("the site did not answer in time", sent=sent, hint="raise timeout")
        case TooMuch() | LineTooLong():
            return SiteUntrusted("the answer is larger than any should be", code="site.too_large")
        case IncompleteRead():
            return cut_off()
        case HTTPException() if type(error) is HTTPException:
            return SiteUntrusted("the answer has too many headers", code="site.too_large")
        case ValueError() if not sent:
            return SiteUntrusted("a header of the request cannot be written", code="site.request")
    broken = SiteUnreachable("the connection broke off", sent=sent)
    return own_certificate_refused(error) or broken


def _cause(error: BaseException) -> BaseException:
    """What requests and urllib3 have wrapped, each in its way. Not by ``__context__``: that may be an error of somebody
    else, who asks because of it."""
    while isinstance(error, RequestException | HTTPError):
        kept = (getattr(error, "reason", None), *error.args, error.__cause__)
        inner = next((one for one in kept if isinstance(one, BaseException)), None)
        if inner is None:
            break
        error = inner
    return error
