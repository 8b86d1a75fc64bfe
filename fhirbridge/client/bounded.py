"""Connections over which no byte leaves after a moment that was named.

What a patient allowed a second ago may be forbidden now. So whoever has just asked names the moment until which the
answer is to be believed, and every block of a request is held against it, right before it goes to the socket: however
long a name took to resolve, a proxy to connect, or the process was stopped in between.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

# A block of this size is one write to the socket, which the connection's own timeout ends.
_BLOCK = 1 << 14


class Late(TimeoutError):
    """The moment was over. ``sent`` tells whether a part of the request had left before."""

    def __init__(self, *, sent: bool) -> None:
        super().__init__("too late to send")
        self.sent = sent


class _Limit(threading.local):
    """The request that this thread is at: its last moment (``time.monotonic``), and whether any of it has left."""

    at: float | None = None
    sent: bool = False


_limit = _Limit()


@contextmanager
def until(moment: float | None) -> Iterator[None]:
    """Let nothing leave after ``moment`` (``time.monotonic``) on this thread; what does not may raise :class:`Late`."""
    _limit.at, _limit.sent = moment, False
    try:
        yield
    finally:
        _limit.at = None


class _Bounded:
    """Adds the look at the clock to a connection."""

    def send(self, data: Any) -> None:
        if _limit.at is None:
            super().send(data)  # type: ignore[misc]
            return
        connection: Any = self
        if connection.sock is None:
            # A name may take long to resolve: the look at the clock comes after it.
            connection.connect()
        block = memoryview(data)
        for start in range(0, len(block), _BLOCK):
            if time.monotonic() > _limit.at:
                raise Late(sent=_limit.sent)
            super().send(block[start : start + _BLOCK])  # type: ignore[misc]
            _limit.sent = True


class _Connection(_Bounded, HTTPConnection):
    pass


class _SecureConnection(_Bounded, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class BoundedAdapter(HTTPAdapter):
    """The adapter of a session whose connections keep to :func:`until`."""

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        """Make the pools out of such connections."""
        super().init_poolmanager(*args, **more)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
