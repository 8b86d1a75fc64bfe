"""Atoms: the members of a resource and the items of its extension, found in its bytes by the known segments."""

from __future__ import annotations

from collections.abc import Sequence

from fhirbridge.fhir.json import Json, dump
from fhirbridge.layout.marks import MARK, Different
from fhirbridge.layout.trie import Node, grown

_EXTENSION = b'"extension":['
_URL = b'{"url":"'
NO_RULE = -1


class Atom:
    """A known atom.

    ``name`` is its member's name or the URL of the extension, ``rule`` the rule that writes it (none writes the
    resource id), ``node`` what it looks like, ``segments`` the bytes around its slots, ``likely`` the begin of what
    came after it the last time.
    """

    __slots__ = ("in_extension", "likely", "name", "node", "rule", "segments", "slots")

    def __init__(self, name: str, in_extension: bool, segments: Sequence[bytes], rule: int, node: Json) -> None:
        self.name, self.in_extension, self.segments = name, in_extension, segments
        self.slots, self.rule, self.node = len(segments) - 1, rule, node
        self.likely: Node[Atom] | None = None


class Atoms:
    """The known atoms of one kind of resource."""

    def __init__(self) -> None:
        self._members: dict[bytes, Node[Atom]] = {}
        self._items: dict[bytes, Node[Atom]] = {}
        self._start = Atom("", False, (b"",), NO_RULE, None)
        self.bytes = 0

    def add(self, name: str, in_extension: bool, node: Json, rule: int) -> tuple[Atom, list[int]]:
        """The atom with marks that ``node`` is, and the numbers of the marks in its slots.

        Raises :class:`Different` where another rule has written the same.
        """
        layout = dump(node if in_extension else {name: node})
        if not in_extension:
            layout = layout[1:-1]
        pieces = MARK.split(layout.decode())
        segments = [piece.encode() for piece in pieces[::2]]
        made = Atom(name, in_extension, segments, rule, node)
        known = self._items if in_extension else self._members
        known[name.encode()], atom = grown(known.get(name.encode()), segments, made)
        if atom is made:
            self.bytes += len(layout)
        if atom.rule != rule:
            raise Different
        return atom, [int(number) for number in pieces[1::2]]

    def split(self, body: bytes, position: int) -> tuple[list[Atom], list[bytes]] | None:
        """The atoms from ``position`` to the end, and the values in their slots; ``None`` if any atom is unknown."""
        atoms: list[Atom] = []
        found: list[bytes] = []
        last = len(body) - 1
        inside = opened = False
        previous = self._start
        while position < last:
            begin = previous.likely
            if begin is None or not body.startswith(begin.segment, position):
                if not inside and not opened and body.startswith(_EXTENSION, position):
                    inside = opened = True
                    position += len(_EXTENSION)
                known, start = (self._items, position + len(_URL)) if inside else (self._members, position + 1)
                begin = known.get(body[start : body.find(b'"', start)])
                if begin is None:
                    return None
                previous.likely = begin
            walked = begin.walk(body, position, found)
            if walked is None:
                return None
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
                return (atoms, found) if complete else None
        return None


def joined(atoms: Sequence[Atom], begin: bytes) -> list[bytes]:
    """The segments of a whole body that begins with ``begin`` and has these atoms."""
    segments = [begin]
    inside = False
    for position, atom in enumerate(atoms):
        if inside and not atom.in_extension:
            segments[-1] += b"]"
        segments[-1] += b"," if position else b""
        if atom.in_extension and not inside:
            segments[-1] += _EXTENSION
        inside = atom.in_extension
        segments[-1] += atom.segments[0]
        segments += atom.segments[1:]
    segments[-1] += b"]}" if inside else b"}"
    return segments
