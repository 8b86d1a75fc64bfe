"""Values: how the fields of a record are made of the texts that were found in the slots.

What is here is said, not done: :mod:`fhirbridge.layout.plain` does it in Python, and a compiled leaf does the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from types import UnionType
from typing import Annotated, Any, NamedTuple, TypeAlias, Union, get_args, get_origin

from pydantic import StringConstraints, TypeAdapter

from fhirbridge.layout.marks import TIMES, Marks, Place
from fhirbridge.records import base
from fhirbridge.records.base import Check, Model, RecordId, Uri
from fhirbridge.records.text import Date, DateTime, Decimal, Instant

MOST_REMEMBERED = 512

Shape: TypeAlias = tuple[Any, ...]


class Rule(IntEnum):
    """Closed classes of ASCII text that need not be asked about. The numbers are those of the compiled leaf."""

    ASK = 0
    WORDS = 1
    WORD = 2
    DAY = 3
    DAY_OR_MOMENT = 4
    MOMENT = 5


class Class(NamedTuple):
    """Of which texts it is certain that the function of a leaf takes them, and makes a ``kind`` of them."""

    rule: Rule = Rule.ASK
    limit: int = 0
    kind: type[str] | None = None


_UNSURE = Class()


class Remembered(dict[bytes, Any]):
    """What was made of one varying text, for a text that came once may come again."""

    def put(self, text: bytes, made: Any) -> None:
        """Remember one more."""
        if len(self) >= MOST_REMEMBERED:
            self.clear()
        self[text] = made


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """A value made of the one text at ``place`` by ``one``, which raises ``ValueError`` for a text that is none."""

    place: int
    one: Callable[[bytes], Any]
    plain: Class = _UNSURE
    remembered: Remembered | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """A model, or a tuple where ``model`` is none, made of a template by putting parts into it.

    ``checks`` are the validators of the model as a whole that look at a part. ``place`` is that of the only text which
    varies, if there is but one; then ``shape`` tells all else, and two models of the same shape remember together.
    """

    model: type[Model] | None
    template: Any
    parts: tuple[tuple[Any, Made], ...]
    checks: tuple[Check, ...] = ()
    place: int | None = None
    shape: Shape | None = None
    remembered: Remembered | None = None


Made: TypeAlias = Text | Whole


def made_of(
    model: Model, fields: Iterable[str], marks: Marks, at: dict[int, int], place: Place = ()
) -> tuple[dict[str, Any], dict[str, Made]]:
    """Of the fields of a model, those that stay as they are, and how the others are made of found texts.

    ``at`` is where among the found texts each mark is. Raises ``KeyError`` for a mark that is nowhere.
    """
    constant: dict[str, Any] = {}
    made: dict[str, Made] = {}
    for name in fields:
        value = model.__dict__[name]
        one = _made(model, name, value, marks, at, (*place, name))
        if one is None:
            constant[name] = value
        else:
            made[name] = one
    return constant, made


def remembering(made: Made) -> Made:
    """A model of which one text varies is made once for each text, wherever in a record it stands."""
    if isinstance(made, Text) or made.place is None or made.shape is None:
        return made
    return replace(made, remembered=_REMEMBERED.setdefault(made.shape, Remembered()))


def _made(model: Model, name: str, value: Any, marks: Marks, at: dict[int, int], place: Place) -> Made | None:
    number = marks.numbers.get(place)
    if number is not None:
        return _leaf(type(model), name, value, at[number])
    if isinstance(value, tuple):
        items = [(index, _made(model, name, item, marks, at, (*place, index))) for index, item in enumerate(value)]
        varying = tuple((index, remembering(one)) for index, one in items if one is not None)
        return Whole(None, value, varying, (), _only(varying)) if varying else None
    if isinstance(value, Model):
        constant, made = made_of(value, value.__dict__, marks, at, place)
        if not made:
            return None
        # In the order of the model, which is that of a model made in any other way.
        template = {name: constant.get(name) for name in value.__dict__}
        parts = tuple(made.items())
        if len(parts) > 1:
            parts = tuple((name, remembering(one)) for name, one in parts)
        checks = marks.looking(value, place)
        return Whole(type(value), template, parts, checks, _only(parts), _shape(value, marks, place))
    return None


def _only(parts: tuple[tuple[Any, Made], ...]) -> int | None:
    return parts[0][1].place if len(parts) == 1 else None


def _shape(value: Any, marks: Marks, place: Place) -> Shape:
    """What there is to a value but for its marks."""
    if place in marks.numbers:
        return (type(value),)
    if isinstance(value, tuple):
        return (tuple, *(_shape(item, marks, (*place, index)) for index, item in enumerate(value)))
    if isinstance(value, Model):
        return (type(value), *(_shape(member, marks, (*place, name)) for name, member in value.__dict__.items()))
    return (type(value), value)


def _leaf(model: type[Model], name: str, value: Any, place: int) -> Text:
    if isinstance(value, Decimal):
        return Text(place, _decimal, remembered=_DECIMALS)
    kind = type(value)
    if kind in TIMES:
        return Text(place, _time(kind), _CLASS_OF_TIME[kind])
    validated = _validator(model, name)
    if kind is int:
        return Text(place, lambda text: validated(_whole(text)))
    return Text(place, _printed(validated), _class_of_text(model, name))


def _decimal(text: bytes) -> Decimal:
    return Decimal(text.decode("ascii"))


def _time(kind: Any) -> Callable[[bytes], Any]:
    checked, new = kind.pattern.fullmatch, str.__new__

    def time(text: bytes) -> Any:
        decoded = text.decode("ascii")
        if checked(decoded) is None:
            raise ValueError("a time is wanted")
        return new(kind, decoded)

    return time


def _printed(validated: Callable[[str], Any]) -> Callable[[bytes], Any]:
    def printed(text: bytes) -> Any:
        decoded = text.decode()
        # An escape stands for something else, and a raw control character is no JSON: the plain way knows.
        if b"\\" in text or not decoded.isprintable():
            raise ValueError("text that has to be looked at")
        return validated(decoded)

    return printed


def _whole(text: bytes) -> int:
    if not text.isdigit() or (text.startswith(b"0") and text != b"0"):
        raise ValueError("a whole number is wanted")
    return int(text)


@functools.cache
def _validator(model: type[Model], name: str) -> Callable[[Any], Any]:
    return TypeAdapter(_annotation(model, name)).validator.validate_python


def _annotation(model: type[Model], name: str) -> Any:
    field = model.model_fields[name]
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


@functools.cache
def _class_of_text(model: type[Model], name: str) -> Class:
    """What is certain of a field of text: where its type is one of these, by constraints, and no other type is left."""
    found = _constraint(_annotation(model, name))
    for type_, rule in ((base.Text, Rule.WORDS), (Uri, Rule.WORD), (RecordId, Rule.WORD)):
        known = _constraint(type_)
        if found is not None and found == known:
            return Class(rule, found.max_length or 0)
    return _UNSURE


def _constraint(annotation: Any) -> StringConstraints | None:
    """The one constraint of a text that may be absent; none where there are more, or other types beside it."""
    if get_origin(annotation) in (Union, UnionType):
        types = [one for one in get_args(annotation) if one is not type(None)]
        return _constraint(types[0]) if len(types) == 1 else None
    if get_origin(annotation) is not Annotated:
        return None
    type_, *metadata = get_args(annotation)
    only = metadata[0] if len(metadata) == 1 else None
    return only if type_ is str and isinstance(only, StringConstraints) else None


_CLASS_OF_TIME: dict[type[str], Class] = {
    Date: Class(Rule.DAY, kind=Date),
    DateTime: Class(Rule.DAY_OR_MOMENT, kind=DateTime),
    Instant: Class(Rule.MOMENT, kind=Instant),
}
_REMEMBERED: dict[Shape, Remembered] = {}
_DECIMALS = Remembered()
