"""The words of a profile: what can be done to a field, and which fields each word fits.

A rule is a word and, behind ``drop``, the reason. That a word fits a field is checked against the type of the field:
``keep`` stands only where the record model has a closed list of words, so that no profile can let free text pass.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from fhirbridge.records.base import Amount, Coding, Concept, Identifier, Model, Period, Ref
from fhirbridge.records.text import Date, DateTime, Decimal, Instant

# Each word, with the types of the values it can handle; Literal stands for a closed list of words.
_FITS: dict[str, tuple[Any, ...]] = {
    "keep": (Literal, bool),
    "count": (int,),
    "points": (Decimal,),
    "measured": (Decimal,),
    "unit": (str,),
    "amount": (Amount,),
    "code": (Literal, Concept, Coding),
    "masked": (Literal, Concept, Coding),
    "item": (str,),
    "version": (str,),
    "term": (str,),
    "time": (DateTime, Instant, Date),
    "period": (Period,),
    "id": (str,),
    "named": (Identifier,),
    "record": (Ref,),
    "patient": (Ref,),
    "person": (Ref,),
    "place": (Ref,),
    "reset": (int, Instant),
    "inside": (Model,),
}
RECORD_ACTIONS = frozenset({*_FITS, "drop"})
RESOURCE_ACTIONS = frozenset(
    {"drop", "boolean", "count", "code", "time", "period", "quantity", "year", "postcode"}
    | {"record", "patient", "person", "place"}
)
_RULE = re.compile(r"([a-z]+)(?: \(([A-R](?:, [A-R])*|text|need)\))?")


class Rule(NamedTuple):
    """What is done, why something is left out, and the words that alone may stand (for resources)."""

    action: str
    why: str = ""
    words: tuple[str, ...] = ()


def read_rule(value: object, allowed: frozenset[str]) -> Rule | None:
    """The rule that a value of the TOML file says, or ``None`` where it says none of ``allowed``."""
    if isinstance(value, list) and value and all(isinstance(word, str) for word in value):
        return Rule("words", words=tuple(value)) if allowed is RESOURCE_ACTIONS else None
    found = _RULE.fullmatch(value) if isinstance(value, str) else None
    if found is None or found[1] not in allowed or (found[1] != "drop" and found[2]):
        return None
    return Rule(found[1], found[2] or "")


def leaves(annotation: Any) -> Iterator[Any]:
    """The types that a field's values have, without lists, options and constraints; ``Literal`` for closed words."""
    origin = get_origin(annotation)
    if origin is Literal:
        yield Literal
    elif origin is Annotated:
        yield from leaves(get_args(annotation)[0])
    elif origin in (Union, types.UnionType, tuple):
        for one in get_args(annotation):
            yield from leaves(one)
    elif annotation is not type(None) and annotation is not Ellipsis:
        yield annotation


def fits(action: str, annotation: Any) -> bool:
    """Whether a rule can handle every value that a field can have."""
    if action == "drop":
        return True
    wanted = _FITS[action]
    # A word of a closed list is also a yes or a no, and 5 is a number; nothing else is taken for something else.
    return all(
        one in wanted or (Model in wanted and isinstance(one, type) and issubclass(one, Model))
        for one in leaves(annotation)
    )


def part_of(annotation: Any) -> type[Model] | None:
    """The model of the parts that a field holds, where it holds one model and nothing else."""
    found = [one for one in leaves(annotation) if isinstance(one, type) and issubclass(one, Model)]
    return found[0] if len(found) == 1 else None
