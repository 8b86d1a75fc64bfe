"""The exchange that a thread is at: what its connection has to keep to, and what becomes of it.

requests and urllib3 hand a request on from one to the other and know nothing of a last moment. So it stands where the
connection, at the other end, finds it. While it stands there, urllib3 writes nothing into a log: its lines carry
addresses with their queries, which name patients.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

# Its modules have made their loggers when this is imported.
import requests.adapters
import urllib3

from fhirbridge.client.incoming import Allowance

_LIBRARIES = tuple(module.__name__ for module in (requests, urllib3))


@dataclass(slots=True)
class Exchange:
    """``target``: what stands in the request line. No block of the request leaves after ``not_after``, if that is
    named; ``allowance`` is for the answer. ``sent``: whether any of the request has left."""

    target: str
    not_after: float | None
    allowance: Allowance
    sent: bool = False

    @contextmanager
    def at_hand(self) -> Iterator[None]:
        """Let this be what the thread is at."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)


_current: ContextVar[Exchange] = ContextVar("exchange")


def current() -> Exchange:
    """What this thread is at. Raises :class:`LookupError` for nothing: no request leaves but in an exchange."""
    return _current.get()


def _passes(record: logging.LogRecord) -> bool:
    return _current.get(None) is None


def _silence() -> None:
    # A filter of a logger does not hold for those below it, so every one has its own.
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in _LIBRARIES:
            logging.getLogger(name).addFilter(_passes)


_silence()
