"""Interleaved timing: in each round every contender works on the same items, and in the next round on others.

No item is ever seen twice by a contender: what it could remember of one item, it could use for the same item only by
cheating. Times are processor seconds of this process, so other programs disturb less than they would a clock.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Contender:
    """One way to do the work: what it does to one item, and its items, as many as the others have.

    It works on the first ``warm_up`` items before it is measured: as many as it needs to learn what it can learn.
    """

    name: str
    run: Callable[[Any], object]
    items: Sequence[Any]
    warm_up: int = 20


@dataclass(frozen=True)
class Timing:
    """Processor seconds per item, one figure a round."""

    name: str
    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the rounds, in seconds per item."""
        return statistics.median(self.rounds)


@dataclass(frozen=True)
class Ratio:
    """How many times faster one contender is than another: median, lowest and highest of the rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        digits = 1 if self.median < 100 else 0
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}–{self.high:.{digits}f})"


def ratio(slow: Timing, fast: Timing) -> Ratio:
    """``slow`` over ``fast``, round by round: what worked on the same items at about the same time is compared."""
    each = [one / other for one, other in zip(slow.rounds, fast.rounds, strict=True)]
    return Ratio(statistics.median(each), min(each), max(each))


def measure(contenders: Sequence[Contender], rounds: int, seconds: float) -> dict[str, Timing]:
    """Time all contenders in ``rounds`` rounds, altogether about ``seconds`` long, or until the items are used up.

    The order turns with each round, so that nobody always comes after the same other.
    """
    # The samples would not be there in a real run: the collector is not to walk through them.
    gc.collect()
    gc.freeze()
    pace = sum(_seconds(one, slice(0, one.warm_up)) / one.warm_up for one in contenders)
    first = max(one.warm_up for one in contenders)
    batch = max(1, min((len(contenders[0].items) - first) // rounds, round(seconds / rounds / pace)))
    found: dict[str, list[float]] = {one.name: [] for one in contenders}
    for turn in range(rounds):
        shift = turn % len(contenders)
        start = first + turn * batch
        for one in (*contenders[shift:], *contenders[:shift]):
            found[one.name].append(_seconds(one, slice(start, start + batch)) / batch)
    gc.unfreeze()
    return {name: Timing(name, tuple(times)) for name, times in found.items()}


def _seconds(contender: Contender, part: slice) -> float:
    run, items = contender.run, contender.items[part]
    gc.collect()
    start = time.process_time()
    for item in items:
        run(item)
    return time.process_time() - start
