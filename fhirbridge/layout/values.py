"""Values: how the fields of a record are made of the values that were found in the slots."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import TypeAdapter

from fhirbridge.layout.marks import TIMES, Marks, Place
from fhirbridge.records.base import Model, assembler
from fhirbridge.records.text import Decimal

_MOST_REMEMBERED = 512

Found = Sequence[bytes]
Shape = tuple[Any, ...]


class Make(NamedTuple):
    """How a value is made of found ones: by ``of``, or by ``one`` where all that varies is the text at ``place``.

    ``shape`` tells what model ``one`` makes of a text: two that have the same make the same.
    """

    of: Callable[[Found], Any]
    one: Callable[[bytes], Any] | None = None
    place: int = -1
    shape: Shape | None = None


class Remembered(dict[bytes, Any]):
    """What was made of one varying value, for a value that came once may come again."""

    def __init__(self, make: Callable[[bytes], Any]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, text: bytes) -> Any:
        if len(self) >= _MOST_REMEMBERED:
            self.clear()
        made = self[text] = self._make(text)
        return made


def makers(
    model: Model, fields: Iterable[str], marks: Marks, at: dict[int, int], place: Place = ()
) -> tuple[dict[str, Any], dict[str, Make]]:
    """Of the fields of a model, those that stay as they are, and how the others are made of found values.

    ``at`` is where among the found values each mark is. Raises ``KeyError`` for a mark that is nowhere.
    """
    constant: dict[str, Any] = {}
    made: dict[str, Make] = {}
    for name in fields:
        value = model.__dict__[name]
        make = _maker(model, name, value, marks, at, (*place, name))
        if make is None:
            constant[name] = value
        else:
            made[name] = make
    return constant, made


def remembering(make: Make) -> Make:
    """A model of which one text varies is made once for each text, wherever in a record it stands."""
    if make.one is None or make.shape is None:
        return make
    return _alone(_REMEMBERED.setdefault(make.shape, Remembered(make.one)).__getitem__, make.place)


def _maker(model: Model, name: str, value: Any, marks: Marks, at: dict[int, int], place: Place) -> Make | None:
    number = marks.numbers.get(place)
    if number is not None:
        return _alone(_leaf(type(model), name, value), at[number])
    if isinstance(value, tuple):
        items = {index: _maker(model, name, item, marks, at, (*place, index)) for index, item in enumerate(value)}
        varying = {index: remembering(one) for index, one in items.items() if one is not None}
        return _together(list(value), varying, tuple) if varying else None
    if isinstance(value, Model):
        constant, made = makers(value, value.__dict__, marks, at, place)
        # In the order of the model, which is that of a model made in any other way.
        template = {name: constant.get(name, value.__dict__[name]) for name in value.__dict__}
        whole = assembler(type(value), marks.looking(value, place))
        return _together(template, made, whole)._replace(shape=_shape(value, marks, place)) if made else None
    return None


def _together(template: Any, parts: Mapping[Any, Make], finish: Callable[[Any], Any]) -> Make:
    """What is made of a template by putting parts into it."""
    (key, first), *others = parts.items()
    if first.one is not None and not others:
        return _around(template, key, first.one, first.place, finish)
    varying = tuple((key, remembering(make).of) for key, make in parts.items())

    def of(found: Found) -> Any:
        values = template.copy()
        for key, make in varying:
            values[key] = make(found)
        return finish(values)

    return Make(of)


def _around(template: Any, key: Any, part: Callable[[bytes], Any], place: int, finish: Callable[[Any], Any]) -> Make:
    def one(text: bytes) -> Any:
        values = template.copy()
        values[key] = part(text)
        return finish(values)

    return _alone(one, place)


def _shape(value: Any, marks: Marks, place: Place) -> Shape:
    """What there is to a value but for its marks."""
    if place in marks.numbers:
        return (type(value),)
    if isinstance(value, tuple):
        return (tuple, *(_shape(item, marks, (*place, index)) for index, item in enumerate(value)))
    if isinstance(value, Model):
        return (type(value), *(_shape(member, marks, (*place, name)) for name, member in value.__dict__.items()))
    return (type(value), value)


def _alone(one: Callable[[bytes], Any], place: int) -> Make:
    return Make(lambda found: one(found[place]), one, place)


def _leaf(model: type[Model], name: str, value: Any) -> Callable[[bytes], Any]:
    if isinstance(value, Decimal):
        return _DECIMALS.__getitem__
    kind = type(value)
    if kind in TIMES:
        return _time(kind)
    validated = _validator(model, name)
    if kind is int:
        return lambda text: validated(_whole(text))

    def printed(text: bytes) -> Any:
        decoded = text.decode()
        # An escape stands for something else, and a raw control character is no JSON: the plain way knows.
        if b"\\" in text or not decoded.isprintable():
            raise ValueError("text that has to be looked at")
        return validated(decoded)

    return printed


def _time(kind: Any) -> Callable[[bytes], Any]:
    checked, new = kind.pattern.fullmatch, str.__new__

    def time(text: bytes) -> Any:
        decoded = text.decode("ascii")
        if checked(decoded) is None:
            raise ValueError("a time is wanted")
        return new(kind, decoded)

    return time


def _whole(text: bytes) -> int:
    if not text.isdigit() or (text.startswith(b"0") and text != b"0"):
        raise ValueError("a whole number is wanted")
    return int(text)


@functools.cache
def _validator(model: type[Model], name: str) -> Callable[[Any], Any]:
    field = model.model_fields[name]
    type_: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    return TypeAdapter(type_).validator.validate_python


_REMEMBERED: dict[Shape, Remembered] = {}
_DECIMALS = Remembered(lambda text: Decimal(text.decode("ascii")))
