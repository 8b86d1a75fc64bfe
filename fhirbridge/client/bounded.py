"""Connections over which no byte leaves after a moment that was named.

What a patient allowed a second ago may be forbidden now. So whoever has just asked names the moment until which the
answer is to be believed, and every block of a request is held against it, right before it goes to the socket: however
long a name took to resolve, a proxy to connect, or the process was stopped in between.
"""

from __future__ import annotations

import ssl
import threading
import time
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import HTTPResponse

from fhirbridge.client.dial import dial
from fhirbridge.client.exchange import current
from fhirbridge.client.incoming import Allowance, BoundedResponse
from fhirbridge.client.network import Network
from fhirbridge.client.tls import Security, Tls

# Seconds for a connection, and for any one block of a request to leave.
LONGEST_CONNECT = 10.0
# A block of this size is one write to the socket, which the connection's own timeout ends.
_BLOCK = 1 << 14


class Late(TimeoutError):
    """The moment was over."""


class Route:
    """How the connections of a channel come about: ``network``, TLS, and ``longest`` seconds for each to.

    Raises :class:`ConfigError` where the certificates cannot be used.
    """

    def __init__(self, tls: Tls, network: Network, timeout: float) -> None:
        self.network, self.longest = network, min(timeout, LONGEST_CONNECT)
        self._tls, self._lock = tls, threading.Lock()
        # What the configuration names is read at once, so that a fault is told at once; the system's authorities, which
        # take a while, only where they are needed.
        self._security = None if tls == Tls() else Security(tls)

    def security(self) -> Security:
        """TLS for these connections."""
        with self._lock:
            if self._security is None:
                self._security = Security(self._tls)
            return self._security


class Connection(HTTPConnection):
    """A connection to one host, used only within an :class:`Exchange`, whose limits it keeps."""

    def __init__(self, host: str, port: int | None = None, *, route: Route, **more: Any) -> None:
        super().__init__(host, port, **more)
        self._named, self._route = host, route
        self._allowance: Allowance | None = None

    def connect(self) -> None:
        """Connect. Raises :class:`SiteUnreachable`."""
        self._allowance = None
        self.sock = dial(self._named, self.port, self._route.network, self._route.longest)
        self.sock.settimeout(self._route.longest)

    @property
    def is_connected(self) -> bool:
        """Whether it may be used again: it stands, and nothing that nobody asked for is or was in it."""
        return super().is_connected and not (self._allowance is not None and self._allowance.stray)

    def putrequest(self, method: str, url: str, skip_host: bool = False, skip_accept_encoding: bool = False) -> None:
        """Begin a request. Its target is that of the exchange, and not what was made of it on the way."""
        super().putrequest(method, current().target, skip_host, skip_accept_encoding)

    def send(self, data: Any) -> None:
        """Send a part of a request, block by block, looking at the clock before each. Raises :class:`Late`,
        :class:`SiteUnreachable` where no connection comes about, and ``OSError``."""
        exchange = current()
        if self.sock is None:
            # A name may take long to resolve: the look at the clock comes after it.
            self.connect()
        block = memoryview(data)
        for start in range(0, len(block), _BLOCK):
            now, deadline = time.monotonic(), exchange.allowance.deadline
            if exchange.not_after is not None and now > exchange.not_after:
                raise Late
            if now > deadline:
                raise TimeoutError
            self.sock.settimeout(min(self._route.longest, max(deadline - now, 0.001)))
            # A block that breaks off may have left in part.
            exchange.sent = True
            try:
                self.sock.sendall(block[start : start + _BLOCK])
            except ssl.SSLEOFError:
                # A server that has heard enough answers and hangs up: what it says counts, if it arrives. urllib3 reads
                # on only after what this is without TLS.
                raise BrokenPipeError from None

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        """The head of the answer, read under the allowance of the exchange, as is what comes of it later."""
        self._allowance = allowance = current().allowance
        begun: list[BoundedResponse] = []

        def begin(*args: Any, **more: Any) -> BoundedResponse:
            begun.append(BoundedResponse(*args, allowance=allowance, **more))
            return begun[-1]

        self.response_class = begin  # type: ignore[assignment]
        try:
            return super().getresponse()
        except BaseException:
            # Where urllib3 dislikes a header it forgets who may hold the socket on its own.
            for one in begun:
                one.close()
            raise


class SecureConnection(Connection, HTTPSConnection):
    """The same by TLS."""

    def connect(self) -> None:
        """Connect. Raises :class:`SiteUnreachable`."""
        super().connect()
        try:
            self.sock = self._route.security().wrap(self.sock, self.host)
        except BaseException:
            self.close()
            raise
        # Or urllib3 would warn that nobody has looked at the certificate.
        self.is_verified = True
