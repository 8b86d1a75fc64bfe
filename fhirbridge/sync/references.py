"""Literal references, added at delivery and taken away at pull: ``{type, identifier}`` gets a ``reference``.

A reference into nowhere makes HAPI refuse the resource, so one that is not certain stays logical, which is valid FHIR.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias, get_args

from fhirbridge.config import DirectoryType
from fhirbridge.fhir.bundle import Address
from fhirbridge.fhir.json import Json, Tree
from fhirbridge.fhir.order import DELIVERY_ORDER

# What the hospital keeps itself: it was there before anything of ours.
_KEPT_THERE = frozenset(get_args(DirectoryType))
_MEMBERS = frozenset({"reference", "type", "identifier", "display", "id", "extension"})

Resolve: TypeAlias = Callable[["Pointer"], Address | str | None]
Pointer: TypeAlias = tuple[str, str, str]  # type, identifier system, identifier value


def rank(resource_type: str) -> int:
    """The place of a resource type in the order of delivery; what is not listed comes last."""
    if resource_type in _KEPT_THERE:
        return -1
    return DELIVERY_ORDER.index(resource_type) if resource_type in DELIVERY_ORDER else len(DELIVERY_ORDER)


def pointers(resource: Tree) -> Iterator[Pointer]:
    """Every logical reference in a resource."""
    stack: list[Json] = list(resource.values())
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack += node
        elif isinstance(node, dict):
            pointer = _pointer(node)
            if pointer is not None:
                yield pointer
            stack += node.values()


def with_literals(resource: Tree, resolve: Resolve) -> Tree:
    """A copy in which each logical reference that ``resolve`` knows has a literal one too; the rest is shared."""
    return {name: _resolved(member, resolve) for name, member in resource.items()}


def without_literals(resource: Tree) -> Tree:
    """A copy in which no logical reference has a literal one: that one says where a target is on one server only."""
    return {name: _bare(member) for name, member in resource.items()}


def _bare(node: Json) -> Json:
    if isinstance(node, list):
        return [_bare(item) for item in node]
    if not isinstance(node, dict):
        return node
    logical = _pointer(node) is not None
    return {name: _bare(member) for name, member in node.items() if not (logical and name == "reference")}


def _resolved(node: Json, resolve: Resolve) -> Json:
    if isinstance(node, list):
        return [_resolved(item, resolve) for item in node]
    if not isinstance(node, dict):
        return node
    pointer = _pointer(node)
    address = resolve(pointer) if pointer is not None else None
    copy = {name: _resolved(member, resolve) for name, member in node.items()}
    return copy if address is None else {**copy, "reference": str(address)}


def _pointer(node: Tree) -> Pointer | None:
    identifier = node.get("identifier")
    if not isinstance(identifier, dict) or not node.keys() <= _MEMBERS:
        return None
    target, system, value = node.get("type"), identifier.get("system", ""), identifier.get("value")
    if isinstance(target, str) and isinstance(system, str) and isinstance(value, str):
        return target, system, value
    return None
