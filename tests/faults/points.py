"""What happens to a worker at its named points: read from the environment, done from inside the worker.

``LAB_AT`` holds orders, separated by commas, each ``POINT[:N]=DEED`` or ``POINT%RATE@SEED=DEED``. ``POINT`` is a name
of :data:`POINTS`, :data:`TO_WRITE` or ``*``; ``N`` the n-th passing (1); ``DEED`` is ``kill`` (SIGKILL) or ``stop``
(SIGSTOP: whoever started the worker can do something at this very moment, and let it go on), or ``leave``, an end
without any tidying with code 75::

    LAB_AT=after-claim:3=kill,during-ack%0.05@7=stop

``LAB_CLOCK`` sets the worker's clock: ``real`` or ``skip`` (waits take no time, the clock moves instead), with an
offset in seconds: ``skip+3600``. SIGUSR1 sends the clock of a running worker an hour ahead, SIGUSR2 an hour back.
"""

from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.faults.proxy import Stage

INSIDE = (
    "before-enqueue-commit",
    "after-enqueue-commit",
    "after-claim",
    "after-consent",
    "after-token",
    "before-ack",
    "during-ack",
    "lease-renewal",
)
# Made by the proxy, which sees them exactly: its stages.
BETWEEN: Mapping[str, Stage] = {
    "after-connect": "connected",
    "mid-request": "mid-request",
    "after-server-commit": "committed",
    "mid-reply": "mid-reply",
}
POINTS = (*INSIDE[:5], *BETWEEN, *INSIDE[5:])
# The same as after-token, where what it is for writes and not only asks.
TO_WRITE = "after-token-to-write"
HOUR = 3600.0
_ORDER = re.compile(r"([a-z*-]+)(?::(\d+)|%([\d.]+)@(\d+))?=(kill|stop|leave)")
_CLOCK = re.compile(r"(real|skip)([+-]\d+)?")


class LabClock:
    """A clock that can jump, and on which waiting may take no time."""

    def __init__(self, text: str = "real") -> None:
        given = _CLOCK.fullmatch(text)
        if given is None:
            raise ValueError(f"LAB_CLOCK: {text}")
        self._skips = given[1] == "skip"
        self._offset = float(given[2] or 0)
        self._lock = threading.Lock()

    def time(self) -> float:
        """Seconds since the epoch, as this worker believes."""
        return time.time() + self._offset

    def jump(self, seconds: float) -> None:
        """Move the clock."""
        with self._lock:
            self._offset += seconds

    def sleep(self, seconds: float) -> None:
        """Wait."""
        if self._skips:
            self.jump(max(0.0, seconds))
        else:
            time.sleep(max(0.0, seconds))


@dataclass
class _Order:
    point: str
    deed: str
    n: int = 1
    rate: float = 0.0
    seen: int = 0
    dice: random.Random = field(default_factory=random.Random, repr=False)

    def is_due(self, point: str) -> bool:
        if self.point not in ("*", point):
            return False
        self.seen += 1
        return self.dice.random() < self.rate if self.rate else self.seen == self.n


class Points:
    """To be called with the name of each point that a worker passes; from any of its threads. A worker may have points
    of which the laboratory knows nothing.
    """

    def __init__(self, orders: str) -> None:
        self._orders, self._lock = [_parsed(one) for one in orders.split(",") if one], threading.Lock()

    def __call__(self, point: str) -> None:
        with self._lock:
            deeds = [order.deed for order in self._orders if order.is_due(point)]
        for deed in deeds:
            # To this thread, so that it does not run a single step further.
            if deed == "leave":
                os._exit(os.EX_TEMPFAIL)
            signal.raise_signal(signal.SIGKILL if deed == "kill" else signal.SIGSTOP)


def from_environment(environment: Mapping[str, str] = os.environ) -> tuple[Points, LabClock]:
    """The orders and the clock of this process. Raises ``ValueError`` for a word that does not exist."""
    clock = LabClock(environment.get("LAB_CLOCK") or "real")
    signal.signal(signal.SIGUSR1, lambda *_: clock.jump(HOUR))
    signal.signal(signal.SIGUSR2, lambda *_: clock.jump(-HOUR))
    return Points(environment.get("LAB_AT", "")), clock


def _parsed(text: str) -> _Order:
    given = _ORDER.fullmatch(text)
    if given is None or given[1] not in ("*", TO_WRITE, *POINTS):
        raise ValueError(f"LAB_AT: {text}")
    point, n, rate, seed, deed = given.groups()
    dice = random.Random(int(seed or 0))  # noqa: S311 - repeatable on purpose
    return _Order(point, deed, int(n or 1), float(rate or 0), dice=dice)
