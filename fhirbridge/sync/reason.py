"""The reason that the ledger keeps with a delivery: why it waits, and what the next attempt has to know. No values.

``throttled``, ``bundle-refused:split.4`` (next time in a bundle of at most four), ``broken-off:park:looked.1`` (one
look found nothing; if the next finds nothing either, people have to look). So another worker goes on where one died.
``conflict.changed:at.PATH=BASE,THEIRS,OURS`` tells people what clashed, by keyed hashes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self, TypeAlias, get_args

from fhirbridge.sync.conflict import Clash

Then: TypeAlias = Literal["again", "bisect", "park"]
_THEN: tuple[Then, ...] = get_args(Then)
UNSPLIT = 1_000_000
_CLASHES = ":at."
# The hot table holds reasons: whoever needs more paths compares the two resources.
MOST_CLASHES = 20


@dataclass(frozen=True, slots=True)
class Reason:
    """``why`` is a stable code. ``split``: the most entries of its next bundle. ``looked``: looks that found nothing.
    ``then``: what follows when the last look finds nothing. ``clashes``: what the site and we both changed; the first
    :data:`MOST_CLASHES` are kept."""

    why: str = ""
    split: int = UNSPLIT
    looked: int = 0
    then: Then = "again"
    clashes: tuple[Clash, ...] = ()

    @classmethod
    def read(cls, text: str) -> Self:
        """A reason as the ledger keeps it; what is not understood is left out."""
        why, *rest = text.split(":")
        found = cls(why)
        for word in rest:
            name, _, number = word.partition(".")
            if name == "at" and (clash := Clash.read(number)) is not None:
                found = replace(found, clashes=(*found.clashes, clash))
            elif word in _THEN:
                found = replace(found, then=word)
            elif name == "split" and number.isdecimal():
                found = replace(found, split=max(1, int(number)))
            elif name == "looked" and number.isdecimal():
                found = replace(found, looked=int(number))
        return found

    def __str__(self) -> str:
        words = [self.why]
        if self.then != "again":
            words.append(self.then)
        if self.split != UNSPLIT:
            words.append(f"split.{self.split}")
        if self.looked:
            words.append(f"looked.{self.looked}")
        words += [f"at.{clash}" for clash in self.clashes[:MOST_CLASHES]]
        return ":".join(words)

    def because(self, why: str) -> Self:
        """The same delivery, waiting for another reason: it still goes in bundles as small as it did."""
        return type(self)(why, self.split)


def without_clashes(text: str) -> str:
    """A reason as the ledger keeps it, for lists: what clashed is left out."""
    return text.partition(_CLASHES)[0]
