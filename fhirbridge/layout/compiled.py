"""The leaf of reading by layout in C. Raises ``ImportError`` where it was not compiled, or of other sources."""

from __future__ import annotations

import functools
from typing import Any

from pydantic import BaseModel

from fhirbridge.layout import _leaf
from fhirbridge.layout.atoms import Atom, Facts
from fhirbridge.layout.leaf import Claims, Known
from fhirbridge.layout.plan import QUIET, UNTOUCHABLE, Frame, Learned
from fhirbridge.layout.trie import Node
from fhirbridge.layout.values import Made, Text
from fhirbridge.records.base import Check, Model, assembler, checks

_REVISION = 3
if _leaf.REVISION != _REVISION:
    raise ImportError("the compiled leaf is of other sources: install fhirbridge again")
# The slots of a pydantic model, which records.base.filler sets too.
_leaf.know(
    *(
        vars(BaseModel)[name]
        for name in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
    )
)


class Compiled:
    """The leaf in C. Every text that is not of a closed class is asked about in Python."""

    name = "compiled"

    def node(self, segment: bytes) -> Node:
        return _leaf.Node(segment)

    def atom(self, slots: int, in_extension: bool, rule: int, claimed: tuple[str, ...] | None, facts: Facts) -> Atom:
        return _leaf.Atom(slots, in_extension, rule, claimed, facts)

    def share(self, learned: Learned) -> _leaf.Share:
        made = tuple((name, _recipe(one)) for name, one in learned.made)
        return _leaf.share(learned.slots, learned.constant, made, learned.conditions)

    def composer(
        self, frame: Frame, members: dict[bytes, Node], items: dict[bytes, Node], claims: Claims | None
    ) -> CompiledComposer:
        return CompiledComposer(_leaf.Composer(_whole(frame), members, items, claims))


class CompiledComposer:
    """Builds records of atoms that combine freely."""

    def __init__(self, composer: _leaf.Composer) -> None:
        self._composer = composer
        self.record = composer.record

    def know(self, known: Known) -> None:
        needed = tuple(rule in known.needed for rule in range(len(known.groups)))
        # A single atom is found without a tuple around it.
        shares = {atoms if len(atoms) > 1 else atoms[0]: share for atoms, share in known.shares.items()}
        self._composer.know(known.groups, needed, shares, known.absent)


def _recipe(made: Made) -> _leaf.Recipe:
    if isinstance(made, Text):
        rule, limit, kind = made.plain
        return _leaf.text(made.place, made.one, rule, limit, kind, made.remembered)
    parts = tuple((key, _recipe(part)) for key, part in made.parts)
    if made.model is None:
        return _leaf.items(made.template, parts)
    place = -1 if made.place is None else made.place
    return _leaf.model(*_model(made.model, made.checks), made.template, parts, place, made.remembered)


def _whole(frame: Frame) -> tuple[Any, ...]:
    return *_model(frame.record, frame.checks), frame.resource_id, frame.profiles, UNTOUCHABLE, QUIET


def _model(model: type[Model], after: tuple[Check, ...]) -> tuple[type[Model], set[str], tuple[Check, ...], Any]:
    """How a model is made of values: by setting them, or by a function where a validator wants to see them before."""
    whole = assembler(model, after) if checks(model, "before") else None
    return model, _given(model), after, whole


@functools.cache
def _given(model: type[Model]) -> set[str]:
    # A frozen model never changes it.
    return set(model.model_fields)
