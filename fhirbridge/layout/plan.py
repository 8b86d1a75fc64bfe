"""Plans: what a known combination of atoms is as a record."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from fhirbridge.layout.bound import Bound
from fhirbridge.layout.groups import Untouchable
from fhirbridge.layout.marks import Different
from fhirbridge.layout.trie import Node, grown
from fhirbridge.layout.values import Found, Make
from fhirbridge.records.base import Record, assembler, checks

_UNTOUCHABLE = Untouchable()


@dataclass(frozen=True)
class Learned:
    """What a group of rules makes of its atoms.

    ``constant`` fields stay as they are, ``made`` ones are made of what was found in the group's slots; ``again`` are
    pairs of slots that hold the same value, ``compared`` pairs of which the mapping asks whether they are equal.
    """

    constant: dict[str, Any]
    made: tuple[tuple[str, Make], ...]
    again: tuple[tuple[int, int], ...]
    compared: tuple[tuple[int, int, bool], ...]

    @functools.cached_property
    def single(self) -> list[tuple[str, Callable[[bytes], Any], int]]:
        """The fields, if each is made of one text alone and the mapping compares none with another."""
        singles = [(name, make.one, make.place) for name, make in self.made if make.one is not None]
        free = len(singles) == len(self.made) and not self.compared
        return singles if free else []


def _fill(learned: Learned, part: Found, values: dict[str, Any]) -> bool:
    """Put a group's fields into ``values``; false where the found values do not behave as the learned ones did."""
    for one, other in learned.again:
        if part[one] != part[other]:
            return False
    for one, other, equal in learned.compared:
        if (part[one] == part[other]) is not equal:
            return False
    for name, make in learned.made:
        values[name] = make.of(part)
    return True


def _picker(places: Sequence[int]) -> Callable[[Found], Found]:
    first, following = places[0], places[-1] + 1
    return itemgetter(slice(first, following)) if following - first == len(places) else itemgetter(*places)


class Plan:
    """How the record of one combination of atoms is built.

    ``absent`` has all fields in the order of the model, with the values they have where nothing of their group is
    there. ``is_usual`` once the plan was asked for again.
    """

    def __init__(
        self,
        mapping: Bound,
        absent: dict[str, Any],
        groups: Iterable[tuple[Learned, Sequence[int]]],
        id_place: int,
        claimed: tuple[str, ...],
    ) -> None:
        self.is_usual = False
        self._values = absent.copy()
        self._single: list[tuple[str, Callable[[bytes], Any], int]] = []
        self._steps: list[tuple[Learned, Callable[[Found], Found]]] = []
        self._again: list[tuple[int, int]] = []
        for learned, places in groups:
            self._values.update(learned.constant)
            if learned.single:
                self._single += [(name, one, places[place]) for name, one, place in learned.single]
                self._again += [(places[one], places[other]) for one, other in learned.again]
            elif learned.made:
                self._steps.append((learned, _picker(places)))
        record = mapping.kind.record
        self._assembled, self._id_place = assembler(record, checks(record, "after")), id_place
        self._resource_id, self._profiles, self._claimed = mapping.resource_id, mapping.profiles, claimed

    def record(self, found: Found) -> Record | None:
        """The record with these values; ``None`` where they do not behave as the learned ones did, or are refused."""
        for one, other in self._again:
            if found[one] != found[other]:
                return None
        values = self._values.copy()
        try:
            for name, make, place in self._single:
                values[name] = make(found[place])
            for learned, pick in self._steps:
                if not _fill(learned, pick(found), values):
                    return None
            record: Record = self._assembled(values)
            if self._profiles(record, _UNTOUCHABLE) != self._claimed:
                return None
        except (ValueError, ValidationError, PydanticCustomError, Different):
            return None  # the plain way says what is wrong, and where
        return record if self._resource_id(record.id).encode() == found[self._id_place] else None


class Wholes:
    """The plans of usual resources, found by all of their bytes at once."""

    def __init__(self) -> None:
        self.root: Node[Plan] = Node()
        self._adding = threading.Lock()

    def add(self, segments: Sequence[bytes], plan: Plan) -> None:
        """Add a plan, given the segments around its slots."""
        with self._adding:
            self.root, _ = grown(self.root, segments, plan)
