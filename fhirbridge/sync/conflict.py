"""Three-way merge by path: what we sent last, what the site has now, what we want. Pure; no value leaves in a report.

Somebody at the hospital changed a resource of ours. Where their change and ours do not touch the same path both stand;
else it is a conflict for people, told by path and keyed hashes. Numbers count by value, since servers respell them.
"""

from __future__ import annotations

import decimal
import hmac
import re
from dataclasses import dataclass, field
from typing import Self

from jiter import LosslessFloat

from fhirbridge.fhir.json import Json, Tree, canonical
from fhirbridge.records import Decimal

# What each server says of its own copy.
_THE_SERVERS = frozenset({"versionId", "lastUpdated", "source"})
# Lists that are sets: a server may keep what a later write leaves out, and in any order.
_SETS = ("profile", "security", "tag")
_ABSENT: Json = object()
_STEPS = r"_?[A-Za-z][A-Za-z0-9]{0,63}(?:\[[0-9]{1,6}\])*"
_PATH = re.compile(rf"{_STEPS}(?:\.{_STEPS}){{0,31}}")
_WRITTEN = re.compile(rf"({_PATH.pattern})=([0-9a-f]*),([0-9a-f]*),([0-9a-f]*)")


@dataclass(frozen=True, slots=True)
class Clash:
    """A path that both changed, each to something else. Keyed hashes tell equal from unequal, nothing more."""

    path: str
    base: str
    theirs: str
    ours: str

    def as_json(self) -> dict[str, str]:
        """The clash for reports; an empty hash stands for an absent element."""
        return {"path": self.path, "base": self.base, "theirs": self.theirs, "ours": self.ours}

    @classmethod
    def read(cls, text: str) -> Self | None:
        """A clash as :meth:`__str__` wrote it; ``None`` for anything else."""
        found = _WRITTEN.fullmatch(text)
        return None if found is None else cls(*found.groups())

    def __str__(self) -> str:
        # A server may call an element what it likes: only names as FHIR has them are kept.
        path = self.path if _PATH.fullmatch(self.path) else "unnamed"
        return f"{path}={self.base},{self.theirs},{self.ours}"


@dataclass(frozen=True, slots=True)
class Merged:
    """The resource to write, or the clashes that forbid it. ``kept`` are paths where the site's change stands."""

    resource: Tree | None = field(repr=False)
    kept: tuple[str, ...] = ()
    clashes: tuple[Clash, ...] = ()


def merge(base: Tree, theirs: Tree, ours: Tree, key: bytes) -> Merged:
    """Merge ``ours`` into ``theirs``, seen from ``base``, which we wrote last; ``key`` keys the hashes."""
    work = _Work(key)
    content = work.member(_content(base), _content(theirs), _content(ours), "")
    if work.clashes:
        return Merged(None, tuple(work.kept), tuple(work.clashes))
    resource = {name: ours[name] for name in ("resourceType", "id") if name in ours} | dict(content)
    meta = _meta(base.get("meta"), theirs.get("meta"), ours.get("meta"))
    return Merged(resource | ({"meta": meta} if meta else {}), tuple(work.kept))


def differences(before: Tree, now: Tree, key: bytes) -> tuple[Clash, ...]:
    """The paths at which two versions of a resource of ours differ, with keyed hashes; ``meta`` is left out."""
    work = _Work(key)
    work.compare(_content(before), _content(now), "")
    return tuple(work.clashes)


def alike(one: Json, other: Json) -> bool:
    """Whether two nodes say the same; numbers by value (SEKMET makes 0.5 of 0.50, HAPI 100 of 1e2)."""
    if isinstance(one, dict):
        return (
            isinstance(other, dict) and one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
        )
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(alike, one, other))
    if _is_number(one) and _is_number(other):
        return decimal.Decimal(str(one)) == decimal.Decimal(str(other))
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


