"""Marks: a record with its varying values replaced, written by the mapping, shows where each value goes."""

from __future__ import annotations

import functools
import re
from typing import Any

from pydantic_core import PydanticCustomError

from fhirbridge.fhir.json import Json
from fhirbridge.records.base import Check, Concept, Identifier, Model, Note, checks, filler
from fhirbridge.records.consent import Attachment
from fhirbridge.records.session import Administration
from fhirbridge.records.text import Date, DateTime, Decimal, Instant

MARK = re.compile("\ue000([0-9]+)\ue001")
MARKED = "\ue000"
TIMES = (DateTime, Instant, Date)
# Texts and counts that stand for themselves: nothing but people and other systems look at them.
_FREE: dict[type[Model], tuple[str, ...]] = {
    Identifier: ("value",),
    Note: ("text",),
    Attachment: ("url", "hash", "size", "title"),
    Administration: ("lot_number",),
}


class Different(Exception):
    """What would be written is not what was read: such a resource is read the plain way."""


# Fields with concepts whose words are a remark: no table and no rule knows them.
_FREE_CONCEPTS = frozenset({"complications"})

Place = tuple[str | int, ...]


def is_free(model: Model, place: Place) -> bool:
    """Whether the field of a model at a place in the record holds a text or a count that may vary."""
    name = place[-1]
    if type(model) is Concept:
        return name == "text" and place[0] in _FREE_CONCEPTS
    return name in _FREE.get(type(model), ()) or place == ("id",)


class _Number(Decimal):
    """A mark in place of a number. Whoever compares it computes with it."""

    __slots__ = ()

    def _compared(self, *_: Any) -> Any:
        raise Different

    __hash__ = _compared
    __eq__ = __lt__ = as_decimal = _compared


class _Text(str):
    """A mark in place of a text. It can be written and compared; whoever looks into it computes with it.

    Comparisons are noted, for what is written may depend on them.
    """

    original: str
    number: int
    compared: list[tuple[int, int, bool]]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, _Text):
            equal = self.original == other.original
            self.compared.append((self.number, other.number, equal))
            return equal
        if isinstance(other, str):
            raise Different
        return False

    def _looked_at(self, *_: Any) -> Any:
        raise Different

    __hash__ = _looked_at
    __lt__ = __le__ = __gt__ = __ge__ = _looked_at
    __len__ = __contains__ = __getitem__ = startswith = endswith = as_datetime = _looked_at


@functools.cache
def _text(kind: type[str]) -> type[str]:
    return type("Marked", (_Text, kind), {})


class Marks:
    """The values of a record that may vary, each with a number of its own by its place.

    ``compared`` are pairs of texts that a mapping has compared, and whether they were equal.
    """

    def __init__(self) -> None:
        self.numbers: dict[Place, int] = {}
        self.compared: list[tuple[int, int, bool]] = []

    def marked(self, model: Model, place: Place = ()) -> Any:
        """A copy of a model, not validated, with marks for values."""
        values = {}
        for name, value in model.__dict__.items():
            here = (*place, name)
            values[name] = self._marked(value, is_free(model, here), here)
        return filler(type(model))(values)

    def looking(self, model: Model, place: Place) -> tuple[Check, ...]:
        """The validators of a model as a whole that look at a value which may vary. The others see what they saw."""
        twin = self.marked(model, place)
        return tuple(check for check in checks(type(model), "after") if self._looks(check, twin))

    def _looks(self, check: Check, twin: Model) -> bool:
        before = len(self.compared)
        try:
            check(twin)
            return len(self.compared) > before
        except (Different, PydanticCustomError, ValueError, ArithmeticError):
            return True
        finally:
            del self.compared[before:]

    def _marked(self, value: Any, free: bool, place: Place) -> Any:
        if isinstance(value, Model):
            return self.marked(value, place)
        if isinstance(value, tuple):
            return tuple(self._marked(item, False, (*place, index)) for index, item in enumerate(value))
        if isinstance(value, (Decimal, *TIMES)) or (free and value is not None):
            return self._mark(value, place)
        return value

    def _mark(self, value: Any, place: Place) -> Any:
        number = self.numbers.setdefault(place, len(self.numbers))
        # Too long to be taken for a part of a date.
        text = f"\ue000{number:012}\ue001"
        if isinstance(value, str):
            mark = str.__new__(_text(type(value)), text)
            mark.original, mark.number, mark.compared = str(value), number, self.compared  # type: ignore[attr-defined]
            return mark
        numeral = object.__new__(_Number)
        object.__setattr__(numeral, "text", text)
        return numeral


def transplanted(source: Json, written: Json) -> Json:
    """``source`` in its own order of members, with the marks of ``written``. Raises :class:`Different` if they differ
    elsewhere.
    """
    if isinstance(source, dict) and isinstance(written, dict) and source.keys() == written.keys():
        return {name: transplanted(node, written[name]) for name, node in source.items()}
    if isinstance(source, list) and isinstance(written, list) and len(source) == len(written):
        return [transplanted(one, other) for one, other in zip(source, written, strict=True)]
    if isinstance(written, (str, Decimal)) and MARKED in str(written):
        if MARK.fullmatch(str(written)) is None:
            raise Different  # a part of a value, or a value inside of a longer text
        return str(written) if isinstance(written, str) else written
    if source != written or isinstance(source, bool) is not isinstance(written, bool):
        raise Different
    return source
