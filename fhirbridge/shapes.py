"""Shapes: byte layouts that have been read once, so that the next resource of the same layout is read without
parsing it.

A clinic's resources repeat themselves: two heart rates differ in ids, times and numbers, and in nothing else. When a
resource was read the plain way and left no residue, its layout is learned: the bytes between the values that may vary
(*segments*), and for each varying value (*slot*) the fields of the record that it fills. A later body that has the same
segments is a record with other values in the slots, and nothing else; it is built from them and validated as always.

What makes that safe:

- a layout is found by writing the record with marks in place of its values, so a slot is a value that the mapping
  writes
  unchanged; a mapping that computes with a value writes no mark, and the value stays part of a segment;
- only ids, times, numbers, identifier values and remarks are marked, never a code, a unit, a word or a concept's text;
- values that were equal must be equal again, and values that differed must differ;
- the resource id must be the one that the record's id gives;
- a body with an escape, and everything else that does not fit to the last byte, is read the plain way.

The laws hold both ways of reading against each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from fhirbridge.errors import Refused
from fhirbridge.fhir.json import Json, Tree, dump
from fhirbridge.records.base import Identifier, Model, Note, Record
from fhirbridge.records.text import Date, DateTime, Decimal, Instant

if TYPE_CHECKING:
    from fhirbridge.mapping import BoundMapping

MOST_SHAPES = 4000
_MOST_REMEMBERED = 20_000
_MARK = re.compile("\ue000([0-9]+)\ue001")
_RESOURCE_ID = "\ue0009999\ue001"
_NUMBER = re.compile(rb"-?[0-9][0-9.eE+-]*")
_FREE_TEXT: dict[type[Model], str] = {Identifier: "value", Note: "text"}
_TIMES = (DateTime, Instant, Date)


class Shapes:
    """The layouts learned for all kinds of one site, as a tree of segments."""

    def __init__(self) -> None:
        self._root: list[_Branch] = []
        self._learned = 0

    def read(self, body: bytes) -> Record | None:
        """The record of a body with a known layout; ``None`` if it has to be read the plain way."""
        if b"\\" in body:
            return None
        branches, position = self._root, 0
        found: list[bytes] = []
        while True:
            for branch in branches:
                if body.startswith(branch.segment, position):
                    break
            else:
                return None
            position += branch.length
            if branch.shape is not None:
                return branch.shape.record(found) if position == len(body) else None
            if branch.quoted:
                end = body.find(b'"', position)
            else:
                number = _NUMBER.match(body, position)
                end = number.end() if number else -1
            if end < 0:
                return None
            found.append(body[position:end])
            position = end
            branches = branch.next

    def learn(self, mapping: BoundMapping, body: bytes, resource: Tree, record: Record) -> None:
        """Learn the layout of a body that was read without residue, if it can be learned."""
        if self._learned >= MOST_SHAPES or b"\\" in body or "\ue000".encode() in body or dump(resource) != body:
            return
        marks = _Marks()
        try:
            written = mapping.primary(marks.marked(record))
            written["id"] = _RESOURCE_ID
            layout = dump(_transplanted(resource, written)).decode()
            pieces = _MARK.split(layout)
            shape = _Shape(mapping, record, marks, [int(mark) for mark in pieces[1::2]])
            if shape.record(_found(pieces, body)) is None:
                return
        except (_Different, Refused, ValueError, ArithmeticError):
            return  # a mapping computes with a marked value: such a layout is always read the plain way
        self._learned += 1
        self._insert(pieces, shape)

    def _insert(self, pieces: list[str], shape: _Shape) -> None:
        branches = self._root
        for piece in pieces[:-1:2]:
            segment = piece.encode()
            branch = next((one for one in branches if one.segment == segment and one.shape is None), None)
            if branch is None:
                branch = _Branch(segment, None)
                branches.append(branch)
                # The longer segment first: a shorter one may be its beginning.
                branches.sort(key=lambda one: -one.length)
            branches = branch.next
        branches.append(_Branch(pieces[-1].encode(), shape))
        branches.sort(key=lambda one: -one.length)


class _Branch:
    """A segment, and what follows it: a slot with further branches, or the end of a shape."""

    __slots__ = ("length", "next", "quoted", "segment", "shape")

    def __init__(self, segment: bytes, shape: _Shape | None) -> None:
        self.segment, self.length, self.shape = segment, len(segment), shape
        self.quoted = not segment.endswith((b":", b"[", b","))
        self.next: list[_Branch] = []


class _Different(Exception):
    """What was written is not what was read."""


class _Marks:
    """The values of a record that may vary, each distinct value with a number of its own."""

    def __init__(self) -> None:
        self.numbers: dict[tuple[type, str], int] = {}

    def marked(self, record: Model) -> Any:
        """A copy of the record, not validated, with marks for values."""
        free = _FREE_TEXT.get(type(record))
        values = {
            name: self._marked(value, name == free or (name == "id" and isinstance(record, Record)))
            for name, value in record.__dict__.items()
        }
        return type(record).model_construct(record.model_fields_set, **values)

    def _marked(self, value: Any, free: bool) -> Any:
        if isinstance(value, Model):
            return self.marked(value)
        if isinstance(value, tuple):
            return tuple(self._marked(item, False) for item in value)
        if isinstance(value, Decimal):
            mark = object.__new__(Decimal)
            object.__setattr__(mark, "text", self._mark(Decimal, value.text))
            return mark
        if isinstance(value, _TIMES):
            return str.__new__(type(value), self._mark(str, str(value)))
        return self._mark(str, value) if free and value is not None else value

    def _mark(self, kind: type, text: str) -> str:
        number = self.numbers.setdefault((kind, text), len(self.numbers))
        return f"\ue000{number}\ue001"


def _transplanted(source: Json, written: Json) -> Json:
    """``source`` in its own order of members, with the marks of ``written``. Raises if they differ elsewhere."""
    if isinstance(source, dict) and isinstance(written, dict) and source.keys() == written.keys():
        return {name: _transplanted(node, written[name]) for name, node in source.items()}
    if isinstance(source, list) and isinstance(written, list) and len(source) == len(written):
        return [_transplanted(one, other) for one, other in zip(source, written, strict=True)]
    text = written.text if isinstance(written, Decimal) else written
    if isinstance(text, str) and "\ue000" in text:
        return written
    if source != written or isinstance(source, bool) is not isinstance(written, bool):
        raise _Different
    return source


def _found(pieces: list[str], body: bytes) -> list[bytes]:
    """The values in the slots of the body that is being learned."""
    found, position = [], 0
    for piece, following in zip(pieces[:-1:2], pieces[2::2], strict=True):
        position += len(piece.encode())
        end = body.index(following.encode(), position)
        found.append(body[position:end])
        position = end
    return found


class _Shape:
    """A learned layout: which slot is which value, and how a record is built from them."""

    def __init__(self, mapping: BoundMapping, record: Record, marks: _Marks, slots: list[int]) -> None:
        self._model = type(record)
        self._resource_id = mapping.resource_id
        distinct = [number for number in dict.fromkeys(slots) if number != 9999]
        if len(distinct) != len(marks.numbers):
            raise _Different
        self._firsts = [slots.index(number) for number in distinct]
        self._again = [(at, slots.index(number)) for at, number in enumerate(slots) if slots.index(number) != at]
        self._id_slot = slots.index(9999)
        kinds = {number: kind for (kind, _), number in marks.numbers.items()}
        self._numbers = [at for at, number in enumerate(distinct) if kinds[number] is Decimal]
        texts = {number: text for (_, text), number in marks.numbers.items()}
        self._long = [len(texts[number]) > 10 for number in distinct]
        order = {number: index for index, number in enumerate(distinct)}
        self._build = _builder(record, {key: order[number] for key, number in marks.numbers.items()})

    def record(self, found: list[bytes]) -> Record | None:
        """The record with these values; ``None`` where they do not behave as the learned ones did."""
        for at, first in self._again:
            if found[at] != found[first]:
                return None
        texts = [found[index] for index in self._firsts]
        if len(set(texts)) != len(texts):
            return None
        try:
            if [len(text) > 10 for text in texts] != self._long:
                return None
            values: list[Any] = [text.decode() for text in texts]
            for at in self._numbers:
                values[at] = _DECIMALS[values[at]]
            record: Record = self._model.model_validate(self._build(values))
        except (ValueError, ValidationError):
            return None  # the plain way says what is wrong, and where
        return record if found[self._id_slot].decode() == self._resource_id(record.id) else None


class _Remembered(dict[Any, Any]):
    """What was made of one varying value: numbers, and nested models, validated once, for they are frozen."""

    def __init__(self, build: Callable[[Any], Any]) -> None:
        super().__init__()
        self._build = build

    def __missing__(self, value: Any) -> Any:
        if len(self) >= _MOST_REMEMBERED:
            self.clear()
        made = self[value] = self._build(value)
        return made


_DECIMALS = _Remembered(Decimal)


def _builder(record: Model, slots: dict[tuple[type, str], int]) -> Callable[[list[Any]], Tree]:
    """A function from the slots' values to the tree that the model of ``record`` validates."""
    constant: Tree = {}
    plain: list[tuple[str, int]] = []
    made: list[tuple[str, Callable[[list[Any]], Any]]] = []
    for name, value in record.__dict__.items():
        if value is None or value == ():
            continue
        if name == _FREE_TEXT.get(type(record)) or (name == "id" and isinstance(record, Record)):
            plain.append((name, slots[str, value]))
        elif (slot := _slot(value, slots)) is not None:
            plain.append((name, slot))
        elif _used(value, slots):
            made.append((name, _maker(value, slots)))
        else:
            constant[name] = value

    def build(found: list[Any]) -> Tree:
        tree = constant.copy()
        for name, index in plain:
            tree[name] = found[index]
        for name, make in made:
            tree[name] = make(found)
        return tree

    return build


