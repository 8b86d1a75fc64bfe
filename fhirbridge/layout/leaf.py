"""What is done for every body: a leaf of the reader, compiled where a compiler was found, else in Python.

Learning is Python and makes nodes, atoms and shares through a leaf; a leaf walks and builds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from fhirbridge.layout.atoms import Atom, Facts
from fhirbridge.layout.plan import Frame, Learned
from fhirbridge.layout.trie import Node
from fhirbridge.records.base import Record

#: With 1 in this variable, the compiled leaf is neither made nor used.
VARIABLE = "FHIRBRIDGE_PURE"


@dataclass(frozen=True, slots=True)
class Known:
    """What was learned of one kind.

    ``groups`` is the group of each rule, ``needed`` are the groups that were never seen without an atom; ``shares`` are
    those of the atoms that a group may have, ``absent`` the values of all fields where no group has an atom.
    """

    groups: tuple[int, ...]
    needed: frozenset[int]
    shares: Mapping[tuple[Atom, ...], Any]
    absent: dict[str, Any]


# Whether such atoms are for this kind, and not for one that is asked before it.
Claims = Callable[[tuple[Atom, ...]], bool]


class Composer(Protocol):
    """Builds records of atoms that combine freely."""

    def know(self, known: Known) -> None:
        """Go on with what was learned meanwhile."""

    def record(self, body: bytes, position: int) -> Record | None:
        """The record of a body whose first atom is at ``position``; ``None`` if it has to be read the plain way."""


class Leaf(Protocol):
    """What is done for every body."""

    @property
    def name(self) -> str: ...
    def node(self, segment: bytes) -> Node:
        """A node of a trie, with nothing after it."""

    def atom(self, slots: int, in_extension: bool, rule: int, claimed: tuple[str, ...] | None, facts: Facts) -> Atom:
        """An atom, which may be the end in a trie."""

    def share(self, learned: Learned) -> Any:
        """A group in the form in which composers want it."""

    def composer(
        self, frame: Frame, members: dict[bytes, Node], items: dict[bytes, Node], claims: Claims | None
    ) -> Composer:
        """A composer of atoms that are found by their names; ``claims`` is none where that is certain."""


def leaf() -> Leaf:
    """The compiled leaf if there is one, or the one in Python."""
    from fhirbridge.layout.plain import Plain

    return compiled() or Plain()


def compiled() -> Leaf | None:
    """The compiled leaf; ``None`` where it was not compiled, or of other sources than these, or is not wanted."""
    if os.environ.get(VARIABLE) == "1":
        return None
    try:
        from fhirbridge.layout.compiled import Compiled
    except ImportError:
        return None
    return Compiled()


def leaf_in_use() -> str:
    """``compiled`` or ``pure``."""
    return leaf().name
