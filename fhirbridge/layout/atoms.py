"""Atoms: the members of a resource and the items of its extension, as they are known by their segments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from fhirbridge.fhir.json import Json, dump
from fhirbridge.layout.marks import MARK, Different
from fhirbridge.layout.trie import Node, grown

EXTENSION = b'"extension":['
NO_RULE = -1


class Facts(NamedTuple):
    """What an atom is: its member's name or the URL of the extension, the bytes around its slots, and what it looks
    like.
    """

    name: str
    segments: tuple[bytes, ...]
    node: Json


class Atom(Protocol):
    """A known atom.

    ``slots`` is the number of its slots, ``rule`` the rule that writes it (none writes the resource id), ``claimed``
    the profiles that stand there, if it is ``meta``.
    """

    @property
    def slots(self) -> int: ...
    @property
    def in_extension(self) -> bool: ...
    @property
    def rule(self) -> int: ...
    @property
    def claimed(self) -> tuple[str, ...] | None: ...
    @property
    def facts(self) -> Facts: ...


MakeNode = Callable[[bytes], Node]
MakeAtom = Callable[[int, bool, int, tuple[str, ...] | None, Facts], Atom]


class Atoms:
    """The known atoms of one kind of resource: ``members`` by their name, ``items`` by their URL, each the node where
    such an atom begins. ``node`` and ``atom`` make what stands there.
    """

    def __init__(self, node: MakeNode, atom: MakeAtom) -> None:
        self._node, self._atom = node, atom
        self.members: dict[bytes, Node] = {}
        self.items: dict[bytes, Node] = {}
        self.bytes = 0

    def add(self, name: str, in_extension: bool, node: Json, rule: int) -> tuple[Atom, list[int]]:
        """The atom with marks that ``node`` is, and the numbers of the marks in its slots.

        Raises :class:`Different` where another rule has written the same.
        """
        layout = dump(node if in_extension else {name: node})
        if not in_extension:
            layout = layout[1:-1]
        pieces = MARK.split(layout.decode())
        segments = tuple(piece.encode() for piece in pieces[::2])
        claimed = tuple(node.get("profile", ())) if name == "meta" and not in_extension else None
        made = self._atom(len(segments) - 1, in_extension, rule, claimed, Facts(name, segments, node))
        known = self.items if in_extension else self.members
        known[name.encode()], atom = grown(self._node, known.get(name.encode()), segments, made)
        if atom is made:
            self.bytes += len(layout)
        if atom.rule != rule:
            raise Different
        return atom, [int(number) for number in pieces[1::2]]


def sample(resource_type: str, atoms: Sequence[Atom]) -> dict[str, Any]:
    """What a resource of these atoms looks like, with marks."""
    tree: dict[str, Any] = {"resourceType": resource_type}
    tree |= {atom.facts.name: atom.facts.node for atom in atoms if not atom.in_extension}
    items = [atom.facts.node for atom in atoms if atom.in_extension]
    return tree | ({"extension": items} if items else {})
