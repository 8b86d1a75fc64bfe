"""From the values of a record to the values of a cell: words, numbers in one unit, moments, spans."""

from __future__ import annotations

import datetime as dt
from typing import Any

from fhirbridge.records import Amount, Concept, Decimal, Ref
from fhirbridge.records.base import Coding
from fhirbridge.research.columns import OTHER

_MINUTES = {"min": 1.0, "s": 1 / 60, "h": 60.0, "d": 1440.0}
_MILLIGRAMS = {"mg": 1.0, "ug": 0.001}
_POUND, _INCH = 0.45359237, 2.54
_KILOGRAMS = {"kg": 1.0, "g": 0.001, "[lb_av]": _POUND}
# The factors are those of the mappings' own conversion (specification §3.2).
_KILOPASCAL = 7.50061682704169751877
# The one unit of each measured quantity, and how a value gets there: value * factor + shift.
STANDARD: dict[str, str] = {
    "systolic": "mm[Hg]", "diastolic": "mm[Hg]", "mean": "mm[Hg]", "heart_rate": "/min", "respiratory_rate": "/min",
    "oxygen_saturation": "%", "temperature": "Cel", "etco2": "mm[Hg]", "etco2_fraction": "%", "weight": "kg",
    "height": "cm", "bmi": "kg/m2",
}  # fmt: skip
_TO_STANDARD: dict[tuple[str, str], tuple[float, float]] = {
    ("kPa", "mm[Hg]"): (_KILOPASCAL, 0.0),
    ("[degF]", "Cel"): (5 / 9, -160 / 9),
    ("K", "Cel"): (1.0, -273.15),
    ("g", "kg"): (0.001, 0.0),
    ("[lb_av]", "kg"): (_POUND, 0.0),
    ("[in_i]", "cm"): (_INCH, 0.0),
    ("m", "cm"): (100.0, 0.0),
}
# Beyond what any device shows; it only takes the noise of binary fractions away.
_DIGITS = 6
# Of 2026-11-20T10:41:00-05:00, the usual form.
_TO_THE_SECOND = 25
_DAY = 10
_MICROSECONDS = 1_000_000


def word(value: str | Concept | Coding | None) -> str | None:
    """A word of the record; ``other`` for a concept of somebody else's."""
    return value if value is None or type(value) is str else OTHER


def number(value: Decimal | None) -> float | None:
    """The number, as a double."""
    return None if value is None else float(value.text)


def standard(value: float, unit: str, wanted: str) -> float | None:
    """The value in the unit ``wanted``; ``None`` where there is no way from one to the other."""
    if unit == wanted:
        return value
    way = _TO_STANDARD.get((unit, wanted))
    return None if way is None else round(value * way[0] + way[1], _DIGITS)


def minutes(span: Amount | None) -> float | None:
    """A span of time in minutes."""
    return _scaled(span, _MINUTES)


def milligrams(dose: Amount | None) -> float | None:
    """A dose in milligrams."""
    return _scaled(dose, _MILLIGRAMS)


def kilograms(weight: Amount | None) -> float | None:
    """A weight in kilograms."""
    return _scaled(weight, _KILOGRAMS)


def _scaled(amount: Amount | None, factors: dict[str, float]) -> float | None:
    if amount is None:
        return None
    factor = factors.get(amount.unit)
    if factor is None:
        return None
    value = float(amount.value.text)
    return value if factor == 1.0 else round(value * factor, _DIGITS)


def in_unit(amount: Amount | None, unit: str) -> float | None:
    """The value of an amount that is given in exactly this unit."""
    return None if amount is None or amount.unit != unit else float(amount.value.text)


def seconds(text: Any) -> float | None:
    """The moment that a time with an offset says, in epoch seconds; ``None`` for a date, which says none."""
    if text is None or len(text) <= _DAY:
        return None
    if len(text) == _TO_THE_SECOND and text[17] != "6":
        return dt.datetime.fromisoformat(text).timestamp()
    moment: dt.datetime = text.as_datetime()
    return moment.timestamp()


def moment(text: Any) -> int | None:
    """A time as microseconds since 1970 (UTC); a date is the beginning of its first day."""
    if text is None:
        return None
    found = seconds(text)
    return round((text.as_datetime().timestamp() if found is None else found) * _MICROSECONDS)


def span(start: float | None, end: float | None) -> float | None:
    """The minutes from one moment to another (epoch seconds)."""
    return None if start is None or end is None else round((end - start) / 60, _DIGITS)


def day(text: Any) -> int | None:
    """The number of the day of a moment or a day (1 is the first of the calendar); months and years say none."""
    return None if text is None or len(text) < _DAY else dt.date.fromisoformat(text[:_DAY]).toordinal()


def days(start: int | None, end: Any) -> float | None:
    """The days from the day with the number ``start`` to the day of ``end``."""
    last = day(end)
    return None if start is None or last is None else float(last - start)


def name_in(ref: Ref | None) -> str | None:
    """What a reference of a de-identified record is called: the pseudonym."""
    if ref is None or ref.identifier is None:
        return None
    return ref.identifier.value


def coding_of(concept: Concept | Any) -> Coding | None:
    """The first coding of a concept that has a code; none for a word."""
    for one in getattr(concept, "codings", ()):
        if one.code is not None:
            found: Coding = one
            return found
    return None
