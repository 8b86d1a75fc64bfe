"""The leaf of reading by layout in Python: what values, shares and plans say, done.

It is what the compiled leaf is measured by, and what serves where there is no compiler.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from fhirbridge.layout.atoms import Atom, Facts
from fhirbridge.layout.conditions import BEGINS, HOLDS, Condition
from fhirbridge.layout.leaf import Claims
from fhirbridge.layout.plain_composer import PlainAtom, PlainComposer
from fhirbridge.layout.plan import UNTOUCHABLE, Frame, Learned
from fhirbridge.layout.trie import Node, PlainNode
from fhirbridge.layout.values import Made, Text, Whole
from fhirbridge.records.base import Record, assembler

Found: TypeAlias = Sequence[bytes]
One: TypeAlias = Callable[[bytes], Any]


class Plain:
    """The leaf in Python."""

    name = "pure"

    def node(self, segment: bytes) -> Node:
        return PlainNode(segment)

    def atom(self, slots: int, in_extension: bool, rule: int, claimed: tuple[str, ...] | None, facts: Facts) -> Atom:
        return PlainAtom(slots, in_extension, rule, claimed, facts)

    def share(self, learned: Learned) -> PlainShare:
        return PlainShare(learned)

    def composer(
        self, frame: Frame, members: dict[bytes, Node], items: dict[bytes, Node], claims: Claims | None
    ) -> PlainComposer:
        return PlainComposer(PlainRecord(frame), members, items, claims)


class PlainShare:
    """What a group of rules makes of its atoms: the fields that one text makes, those that several make, and what is
    asked of the texts.
    """

    def __init__(self, learned: Learned) -> None:
        self.constant = learned.constant
        self.singles: list[tuple[str, One, int]] = []
        self.others: list[tuple[str, Callable[[Found], Any]]] = []
        self.conditions = [_asked(one) for one in learned.conditions]
        for name, made in learned.made:
            one = _one(made)
            if one is None:
                self.others.append((name, _of(made)))
            else:
                assert made.place is not None
                self.singles.append((name, one, made.place))

    def fill(self, found: Found, values: dict[str, Any]) -> bool:
        """Put the fields into ``values``; false where the group's texts do not behave as the learned ones did."""
        for holds in self.conditions:
            if not holds(found):
                return False
        for name, one, place in self.singles:
            values[name] = one(found[place])
        for name, of in self.others:
            values[name] = of(found)
        return True


class PlainRecord:
    """The end of every reading: a record of values, if it is that of the resource."""

    def __init__(self, frame: Frame) -> None:
        self._assembled = assembler(frame.record, frame.checks)
        self._resource_id, self._profiles = frame.resource_id, frame.profiles

    def of(self, values: dict[str, Any], resource_id: bytes, claimed: tuple[str, ...]) -> Record | None:
        """The record; ``None`` where id or profiles are others. Raises what a validator raises."""
        if self._resource_id(values["id"]).encode() != resource_id:
            return None
        record: Record = self._assembled(values)
        if self._profiles(record, UNTOUCHABLE) != claimed:
            return None
        return record


def _asked(condition: Condition) -> Callable[[Found], bool]:
    what, one, other, length, answer, needle = condition
    if what == HOLDS:
        return lambda found: (needle in found[one]) is answer
    if what == BEGINS:
        return lambda found: found[one] == found[other][:length]
    return lambda found: (found[one] == found[other]) is answer


def _one(made: Made) -> One | None:
    """The function of the one text that varies; ``None`` where more than one does."""
    if isinstance(made, Text):
        one: One | None = made.one
    elif made.place is None:
        one = None
    else:
        (key, part), *_ = made.parts
        one = _around(made, key, _one(part))
    if one is None or made.remembered is None:
        return one
    anew, remembered = one, made.remembered

    def again(text: bytes) -> Any:
        value = remembered.get(text)
        if value is None:
            value = anew(text)
            remembered.put(text, value)
        return value

    return again


def _around(made: Whole, key: Any, part: One | None) -> One:
    assert part is not None
    template, finish, inner = _template(made), _finish(made), part

    def one(text: bytes) -> Any:
        values = template.copy()
        values[key] = inner(text)
        return finish(values)

    return one


def _of(made: Made) -> Callable[[Found], Any]:
    one = _one(made)
    if one is not None:
        place, single = made.place, one
        assert place is not None
        return lambda found: single(found[place])
    assert isinstance(made, Whole)
    template, finish = _template(made), _finish(made)
    parts = [(key, _of(part)) for key, part in made.parts]

    def of(found: Found) -> Any:
        values = template.copy()
        for key, make in parts:
            values[key] = make(found)
        return finish(values)

    return of


def _template(made: Whole) -> Any:
    return list(made.template) if made.model is None else made.template


def _finish(made: Whole) -> Callable[[Any], Any]:
    return tuple if made.model is None else assembler(made.model, made.checks)
