"""Records of atoms that combine freely, in Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from fhirbridge.layout.atoms import EXTENSION, Atom, Facts
from fhirbridge.layout.leaf import Claims, Known
from fhirbridge.layout.plan import QUIET, brought_together
from fhirbridge.layout.trie import PlainNode
from fhirbridge.records.base import Record

_URL = b'{"url":"'


@dataclass(slots=True, eq=False)
class PlainAtom:
    """A known atom. ``likely`` is where what came after it the last time begins."""

    slots: int
    in_extension: bool
    rule: int
    claimed: tuple[str, ...] | None
    facts: Facts
    likely: PlainNode | None = None


class End(Protocol):
    """Makes records of values."""

    def of(self, values: dict[str, Any], resource_id: bytes, claimed: tuple[str, ...]) -> Record | None: ...


class PlainComposer:
    """Builds records of atoms that combine freely."""

    def __init__(self, end: End, members: dict[bytes, Any], items: dict[bytes, Any], claims: Claims | None) -> None:
        self._end, self._claims = end, claims
        self._members: dict[bytes, PlainNode] = members
        self._items: dict[bytes, PlainNode] = items
        self._known = Known((), frozenset(), {}, {})

    def know(self, known: Known) -> None:
        self._known = known

    def record(self, body: bytes, position: int) -> Record | None:
        split = self._split(body, position)
        if split is None:
            return None
        atoms, found = split
        try:
            return self._composed(atoms, found)
        except QUIET:
            return None  # the plain way says what is wrong, and where

    def _composed(self, atoms: tuple[Atom, ...], found: list[bytes]) -> Record | None:
        known = self._known
        brought = brought_together(atoms, known.groups)
        if brought is None or not known.needed <= brought.groups.keys():
            return None
        shares = []
        for some, places in brought.groups.values():
            share = known.shares.get(tuple(some))
            if share is None:
                return None
            shares.append((share, places))
        if self._claims is not None and not self._claims(atoms):
            return None
        values = known.absent.copy()
        for share, places in shares:
            values.update(share.constant)
            if not share.fill([found[place] for place in places], values):
                return None
        return self._end.of(values, found[brought.id_place], brought.claimed)

    def _split(self, body: bytes, position: int) -> tuple[tuple[Atom, ...], list[bytes]] | None:
        """The atoms from ``position`` to the end, and the values in their slots; ``None`` if any atom is unknown."""
        atoms: list[Atom] = []
        found: list[bytes] = []
        last = len(body) - 1
        inside = opened = False
        previous: PlainAtom | None = None
        while position < last:
            begin, start = None if previous is None else previous.likely, len(found)
            walked = None if begin is None else begin.walk(body, position, found)
            if walked is None:
                del found[start:]
                if not inside and not opened and body.startswith(EXTENSION, position):
                    inside = opened = True
                    position += len(EXTENSION)
                known, name = (self._items, position + len(_URL)) if inside else (self._members, position + 1)
                begin = known.get(body[name : body.find(b'"', name)])
                walked = None if begin is None else begin.walk(body, position, found)
                if walked is None:
                    return None
                if previous is not None:
                    previous.likely = begin
            previous, position = walked
            if previous.in_extension is not inside:
                return None
            atoms.append(previous)
            if inside and body.startswith(b"]", position):
                inside = False
                position += 1
            if body.startswith(b",", position):
                position += 1
            else:
                complete = position == last and not inside and body.endswith(b"}")
                return (tuple(atoms), found) if complete else None
        return None
