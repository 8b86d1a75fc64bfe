"""What a leaf has to know to build records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from fhirbridge.layout.atoms import Atom
from fhirbridge.layout.conditions import Condition
from fhirbridge.layout.groups import Untouchable
from fhirbridge.layout.marks import Different
from fhirbridge.layout.values import Made
from fhirbridge.records.base import Check, Record

UNTOUCHABLE = Untouchable()
# What a value that does not fit raises; the plain way says what is wrong, and where.
QUIET = (ValueError, ValidationError, PydanticCustomError, Different)


@dataclass(frozen=True, slots=True)
class Frame:
    """What is the same for all records of a kind: the model, the validators of the record as a whole, the resource id
    of a record's id, and the profiles that a record claims.
    """

    record: type[Record]
    checks: tuple[Check, ...]
    resource_id: Callable[[str], str]
    profiles: Callable[[Any, Any], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Learned:
    """What a group of rules makes of its atoms.

    ``constant`` fields stay as they are, ``made`` ones are made of what was found in the group's ``slots``, which
    behave as the ``conditions`` say.
    """

    slots: int
    constant: dict[str, Any]
    made: tuple[tuple[str, Made], ...]
    conditions: tuple[Condition, ...]


class Brought(NamedTuple):
    """The atoms of a body by their groups, and where the slots of each group are."""

    groups: dict[int, tuple[list[Atom], list[int]]]
    slots: int
    id_place: int
    claimed: tuple[str, ...]


def brought_together(atoms: Sequence[Atom], groups: Sequence[int]) -> Brought | None:
    """The atoms by groups, given the group of each rule; ``None`` where the mapping does not write them so."""
    own: dict[int, tuple[list[Atom], list[int]]] = {}
    id_place, last_rule, start = -1, -1, 0
    claimed: tuple[str, ...] = ()
    for atom in atoms:
        following = start + atom.slots
        if atom.rule < 0:
            # The resource id; a second one is no FHIR.
            if id_place >= 0:
                return None
            id_place = start
        else:
            some, places = own.setdefault(groups[atom.rule], ([], []))
            some.append(atom)
            places += range(start, following)
        if atom.in_extension:
            # Extensions are written in the order of the rules.
            if atom.rule < last_rule:
                return None
            last_rule = atom.rule
        elif atom.claimed is not None:
            claimed = atom.claimed
        start = following
    return None if id_place < 0 else Brought(own, start, id_place, claimed)
