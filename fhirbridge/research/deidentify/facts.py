"""What a source says that must not stand in a dataset: gathered while it is read, as hashes and numbers only.

Names, phones and addresses of everybody; and for each patient the identifiers and the moments of their records. A
moment is kept in seconds, eight bytes each, so that a million records fit into some ten megabytes.
"""

from __future__ import annotations

import datetime as dt
import functools
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

from fhirbridge.fhir.json import Json, Tree
from fhirbridge.records.base import Identifier, Model, Record, Ref
from fhirbridge.records.text import Date, DateTime, Instant
from fhirbridge.research.deidentify.clock import Clock
from fhirbridge.research.deidentify.rules import leaves
from fhirbridge.research.deidentify.tokens import Tokens

_DAY = 10
_USUAL = len("2026-11-20T10:00:00-05:00")
_PEOPLE_AT_HAND, _MOST_RECENT = 256, 512
# The lossless reader goes no deeper than 200; a clinical resource has some ten levels.
_DEEPEST = 200
# Seconds since 1970 of any year that can be written, beside the number of a patient, in 63 bits.
_BITS = 39
_MIDDLE = 1 << (_BITS - 1)
_EPOCH = dt.date(1970, 1, 1).toordinal()
#: Resources that name people.
PEOPLE = frozenset({"Patient", "RelatedPerson", "Practitioner", "Person"})


