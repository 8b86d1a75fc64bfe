"""Conditions: how texts in the slots have to behave, for the learned ones did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

EQUAL, BEGINS, HOLDS = range(3)


class Condition(NamedTuple):
    """What was seen of one text, or of two. The numbers of ``what`` are those of the compiled leaf.

    EQUAL: the texts ``one`` and ``other`` are equal, or not, as ``answer`` says. BEGINS: ``one`` is the first
    ``length`` bytes of ``other``. HOLDS: ``one`` holds the byte ``needle``, or not.
    """

    what: int
    one: int
    other: int
    length: int = 0
    answer: bool = True
    needle: bytes = b" "

    def at(self, places: Mapping[int, int]) -> Condition:
        """The same of texts that stand elsewhere."""
        return self._replace(one=places[self.one], other=places[self.other])


def equal(one: int, other: int, answer: bool = True) -> Condition:
    """Two texts are equal, or they are not."""
    return Condition(EQUAL, one, other, answer=answer)


def begins(one: int, other: int, length: int) -> Condition:
    """A text is the beginning of another."""
    return Condition(BEGINS, one, other, length)


def holds(one: int, needle: bytes, answer: bool) -> Condition:
    """A text holds a byte, or it does not."""
    return Condition(HOLDS, one, one, answer=answer, needle=needle)
