"""What was found on a server not long ago. May be shared by threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

# Seconds after which a chart is looked at again: a merge at the hospital takes effect so soon.
FRESH = 60.0
_MOST = 10_000

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """Values by key, each for ``FRESH`` seconds of the caller's clock, the last used of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[K, tuple[V, float]] = OrderedDict()

    def get(self, key: K, now: float | None) -> V | None:
        """What was kept less than a minute before ``now``; nothing without a ``now``."""
        with self._lock:
            found = self._kept.get(key)
            # A clock that was set back proves nothing about how old it is.
            if found is None or now is None or not 0 <= now - found[1] < FRESH:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def put(self, key: K, value: V, now: float | None) -> None:
        """Keep a value found at ``now``; without a ``now`` nobody could tell how old it is."""
        if now is None:
            return
        with self._lock:
            self._kept[key] = (value, now)
            self._kept.move_to_end(key)
            if len(self._kept) > _MOST:
                self._kept.popitem(last=False)

    def forget(self, key: K) -> None:
        """It is no longer so."""
        with self._lock:
            self._kept.pop(key, None)