class SourceFacts:
    """Gathers. ``own`` are texts that the program writes (the dictionary of a dataset, its README).

    Processes that share the work share a ``secret`` of 16 random bytes, so that what they found can be put together.
    """

    def __init__(self, own: Iterable[str] = (), *, secret: bytes | None = None) -> None:
        self.tokens = Tokens(own, secret=secret)
        #: Keys of (patient, identifier), (patient, second), (patient, second on the clock there) and (patient, day).
        self.identifiers, self.seconds, self.walls, self.days = array("q"), array("q"), array("q"), array("q")
        self._index: dict[str, int] = {}
        self._recent: dict[str, set[str]] = {}
        self._moves: list[int] = []
        self._day_moves: list[int] = []

    def __repr__(self) -> str:
        return f"SourceFacts({len(self._index)} patients, {len(self.seconds)} moments)"

    @property
    def patients(self) -> dict[str, int]:
        """The number of each patient, by pseudonym."""
        return self._index

    def moves(self) -> tuple[list[int], list[int]]:
        """By patient: the seconds that are added to a moment, and the days that are added to a day."""
        return self._moves, self._day_moves

    def begin(self, pseudonym: str, clock: Clock) -> None:
        """The next facts are about this person, whose moments the clock moves; may be said again."""
        if pseudonym not in self._index:
            self._index[pseudonym] = len(self._index)
            self._moves.append(int(clock.move.total_seconds()))
            self._day_moves.append(clock.days.days)

    def merge(self, other: SourceFacts) -> None:
        """What another process found, with the same secret."""
        self.tokens.merge(other.tokens)
        self.identifiers.extend(other.identifiers)
        numbers = {}
        for pseudonym, index in other.patients.items():
            if pseudonym not in self._index:
                self._index[pseudonym] = len(self._index)
                self._moves.append(other.moves()[0][index])
                self._day_moves.append(other.moves()[1][index])
            numbers[index] = self._index[pseudonym]
        below = (1 << _BITS) - 1
        for mine, theirs in ((self.seconds, other.seconds), (self.walls, other.walls), (self.days, other.days)):
            mine.extend((numbers[one >> _BITS] << _BITS) | (one & below) for one in theirs)

    def people(self, resource: Tree) -> None:
        """Names, phones and addresses of a Patient, RelatedPerson, Practitioner or Person."""
        contacts = resource.get("contact")
        for one in (resource, *(contacts if isinstance(contacts, list) else ())):
            if isinstance(one, dict):
                for name in _texts(one.get("name"), "text", "family", "given"):
                    self.tokens.add_words(name)
                for line in _texts(one.get("address"), "text", "line", "city", "district"):
                    self.tokens.add_phrase(line)
                for telecom in _texts(one.get("telecom"), "value"):
                    self.tokens.add_number(telecom)
                    if "@" in telecom or "://" in telecom:
                        self.tokens.add_phrase(telecom)

    def resource(self, resource: Tree, pseudonym: str) -> None:
        """Identifiers and moments of a resource of a patient who was begun, and the names in it where it has some."""
        if resource.get("resourceType") in PEOPLE:
            self.people(resource)
        own = resource.get("id")
        if isinstance(own, str):
            self._identified(pseudonym, own)
        for text in _texts(resource.get("identifier"), "value"):
            self._identified(pseudonym, text)
        for text in _strings(resource, 0):
            if text[:2] in ("19", "20") and DateTime.pattern.fullmatch(text):
                self._moment(pseudonym, DateTime(text))

    def record(self, record: Record, pseudonym: str) -> None:
        """Identifiers and moments of a record of a patient who was begun."""
        self._identified(pseudonym, record.id)
        self._model(record, pseudonym)

    def _model(self, model: Model, pseudonym: str) -> None:
        fields = model.__dict__
        for name in _telling(type(model)):
            value = fields[name]
            if value is None or (not value and value == ()):
                continue
            for one in value if isinstance(value, tuple) else (value,):
                if isinstance(one, (DateTime, Instant, Date)):
                    self._moment(pseudonym, one)
                elif isinstance(one, Identifier):
                    self._identified(pseudonym, one.value)
                elif isinstance(one, Ref):
                    named = one.identifier.value if one.identifier is not None else one.literal
                    self._identified(pseudonym, named and named.rpartition("/")[2])
                elif isinstance(one, Model):
                    self._model(one, pseudonym)

    def _identified(self, pseudonym: str, text: str | None) -> None:
        if text and self._is_new(pseudonym, text):
            self.identifiers.append(self.tokens.hash(f"{pseudonym}|{text}"))

    def _is_new(self, pseudonym: str, text: str) -> bool:
        """Whether a text of a patient was not met a moment ago: a session is named by all that was measured in it."""
        recent = self._recent.get(pseudonym)
        if recent is None:
            if len(self._recent) >= _PEOPLE_AT_HAND:
                self._recent.clear()
            recent = self._recent[pseudonym] = set()
        if text in recent:
            return False
        if len(recent) >= _MOST_RECENT:
            recent.clear()
        recent.add(text)
        return True

    def _moment(self, pseudonym: str, text: Date | DateTime | Instant) -> None:
        if not self._is_new(pseudonym, text):
            return
        index = self._index[pseudonym]
        if len(text) == _DAY:
            self.days.append(key(index, dt.date.fromisoformat(text).toordinal() - _EPOCH))
        elif len(text) > _DAY:
            try:
                usual = len(text) == _USUAL and text[17:19] != "60"
                moment = dt.datetime.fromisoformat(text) if usual else text.as_datetime()
                seconds = int(moment.timestamp() // 1)
            except (OverflowError, ValueError):
                return
            offset = moment.utcoffset()
            self.seconds.append(key(index, seconds))
            self.walls.append(key(index, seconds + (round(offset.total_seconds()) if offset is not None else 0)))
            self.days.append(key(index, dt.date.fromisoformat(text[:_DAY]).toordinal() - _EPOCH))


def key(index: int, number: int) -> int:
    """One number for a patient and a second or a day."""
    return (index << _BITS) + number + _MIDDLE


@functools.cache
def _telling(model: type[Model]) -> tuple[str, ...]:
    """The fields of a model in which identifiers or moments can stand, at any depth."""
    return tuple(name for name, about in model.model_fields.items() if _tells(about.annotation, frozenset({model})))


def _tells(annotation: Any, above: frozenset[type]) -> bool:
    for one in leaves(annotation):
        if one in (Date, DateTime, Instant, Identifier, Ref):
            return True
        is_part = isinstance(one, type) and issubclass(one, Model) and one not in above
        if is_part and any(_tells(about.annotation, above | {one}) for about in one.model_fields.values()):
            return True
    return False


def _texts(value: Json, *names: str) -> Iterator[str]:
    """The texts of these members of a node, or of each node of a list."""
    for node in value if isinstance(value, list) else (value,):
        if isinstance(node, dict):
            for name in names:
                found = node.get(name)
                for text in found if isinstance(found, list) else (found,):
                    if isinstance(text, str):
                        yield text


def _strings(value: Json, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif depth < _DEEPEST:
        if isinstance(value, dict):
            for member in value.values():
                yield from _strings(member, depth + 1)
        elif isinstance(value, list):
            for one in value:
                yield from _strings(one, depth + 1)
