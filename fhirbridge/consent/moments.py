"""Times of the record as spans of seconds since 1970, so that comparing them is comparing numbers.

``2026-11`` is a month and ``2026-11-20T10:00:00Z`` a second: FHIR's period includes its end, whatever its precision.
"""

from __future__ import annotations

import datetime as dt
import math
from typing import NamedTuple

from fhirbridge.records.base import Period
from fhirbridge.records.text import DateTime

_DAY, _MONTH, _YEAR = 10, 7, 4


class Span(NamedTuple):
    """From ``start``, included, to ``end``, excluded."""

    start: float
    end: float


ALWAYS = Span(-math.inf, math.inf)


def span(text: str, zone: dt.tzinfo) -> Span:
    """The time that a text covers; days are days in ``zone``. Raises ``ValueError`` for text that is no FHIR time."""
    return Span(*bounds(text, zone))


def bounds(text: str, zone: dt.tzinfo) -> tuple[float, float]:
    """The same as a bare pair, for what is asked of every record."""
    if len(text) > _DAY:
        try:
            moment = dt.datetime.fromisoformat(text)
        except ValueError:
            # A leap second.
            moment = DateTime(text).as_datetime()
        if moment.tzinfo is None:
            raise ValueError("a time without an offset says no moment")
        start = moment.timestamp()
        return start, start + (_length(text) if text[19:20] == "." else 1.0)
    first = DateTime(text).as_datetime(zone)
    return _seconds(first), _after(first, len(text))


def _length(text: str) -> float:
    """How long the last digit of a fraction of a second lasts; beyond microseconds nobody counts."""
    digits = len(text[20:].rstrip("Z").partition("+")[0].partition("-")[0])
    return float(10.0 ** -min(digits, 6))


def _after(first: dt.datetime, precision: int) -> float:
    try:
        if precision == _YEAR:
            return _seconds(first.replace(year=first.year + 1))
        if precision == _MONTH:
            return _seconds((first + dt.timedelta(days=31)).replace(day=1))
        return _seconds(first + dt.timedelta(days=1))
    except (ValueError, OverflowError):
        return math.inf


def _seconds(moment: dt.datetime) -> float:
    try:
        return moment.timestamp()
    except (ValueError, OverflowError):
        # The ends of the calendar, in a zone that would lead beyond them.
        return math.inf if moment.year > 1 else -math.inf


def period_span(period: Period | None, zone: dt.tzinfo) -> Span:
    """The time that a period covers; without one, all of it."""
    if period is None:
        return ALWAYS
    start = -math.inf if period.start is None else span(period.start, zone).start
    end = math.inf if period.end is None else span(period.end, zone).end
    return Span(start, end)
