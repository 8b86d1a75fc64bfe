"""Connections over which no byte leaves after a moment that was named.

What a patient allowed a second ago may be forbidden now. So whoever has just asked names the moment until which the
answer is to be believed, and every block of a request is held against it, right before it goes to the socket: however
long a name took to resolve, a proxy to connect, or the process was stopped in between.
"""

from __future__ import annotations

import functools
import socket
import ssl
import time
from http.client import HTTPConnection, HTTPResponse
from typing import Any

from fhirbridge.client.dial import dial
from fhirbridge.client.incoming import Allowance, BoundedResponse
from fhirbridge.client.network import Network
from fhirbridge.client.tls import Security

# Seconds for a connection, and for any one block of a request to leave.
LONGEST_CONNECT = 10.0
# A block of this size is one write to the socket, which the connection's own timeout ends.
_BLOCK = 1 << 14


class Late(TimeoutError):
    """The moment was over."""


class Connection(HTTPConnection):
    """A connection to one host, by TLS where there is ``security``. ``timeout`` is seconds between bytes.

    ``sent`` tells whether any of the request at hand has left.
    """

    def __init__(self, host: str, port: int, network: Network, security: Security | None, timeout: float) -> None:
        super().__init__(host, port)
        self._longest = min(timeout, LONGEST_CONNECT)
        self.default_port = 80 if security is None else 443
        self.sent = False
        self._pause = timeout
        self._network, self._security = network, security
        self._not_after: float | None = None
        self._deadline = 0.0

    def connect(self) -> None:
        """Connect. Raises :class:`SiteUnreachable`."""
        sock = dial(self.host, self.port, self._network, self._longest)
        sock.settimeout(self._longest)
        if self._security is not None:
            try:
                sock = self._security.wrap(sock, self.host)
            except BaseException:
                sock.close()
                raise
        self.sock = sock

    @property
    def dropped(self) -> bool:
        """Whether an idle connection is at its end: closed, or with something in it that nobody asked for."""
        if self.sock is None:
            return True
        try:
            self.sock.settimeout(0)
            # Below TLS, where looking does not read.
            socket.socket.recv(self.sock, 1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return True
        return True

    def begin(
        self, method: str, target: str, body: bytes | None, headers: dict[str, str], not_after: float | None,
        deadline: float,
    ) -> None:  # fmt: skip
        """Send a request, no block of it after ``not_after``, and all of it before ``deadline`` (``time.monotonic``).

        Raises :class:`Late`, :class:`SiteUnreachable` where no connection comes about, and ``OSError``.
        """
        self.sent, self._not_after, self._deadline = False, not_after, deadline
        if self.sock is None:
            self.connect()
        try:
            self.request(method, target, body, headers)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            # A server that has heard enough answers and hangs up: what it says counts, if it arrives.
            if not self.sent:
                raise

    def send(self, data: Any) -> None:
        """Send a part of a request, block by block, looking at the clock before each."""
        block = memoryview(data)
        for start in range(0, len(block), _BLOCK):
            now = time.monotonic()
            if self._not_after is not None and now > self._not_after:
                raise Late
            if now > self._deadline:
                raise TimeoutError
            self.sock.settimeout(min(self._longest, max(self._deadline - now, 0.001)))
            # A block that breaks off may have left in part.
            self.sent = True
            self.sock.sendall(block[start : start + _BLOCK])

    def answer(self) -> tuple[HTTPResponse, Allowance]:
        """The head of the answer, and what may still come of it. Raises ``HTTPException``, ``OSError``, ``TooMuch``."""
        allowance = Allowance(self._deadline, self._pause)
        self.response_class = functools.partial(BoundedResponse, allowance=allowance)  # type: ignore[assignment]
        return self.getresponse(), allowance