def _slot(value: Any, slots: dict[tuple[type, str], int]) -> int | None:
    if isinstance(value, Decimal):
        return slots[Decimal, value.text]
    return slots[str, str(value)] if isinstance(value, _TIMES) else None


def _used(value: Any, slots: dict[tuple[type, str], int]) -> set[int]:
    """The slots that fill a value."""
    if isinstance(value, tuple):
        return {slot for item in value for slot in _used(item, slots)}
    if isinstance(value, Model):
        free = _FREE_TEXT.get(type(value))
        used = {slot for member in value.__dict__.values() for slot in _used(member, slots)}
        text = getattr(value, free) if free else None
        return used if text is None else used | {slots[str, text]}
    slot = _slot(value, slots)
    return set() if slot is None else {slot}


def _maker(value: Any, slots: dict[tuple[type, str], int]) -> Callable[[list[Any]], Any]:
    """A function that makes a nested value from the slots: a model that varies in one value is made once for each."""
    used = _used(value, slots)
    if not used:
        return lambda found: value
    if isinstance(value, tuple):
        items = [_maker(item, slots) for item in value]
        return lambda found: tuple([make(found) for make in items])
    if not isinstance(value, Model):
        index = _slot(value, slots)
        assert index is not None
        return lambda found: found[index]
    validate, build = type(value).model_validate, _builder(value, slots)
    if len(used) > 1:
        return lambda found: validate(build(found))
    (only,) = used
    remembered = _Remembered(lambda one: validate(build([one] * (only + 1))))
    return lambda found: remembered[found[only]]
