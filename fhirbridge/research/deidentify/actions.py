"""What the words of a profile do with a value of a record: one small function each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fhirbridge.records.base import Amount, Coding, Concept, Identifier, Period, Ref, checks, filler
from fhirbridge.records.text import Decimal
from fhirbridge.research.deidentify import references
from fhirbridge.research.deidentify.codes import MASKED, CodeList
from fhirbridge.research.deidentify.course import Course
from fhirbridge.research.deidentify.numbers import UNITS, NumberLimits
from fhirbridge.research.deidentify.profile import People
from fhirbridge.research.deidentify.references import address
from fhirbridge.research.deidentify.shape import Act, Inline, holds_together

_make_amount: Callable[[dict[str, Any]], Amount] = filler(Amount)
_make_period: Callable[[dict[str, Any]], Period] = filler(Period)
_period_checks = checks(Period, "after")
# FHIR types of the kinds: what references call them.
_TYPES = {"session": "Procedure", "consent": "Consent", "adverse_event": "AdverseEvent"}
_VERSION = frozenset("0123456789.")
_LONGEST_VERSION = len("27.1")


class Actions:
    """The functions by their words, for one profile. Each gives ``None`` for what is left out."""

    def __init__(self, people: People, codes: CodeList, limits: NumberLimits) -> None:
        self._people, self._codes, self._limits = people, codes, limits

    def named(self, action: str, path: str) -> Act | Inline:
        """The function of a word of a profile."""
        if action == "patient":
            return Inline("course.patient")
        if action == "reset":
            return Inline("1")
        if action == "code":
            return self._code
        if action == "masked":
            return self._masked(path)
        if action == "time":
            return _told_where_coarse(path)
        made: Act = getattr(self, f"_{action}")
        if action == "measured":
            return self._measured(path)
        if action in ("points", "amount"):
            return _told_where_rounded(made, path)
        if action in ("record", "person", "place"):
            return _remembered(made, action)
        return made

    def _code(self, value: Any, course: Course, lost: list[str]) -> Any:
        if isinstance(value, str):
            return value
        if isinstance(value, Coding):
            return self._codes.coding(value.system, value.code)
        return self._codes.concept(value)

    def _masked(self, path: str) -> Act:
        told = f"{path} (masked)"

        def masked(value: Any, course: Course, lost: list[str]) -> Any:
            found = self._code(value, course, lost)
            if found is None and not isinstance(value, Coding):
                lost.append(told)
                return MASKED
            return found

        return masked

    def _count(self, value: int, course: Course, lost: list[str]) -> int | None:
        return value if 0 <= value <= self._limits.largest_count else None

    def _points(self, value: Decimal, course: Course, lost: list[str]) -> Decimal | None:
        return self._limits.points(value)

    def _measured(self, path: str) -> Act:
        digits, shortened, told = self._limits.digits, self._limits.shortened, f"{path} (rounded)"

        def measured(value: Decimal, course: Course, lost: list[str]) -> Decimal:
            if len(value.text) <= digits:
                return value
            found = shortened(value)
            if found is not value:
                lost.append(told)
            return found

        return measured

    def _unit(self, value: str, course: Course, lost: list[str]) -> str | None:
        return value if value in UNITS else None

    def _amount(self, value: Amount, course: Course, lost: list[str]) -> Amount | None:
        number = self._limits.in_unit(value.value, value.unit)
        if number is None or number is value.value:
            return None if number is None else value
        return _make_amount({"value": number, "unit": value.unit, "comparator": value.comparator})

    def _item(self, value: str, course: Course, lost: list[str]) -> str | None:
        return value if self._codes.is_item(value) else None

    def _version(self, value: str, course: Course, lost: list[str]) -> str | None:
        return value if len(value) <= _LONGEST_VERSION and _VERSION.issuperset(value) else None

    def _term(self, value: str, course: Course, lost: list[str]) -> str:
        word = getattr(course.record, "term", None)
        return word.replace("_", " ") if isinstance(word, str) else "masked"

    def _period(self, value: Period, course: Course, lost: list[str]) -> Period | None:
        start, end = value.start, value.end
        made = _make_period(
            {
                "start": None if start is None else course.clock.moved(start),
                "end": None if end is None else course.clock.moved(end),
            }
        )
        return made if holds_together(made, _period_checks) else None

    def _id(self, value: str, course: Course, lost: list[str]) -> str:
        record = course.record
        assert record is not None  # set before any rule runs
        return course.names.once(_TYPES.get(record.kind, "Observation"), value)

    def _named(self, value: Identifier, course: Course, lost: list[str]) -> Identifier | None:
        if value.value is None:
            return None
        return references.identifier(None, course.names.own("thing", value.value))

    def _record(self, value: Ref, course: Course, lost: list[str]) -> Ref | None:
        type_, _, name = address(value)
        if name is None:
            return None
        if references.is_patient(type_):
            return course.patient if course.is_subject(value) else None
        return references.named(type_, course.names.own(type_ or "", name))

    def _person(self, value: Ref, course: Course, lost: list[str]) -> Ref | None:
        type_, system, name = address(value)
        if name is None:
            return None
        if references.is_patient(type_):
            return course.patient if course.is_subject(value) else None
        if self._people.staff == "drop":
            return None
        if references.is_relative(type_):
            return references.named(type_, course.names.own("RelatedPerson", name))
        return references.named(type_, course.names.shared(type_ or "", system, name))

    def _place(self, value: Ref, course: Course, lost: list[str]) -> Ref | None:
        type_, system, name = address(value)
        if name is None or self._people.places == "drop" or references.is_patient(type_):
            return None
        return references.named(type_, course.names.shared(type_ or "", system, name))


def each(act: Act, path: str) -> Act:
    """The function for a list of values. An empty list is the same as none; what was left out of it is told here."""

    def every(value: tuple[Any, ...], course: Course, lost: list[str]) -> tuple[Any, ...]:
        kept: list[Any] = []
        for one in value:
            found = act(one, course, lost)
            # Two things that are both masked are the same thing twice, which most lists may not hold.
            if found is None or (isinstance(found, (Concept, Coding)) and found in kept):
                lost.append(path)
            else:
                kept.append(found)
        return tuple(kept)

    return every


def _remembered(act: Act, action: str) -> Act:
    def remembered(value: Ref, course: Course, lost: list[str]) -> Ref | None:
        fields = value.__dict__
        named = fields["identifier"]
        if named is None:
            key = (action, fields["type"], None, fields["literal"])
        else:
            key = (action, fields["type"], named.system, named.value)
        try:
            return course.refs[key]
        except KeyError:
            found: Ref | None = act(value, course, lost)
            return course.remember(key, found)

    return remembered


def _told_where_rounded(act: Act, path: str) -> Act:
    def told(value: Any, course: Course, lost: list[str]) -> Any:
        found = act(value, course, lost)
        if found is not None and found is not value:
            lost.append(f"{path} (rounded)")
        return found

    return told


def _told_where_coarse(path: str) -> Act:
    told = f"{path} (coarse)"

    def moved(value: Any, course: Course, lost: list[str]) -> Any:
        clock = course.clock
        found = clock.moved(value)
        if clock.is_coarse and found is not None and len(found) < len(value):
            lost.append(told)
        return found

    return moved
