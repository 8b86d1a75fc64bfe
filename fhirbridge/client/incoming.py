"""What comes in over a connection, under a count of bytes and a clock that runs through.

A server that sends one byte a second, or header lines and chunk extensions without end, answers every single read in
time. So the time of the whole answer and the bytes of the whole answer are looked at before each read of the socket.
"""

from __future__ import annotations

import io
import socket
import time
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any

# Status line, headers, and any interim answers before them.
LARGEST_HEAD = 1 << 18
_BUFFER = 1 << 16


class TooMuch(Exception):
    """More bytes came than were allowed."""


class TookTooLong(TimeoutError):
    """The time of the whole answer was over."""


@dataclass(slots=True)
class Allowance:
    """What may still come in: ``left`` bytes until ``deadline`` (``time.monotonic``), ``pause`` seconds between two of
    them. ``stray``: whether something stood behind the end of the answer, where nothing belongs."""

    deadline: float
    pause: float
    left: int = LARGEST_HEAD
    stray: bool = False


class _Raw(io.RawIOBase):
    def __init__(self, sock: socket.socket, allowance: Allowance) -> None:
        self._sock, self._allowance = sock, allowance
        self._source = sock.makefile("rb", buffering=0)
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.ended:
            return None
        allowance, remaining = self._allowance, self._allowance.deadline - time.monotonic()
        if remaining <= 0:
            raise TookTooLong
        if allowance.left <= 0:
            raise TooMuch
        self._sock.settimeout(min(allowance.pause, remaining))
        try:
            count = self._source.readinto(memoryview(buffer)[: allowance.left]) or 0
        except TimeoutError:
            if remaining < allowance.pause:
                raise TookTooLong from None
            raise
        allowance.left -= count
        return count

    def close(self) -> None:
        # The socket is closed when nobody reads from it any more.
        self._source.close()
        super().close()


class _Buffered(io.BufferedReader):
    """Notes what stands behind the end when an answer is done with."""

    def __init__(self, raw: _Raw, allowance: Allowance) -> None:
        super().__init__(raw, _BUFFER)
        self._ours, self._allowance = raw, allowance

    def close(self) -> None:
        if not self.closed:
            self._ours.ended = True
            self._allowance.stray = self._allowance.stray or bool(self.peek(1))
        super().close()


class BoundedResponse(HTTPResponse):
    """An answer that is read under an :class:`Allowance`."""

    def __init__(self, sock: socket.socket, *args: Any, allowance: Allowance, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        self.fp.close()
        self.fp = _Buffered(_Raw(sock, allowance), allowance)

    def begin(self) -> None:
        """Read the head. Cookies are dropped before anybody looks into them."""
        super().begin()
        del self.headers["Set-Cookie"], self.headers["Set-Cookie2"]
