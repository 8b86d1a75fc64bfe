"""The only source of randomness: the same draws for the same names, on every machine and Python.

Only ``random.Random.random`` is used, whose sequence Python promises to keep; ``gauss`` and ``choice`` carry no such
promise, and logarithms differ between C libraries.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")

# Four uniform numbers have the variance 1/3.
_SCALE = 1.7320508075688772


class Chance:
    """A stream of draws named by ``seed`` and ``names``; streams of different names know nothing of each other."""

    __slots__ = ("_count", "_key", "random")

    def __init__(self, seed: int, *names: int | str) -> None:
        self._key = blake2b(repr((seed, *names)).encode(), digest_size=32).digest()
        self._count = 0
        self.random = random.Random(int.from_bytes(self._key, "big")).random

    def identifier(self) -> str:
        """The next id of this stream: 26 hex digits that look random and never meet those of another stream."""
        self._count += 1
        return blake2b(b"%d" % self._count, key=self._key, digest_size=13).hexdigest()

    def happens(self, probability: float) -> bool:
        """True with ``probability`` (0 to 1)."""
        return self.random() < probability

    def below(self, number: int) -> int:
        """A whole number from 0 up to, not including, ``number``."""
        return int(self.random() * number)

    def between(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``, both included."""
        return low + int(self.random() * (high - low + 1))

    def pick(self, options: Sequence[T]) -> T:
        """One of ``options``, each as likely as the other."""
        return options[int(self.random() * len(options))]

    def weighted(self, options: Sequence[tuple[T, float]]) -> T:
        """One of ``options``, each as likely as its weight."""
        left = self.random() * sum(weight for _, weight in options)
        for option, weight in options:
            left -= weight
            if left < 0:
                return option
        return options[-1][0]

    def normal(self, mean: float, deviation: float) -> float:
        """About normal around ``mean``; never further away than 3.5 times ``deviation``."""
        draw = self.random
        return mean + (draw() + draw() + draw() + draw() - 2) * _SCALE * deviation
