"""A token for all threads of a site: kept while it lives, fetched by one of them, and no storm when that fails.

One refused request after the other locks an account. So after a refusal nobody asks again for a minute, then two, up
to an hour; meanwhile every request is told so (``site.token_closed``). What a busy or unreachable endpoint gets is its
own ``Retry-After``, or a second. Processes do not know of each other: each has its first refusal to itself.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from fhirbridge.client.auth.sealed import Sealed
from fhirbridge.client.auth.token import Token
from fhirbridge.client.auth.trouble import Trouble

# Seconds.
_FIRST_CLOSED = 60.0
_LONGEST_CLOSED = 3_600.0
_MOST_DOUBLINGS = 10
# A token that is refused as soon as it comes is not cured by another one.
_BETWEEN_RENEWALS = 10.0
_UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True)
class _Hold:
    """Nobody asks before ``until`` (``time.monotonic``), and everybody is told of ``trouble``."""

    until: float
    trouble: Trouble


class _Mine(threading.local):
    """The token that this thread sent last."""

    token: Token | None = None


class Renewed(Sealed, ABC):
    """Fetches tokens as a subclass knows how to. ``monotonic`` gives seconds that never go back."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._mine = _Mine()
        self._token: Token | None = None
        self._hold: _Hold | None = None
        self._refusals = 0
        self._renewed_at: float | None = None

    @abstractmethod
    def _fetch(self) -> Token | Trouble:
        """A new token; called by one thread at a time."""

    def headers(self) -> Mapping[str, str]:
        """The ``Authorization`` header; whoever comes while a token is being fetched waits for it."""
        with self._lock:
            token = self._mine.token = self._current()
        return {"Authorization": f"Bearer {token.value}"}

    def refused(self, status: int) -> bool:
        """After a 401 there is another token, which the first thread that is told so has fetched.

        Not when the last one was fetched for this very reason a moment ago: then the 401 is about something else.
        """
        if status != _UNAUTHORIZED:
            return False
        with self._lock:
            if self._token is not None and self._token is self._mine.token:
                now = self._monotonic()
                if self._renewed_at is not None and now < self._renewed_at + _BETWEEN_RENEWALS:
                    return False
                self._token, self._renewed_at = None, now
            self._current()
        return True

    def _current(self) -> Token:
        now = self._monotonic()
        if self._token is not None and now < self._token.until:
            return self._token
        if self._hold is not None and now < self._hold.until:
            raise self._hold.trouble.error(self._hold.until - now)
        found = self._fetch()
        if isinstance(found, Trouble):
            self._token, self._hold = None, self._held(found)
            raise found.error(found.wait)
        self._token, self._hold, self._refusals = found, None, 0
        return found

    def _held(self, trouble: Trouble) -> _Hold:
        if trouble.sort != "refused":
            return _Hold(self._monotonic() + trouble.wait, trouble)
        self._refusals += 1
        wait = min(_FIRST_CLOSED * 2.0 ** min(self._refusals - 1, _MOST_DOUBLINGS), _LONGEST_CLOSED)
        said = f"no token is asked for until {wait:.0f} s after the last refusal: {trouble.message}"
        return _Hold(self._monotonic() + wait, replace(trouble, code="site.token_closed", message=said))