class _Work:
    """One merge: what it found on its way."""

    def __init__(self, key: bytes) -> None:
        self.kept: list[str] = []
        self.clashes: list[Clash] = []
        self._key = key

    def member(self, base: Json, theirs: Json, ours: Json, path: str) -> Json:
        """The merged node; a clash is noted and ours stands in its place."""
        if _same(theirs, ours) or _same(theirs, base):
            return ours
        if _same(ours, base):
            self.kept.append(path)
            return theirs
        if isinstance(theirs, dict) and isinstance(ours, dict):
            return self._object(base if isinstance(base, dict) else {}, theirs, ours, path)
        if isinstance(base, list) and isinstance(theirs, list) and isinstance(ours, list):
            return self._list(base, theirs, ours, path)
        return self._clash(base, theirs, ours, path)

    def _object(self, base: Tree, theirs: Tree, ours: Tree, path: str) -> Tree:
        merged: Tree = {}
        for name in dict.fromkeys((*ours, *theirs)):
            before, they, we = (one.get(name, _ABSENT) for one in (base, theirs, ours))
            node = self.member(before, they, we, f"{path}.{name}" if path else name)
            if node is not _ABSENT:
                merged[name] = node
        return merged

    def _list(self, base: list[Json], theirs: list[Json], ours: list[Json], path: str) -> Json:
        """Items by position, and a tail that one side added. Where both took away or added, nobody can tell which."""
        if len(theirs) < len(base) or len(ours) < len(base) or (len(theirs) > len(base) < len(ours)):
            return self._clash(base, theirs, ours, path)
        merged = [
            self.member(before, theirs[place], ours[place], f"{path}[{place}]") for place, before in enumerate(base)
        ]
        tail = theirs[len(base) :]
        self.kept += [f"{path}[{len(base) + place}]" for place in range(len(tail))]
        return [*merged, *tail, *ours[len(base) :]]

    def compare(self, before: Json, now: Json, path: str) -> None:
        """Note every path at which two nodes differ."""
        if _same(before, now):
            return
        if isinstance(before, dict) and isinstance(now, dict):
            for name in dict.fromkeys((*before, *now)):
                own = f"{path}.{name}" if path else name
                self.compare(before.get(name, _ABSENT), now.get(name, _ABSENT), own)
        elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
            for place, (one, other) in enumerate(zip(before, now, strict=True)):
                self.compare(one, other, f"{path}[{place}]")
        else:
            self._clash(before, now, now, path)

    def _clash(self, base: Json, theirs: Json, ours: Json, path: str) -> Json:
        self.clashes.append(Clash(path, self._hash(base), self._hash(theirs), self._hash(ours)))
        return ours

    def _hash(self, node: Json) -> str:
        return "" if node is _ABSENT else hmac.new(self._key, canonical(node), "sha256").hexdigest()[:12]


def _same(one: Json, other: Json) -> bool:
    if one is _ABSENT or other is _ABSENT:
        return one is other
    return alike(one, other)


def _content(resource: Tree) -> Tree:
    return {name: member for name, member in resource.items() if name not in ("meta", "id", "resourceType")}


def _meta(base: Json, theirs: Json, ours: Json) -> Tree:
    """Ours, and what they added to the sets."""
    meta = dict(ours) if isinstance(ours, dict) else {}
    for name in _SETS:
        mine, before = _listed(meta, name), [_mark(one) for one in _listed(base, name)]
        known = [_mark(one) for one in mine]
        added = [one for one in _listed(theirs, name) if _mark(one) not in known and _mark(one) not in before]
        if mine or added:
            meta[name] = [*mine, *added]
    return {name: member for name, member in meta.items() if name not in _THE_SERVERS - {"source"}}


def _listed(node: Json, name: str) -> list[Json]:
    listed = node.get(name) if isinstance(node, dict) else None
    return listed if isinstance(listed, list) else []


def _mark(item: Json) -> Json:
    # A server may add a display to a label, or drop it.
    return (item.get("system"), item.get("code")) if isinstance(item, dict) else item


def _is_number(value: Json) -> bool:
    return isinstance(value, int | LosslessFloat | Decimal) and not isinstance(value, bool)
