"""The layouts of one kind of record: learned resource by resource, combined freely."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fhirbridge.errors import Refused
from fhirbridge.fhir.json import Tree, dump
from fhirbridge.layout.atoms import NO_RULE, Atom, Atoms, sample
from fhirbridge.layout.bound import Bound, Claim, every
from fhirbridge.layout.conditions import equal
from fhirbridge.layout.groups import Groups, Said, said_by
from fhirbridge.layout.leaf import Known, Leaf
from fhirbridge.layout.marks import MARKED, Different, Marks, transplanted
from fhirbridge.layout.plan import UNTOUCHABLE, Frame, Learned
from fhirbridge.layout.values import made_of, remembering
from fhirbridge.records.base import Record, checks

# The bound of what is kept of one kind: bytes of atoms.
_MOST_BYTES = 2**20
# Learning costs as much as some plain readings: it goes on only while layouts come again.
_CREDIT, _COST = 4_000, 10
_RESOURCE_ID = "\ue0009999\ue001"


@dataclass(slots=True)
class _Own:
    """The atoms of one group in the order of the body, and the marks in their slots."""

    atoms: list[Atom] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)

    def append(self, atom: Atom, slots: list[int]) -> None:
        self.atoms.append(atom)
        self.slots += slots


class KindLayouts:
    """The layouts of one kind. ``rivals`` are the claims of the kinds that are asked before it; ``leaf`` does what is
    done for every body.
    """

    def __init__(self, mapping: Bound, rivals: Sequence[Claim], leaf: Leaf) -> None:
        self.mapping = mapping
        self._leaf, self._rivals = leaf, rivals
        self._rules = mapping.rules.rules
        self._groups = Groups(self._rules)
        self._credit = _CREDIT
        self._learning = threading.Lock()
        record = mapping.kind.record
        frame = Frame(record, checks(record, "after"), mapping.resource_id, mapping.profiles)
        self._atoms = Atoms(leaf.node, leaf.atom)
        alone = mapping.kind.claims is every and not rivals
        claims = None if alone else self._is_claimed
        self._composer = leaf.composer(frame, self._atoms.members, self._atoms.items, claims)
        self._forget()

    def _forget(self) -> None:
        #: What each group makes of its atoms.
        self._shares: dict[tuple[Atom, ...], Any] = {}
        #: The fields of groups without any atom, and the groups that were never seen without.
        self._absent: dict[str, Any] = dict.fromkeys(self.mapping.kind.record.model_fields)
        self._needed = set(self._groups.fields)
        self._tell()

    def _tell(self) -> None:
        # Copies: another thread may be reading while more is learned.
        known = Known(self._groups.of, frozenset(self._needed), self._shares.copy(), self._absent.copy())
        self._composer.know(known)

    def read(self, body: bytes, position: int) -> Record | None:
        """The record of a body whose first atom is at ``position``; ``None`` if its layout is not known."""
        record = self._composer.record(body, position)
        if record is not None and self._credit < _CREDIT:
            self._credit += 1
        return record

    def learn(self, body: bytes, resource: Tree, record: Record) -> None:
        """Learn a body that was read the plain way without residue, if it can be learned."""
        if self._credit < _COST or self._atoms.bytes > _MOST_BYTES:
            return
        if b"\\" in body or MARKED.encode() in body or dump(resource) != body:
            return
        with self._learning:
            self._learn(resource, record)
            self._tell()

    def _learn(self, resource: Tree, record: Record) -> None:
        self._credit -= _COST
        try:
            marks = Marks()
            marked = marks.marked(record)
            said = said_by(self._rules, marked)
            if self._groups.merge(said):
                self._forget()
            self._add(resource, record, marks, said, self.mapping.profiles(marked, UNTOUCHABLE))
        except (Different, Refused, LookupError, ValueError, ArithmeticError, RecursionError):
            return  # a mapping computes with a marked value: such a layout is always read the plain way

    def _add(
        self, resource: Tree, record: Record, marks: Marks, said: Sequence[Said], profiles: tuple[str, ...]
    ) -> None:
        written: Tree = {"resourceType": resource["resourceType"], "id": _RESOURCE_ID}
        owners: dict[str, int] = {}
        items: list[tuple[int, Tree]] = []
        for one in said:
            written |= one.node
            owners |= dict.fromkeys(one.node, one.rule)
            items += [(one.rule, item) for item in one.extensions]
        if profiles:
            written["meta"] = {**written["meta"], "profile": list(profiles)}
        if items:
            written["extension"] = [item for _, item in items]
        groups = {group: _Own() for group in self._groups.fields}
        for name, node in transplanted(resource, written).items():
            if name == "extension":
                for item, (rule, _) in zip(node, items, strict=True):
                    groups[self._groups.of[rule]].append(*self._atoms.add(item["url"], True, item, rule))
            elif name == "id":
                self._atoms.add("id", False, node, NO_RULE)
            elif name != "resourceType":
                rule = owners[name]
                groups[self._groups.of[rule]].append(*self._atoms.add(name, False, node, rule))
        for group, fields in self._groups.fields.items():
            some = groups[group]
            if not some.atoms:
                if group in self._needed:
                    self._absent |= _learned(record, fields, marks, some.slots).constant
                    self._needed.discard(group)
            elif tuple(some.atoms) not in self._shares:
                self._shares[tuple(some.atoms)] = self._leaf.share(_learned(record, fields, marks, some.slots))

    def _is_claimed(self, atoms: tuple[Atom, ...]) -> bool:
        """Whether this kind is the one that reads such a resource; claims look at codes, which do not vary."""
        resource = sample(self.mapping.kind.resource_type, atoms)
        return self.mapping.kind.claims(resource) and not any(claims(resource) for claims in self._rivals)


def _learned(record: Record, fields: Iterable[str], marks: Marks, slots: Sequence[int]) -> Learned:
    """What a group of rules makes of its atoms, seen in one record; ``slots`` are the marks in their slots."""
    at = {number: place for place, number in reversed(list(enumerate(slots)))}
    constant, made = made_of(record, fields, marks, at)
    again = [equal(place, at[number]) for place, number in enumerate(slots) if at[number] != place]
    asked = {one.at(at) for one in marks.conditions if {one.one, one.other} <= at.keys()}
    ready = tuple((name, remembering(one)) for name, one in made.items())
    return Learned(len(slots), constant, ready, (*again, *asked))
