"""Marks: a record with its varying values replaced, written by the mapping, shows where each value goes."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from pydantic_core import PydanticCustomError

from fhirbridge.fhir.json import Json
from fhirbridge.layout.conditions import Condition, begins, equal, holds
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
    """A mark in place of a text. It can be written, compared, cut to its beginning, and asked for a character; that is
    noted, for what is written may depend on it. Whoever looks into it otherwise computes with it.
    """

    original: str
    number: int
    marks: Marks

    def __eq__(self, other: object) -> bool:
        if isinstance(other, _Text):
            return self.marks.noted(equal(self.number, other.number, self.original == other.original))
        if isinstance(other, str):
            raise Different
        return False

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __str__(self) -> str:
        return self

    def __contains__(self, needle: object) -> bool:
        if not isinstance(needle, str) or len(needle) != 1 or not needle.isascii():
            raise Different
        return self.marks.noted(holds(self.number, needle.encode(), needle in self.original))

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, slice) or key.start or key.step or not isinstance(key.stop, int) or key.stop <= 0:
            raise Different
        return self.marks.beginning(self, key.stop)

    def _looked_at(self, *_: Any, **__: Any) -> Any:
        raise Different

    __hash__ = _looked_at
    as_datetime = _looked_at


# What may be asked of a mark as of any object.
_HARMLESS = frozenset({"__init__", "__repr__", "__format__", "__sizeof__", "__getnewargs__", "__getattribute__"})
for _name in vars(str).keys() - vars(_Text).keys() - _HARMLESS - {"__new__", "__doc__"}:
    setattr(_Text, _name, _Text._looked_at)


@functools.cache
def _text(kind: type[str]) -> type[str]:
    return type("Marked", (_Text, kind), {"kind": kind})


def _own(mark: Any) -> str:
    """The text of a mark itself, or of anything else that is written."""
    return str.__str__(mark) if isinstance(mark, str) else str(mark)


class Marks:
    """The values of a record that may vary, each with a number of its own by its place.

    ``conditions`` are what a mapping asked of texts, by their numbers, and was told.
    """

    def __init__(self) -> None:
        self.numbers: dict[Place, int] = {}
        self.conditions: list[Condition] = []

    def marked(self, model: Model, place: Place = ()) -> Any:
        """A copy of a model, not validated, with marks for values."""
        values = {}
        for name, value in model.__dict__.items():
            here = (*place, name)
            values[name] = self._marked(value, is_free(model, here), here)
        return filler(type(model))(values)

    def noted(self, condition: Condition) -> bool:
        """Note what is asked, and tell it."""
        self.conditions.append(condition)
        return condition.answer

    def beginning(self, mark: _Text, length: int) -> str:
        """A mark for the beginning of a text that has a mark."""
        cut = self._mark(mark.original[:length], ("", mark.number, length))
        self.noted(begins(cut.number, mark.number, length))
        return cut  # type: ignore[no-any-return]

    def looking(self, model: Model, place: Place) -> tuple[Check, ...]:
        """The validators of a model as a whole that look at a value which may vary. The others see what they saw."""
        twin = self.marked(model, place)
        return tuple(check for check in checks(type(model), "after") if self.looks(check, twin))

    def looks(self, ask: Callable[[Any], object], marked: Model) -> bool:
        """Whether ``ask`` looks at a mark in a model, or refuses it."""
        before = len(self.conditions)
        try:
            ask(marked)
            return len(self.conditions) > before
        except (Different, PydanticCustomError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError):
            return True
        finally:
            del self.conditions[before:]

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
            mark: Any = str.__new__(_text(getattr(value, "kind", type(value))), text)
            mark.original, mark.number, mark.marks = _own(value), number, self
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
    if isinstance(written, (str, Decimal)) and MARKED in _own(written):
        if MARK.fullmatch(_own(written)) is None:
            raise Different  # a part of a value, or a value inside of a longer text
        return _own(written) if isinstance(written, str) else written
    if source != written or isinstance(source, bool) is not isinstance(written, bool):
        raise Different
    return source
