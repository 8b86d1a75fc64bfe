"""The layouts of one kind of record: learned resource by resource, combined freely."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fhirbridge.errors import Refused
from fhirbridge.fhir.json import Tree, dump
from fhirbridge.layout.atoms import NO_RULE, Atom, Atoms, joined
from fhirbridge.layout.bound import Bound, Claim, every
from fhirbridge.layout.groups import Groups, Said, Untouchable, said_by
from fhirbridge.layout.marks import MARKED, Different, Marks, transplanted
from fhirbridge.layout.plan import Learned, Plan, Wholes
from fhirbridge.layout.values import makers, remembering
from fhirbridge.records.base import Record

# Bounds of what is kept of one kind: bytes of atoms, and combinations of them.
_MOST_BYTES = 2**20
_MOST_PLANS = 512
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
    """The layouts of one kind. ``rivals`` are the claims of the kinds that are asked before it; ``wholes`` gets the
    combinations of atoms that are usual.
    """

    def __init__(self, mapping: Bound, rivals: Sequence[Claim], wholes: Wholes) -> None:
        self.mapping = mapping
        self._wholes = wholes
        self._rivals = rivals
        self._rules = mapping.rules.rules
        self._atoms = Atoms()
        self._groups = Groups(self._rules)
        self._credit = _CREDIT
        self._learning = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        #: What each group makes of its atoms, and the plans that follow from it. Plans that are known elsewhere stay
        #: right: what a group wrote without looking elsewhere it will write again.
        self._learned: dict[tuple[int, tuple[Atom, ...]], Learned] = {}
        self._plans: dict[tuple[Atom, ...], Plan] = {}
        self._unplanned: set[tuple[Atom, ...]] = set()
        #: The fields of groups without any atom, and the groups that were never seen without.
        self._absent: dict[str, Any] = dict.fromkeys(self.mapping.kind.record.model_fields)
        self._needed = set(self._groups.fields)

    def read(self, body: bytes, position: int) -> Record | None:
        """The record of a body whose first atom is at ``position``; ``None`` if its layout is not known."""
        split = self._atoms.split(body, position)
        if split is None:
            return None
        atoms, found = split
        plan = self._planned(tuple(atoms), body[:position])
        record = None if plan is None else plan.record(found)
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

    def _learn(self, resource: Tree, record: Record) -> None:
        self._credit -= _COST
        try:
            marks = Marks()
            marked = marks.marked(record)
            said = said_by(self._rules, marked)
            self._unplanned.clear()
            if self._groups.merge(said):
                self._forget()
            self._add(resource, record, marks, said, self.mapping.profiles(marked, Untouchable()))
        except (Different, Refused, LookupError, ValueError, ArithmeticError):
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
            if (group, tuple(some.atoms)) not in self._learned:
                self._learned[group, tuple(some.atoms)] = learned = _learned(record, fields, marks, some.slots)
                if not some.atoms:
                    self._absent |= learned.constant
                    self._needed.discard(group)

    def _planned(self, atoms: tuple[Atom, ...], begin: bytes) -> Plan | None:
        """The plan for a combination of atoms; ``None`` where a group has not been seen with such atoms.

        A combination that comes again is from then on looked for as a whole.
        """
        plan = self._plans.get(atoms)
        if plan is not None:
            if not plan.is_usual:
                plan.is_usual = True
                self._wholes.add(joined(atoms, begin), plan)
            return plan
        if atoms in self._unplanned:
            return None
        plan = self._composed(atoms)
        if plan is None and len(self._unplanned) < _MOST_PLANS:
            self._unplanned.add(atoms)
        elif plan is not None and len(self._plans) < _MOST_PLANS:
            # What is usual came first; the rest is put together each time.
            self._plans[atoms] = plan
        return plan

    def _composed(self, atoms: tuple[Atom, ...]) -> Plan | None:
        own: dict[int, tuple[list[Atom], list[int]]] = {}
        id_place, last_rule, start = -1, -1, 0
        claimed: tuple[str, ...] = ()
        for atom in atoms:
            following = start + atom.slots
            if atom.rule == NO_RULE:
                # The resource id; a second one is no FHIR.
                if id_place >= 0:
                    return None
                id_place = start
            else:
                some, places = own.setdefault(self._groups.of[atom.rule], ([], []))
                some.append(atom)
                places += range(start, following)
            if atom.in_extension:
                # Extensions are written in the order of the rules.
                if atom.rule < last_rule:
                    return None
                last_rule = atom.rule
            elif atom.name == "meta":
                claimed = tuple(atom.node.get("profile", ()))
            start = following
        known = []
        for group, (some, places) in own.items():
            learned = self._learned.get((group, tuple(some)))
            if learned is None:
                return None
            known.append((learned, places))
        if id_place < 0 or not self._needed <= own.keys() or not self._is_claimed(atoms):
            return None
        return Plan(self.mapping, self._absent, known, id_place, claimed)

    def _is_claimed(self, atoms: tuple[Atom, ...]) -> bool:
        """Whether this kind is the one that reads such a resource; claims look at codes, which do not vary."""
        if self.mapping.kind.claims is every and not self._rivals:
            return True
        sample: Tree = {"resourceType": self.mapping.kind.resource_type}
        sample |= {atom.name: atom.node for atom in atoms if not atom.in_extension}
        items = [atom.node for atom in atoms if atom.in_extension]
        if items:
            sample["extension"] = items
        return self.mapping.kind.claims(sample) and not any(claims(sample) for claims in self._rivals)


def _learned(record: Record, fields: Iterable[str], marks: Marks, slots: Sequence[int]) -> Learned:
    """What a group of rules makes of its atoms, seen in one record; ``slots`` are the marks in their slots."""
    at = {number: place for place, number in reversed(list(enumerate(slots)))}
    constant, made = makers(record, fields, marks, at)
    again = tuple((place, at[number]) for place, number in enumerate(slots) if at[number] != place)
    compared = {
        (at[one], at[other], equal)
        for one, other, equal in marks.compared
        if one != other and {one, other} <= at.keys()
    }
    remembered = tuple((name, remembering(make)) for name, make in made.items())
    return Learned(constant, remembered, again, tuple(compared))
