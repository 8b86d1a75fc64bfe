"""The most requests a minute that a site wants: each waits for its turn, evenly spread, on the caller's clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from fhirbridge.site import Site

_MINUTE = 60.0


class Rate:
    """Turns for one site, shared by threads. ``clock`` gives epoch seconds, ``sleep`` waits for some."""

    def __init__(self, per_minute: int, clock: Callable[[], float], sleep: Callable[[float], object]) -> None:
        self._between = _MINUTE / per_minute
        self._clock, self._sleep = clock, sleep
        self._next = 0.0
        self._waiting = 0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when it is the caller's turn to ask."""
        with self._lock:
            now = self._clock()
            # A clock that was set back must not make anybody wait for longer than those before take.
            turn = max(now, min(self._next, now + (self._waiting + 1) * self._between))
            self._next = turn + self._between
            self._waiting += 1
        try:
            if turn > now:
                self._sleep(turn - now)
        finally:
            with self._lock:
                self._waiting -= 1


def keep_rate(site: Site, clock: Callable[[], float], sleep: Callable[[float], object] | None = None) -> None:
    """Have every request to a site wait for its turn, where the site has a rate."""
    per_minute = site.settings.rate
    if per_minute is not None:
        site.client.before_each(Rate(per_minute, clock, time.sleep if sleep is None else sleep).wait)
