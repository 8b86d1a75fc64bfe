"""Whether two references name the same person, organisation or thing: yes, no, or who knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from fhirbridge.consent.ternary import MAYBE, NO, YES, Tri
from fhirbridge.records.base import Ref

Alike: TypeAlias = Callable[[Ref, Ref], Tri]
# People who belong to the patient, and no organisation acts through them. All others may be part of one another: a
# nurse of a hospital, a hospital of a trust.
_PRIVATE = frozenset({"Patient", "RelatedPerson"})


def same_party(one: Ref, other: Ref) -> Tri:
    """Whether two references name the same person or organisation.

    No, where both are named in one system and the values differ, or one belongs to the patient and the other does not.
    A reference that says only how somebody is called, or names them in another system, may name anybody; and somebody
    of another kind may act within the other.
    """
    first, second = type_of(one), type_of(other)
    if first and second and first != second:
        return NO if first in _PRIVATE or second in _PRIVATE else MAYBE
    return _same_name(one, other)


def same_thing(one: Ref, other: Ref) -> Tri:
    """Whether two references name the same data: never, where they are of different types."""
    first, second = type_of(one), type_of(other)
    if first and second and first != second:
        return NO
    return _same_name(one, other)


def type_of(ref: Ref) -> str:
    """The type of the target, as far as the reference says; else empty."""
    if ref.type is not None:
        return ref.type
    parts = ref.literal.split("/") if ref.literal is not None else []
    return parts[-2] if len(parts) > 1 and parts[-2][:1].isupper() else ""


def known_as(item: Ref, names: Sequence[Ref], alike: Alike) -> Tri:
    """Whether ``item`` is what all the ``names`` name: yes if one agrees, else no if one differs.

    Without any name, nobody knows.
    """
    answers = [alike(item, name) for name in names]
    if YES in answers:
        return YES
    return NO if NO in answers else MAYBE


def _same_name(one: Ref, other: Ref) -> Tri:
    if one.literal is not None and other.literal is not None:
        return _same_address(one.literal, other.literal)
    mine, theirs = one.identifier, other.identifier
    if mine is None or theirs is None or mine.value is None or theirs.value is None:
        return MAYBE
    if mine.system is None or mine.system != theirs.system:
        return MAYBE
    return YES if mine.value == theirs.value else NO


def _same_address(one: str, other: str) -> Tri:
    if one == other:
        # A contained resource has its address within the resource that holds it.
        return MAYBE if one.startswith("#") else YES
    mine, theirs = one.rpartition("/"), other.rpartition("/")
    # On another server, another id may be the same and the same id another; one server has one id for one thing.
    return NO if mine[0] == theirs[0] else MAYBE
