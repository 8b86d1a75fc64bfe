"""Days at a place: text of times with the offset that the place has on that day (trap T16)."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from fhirbridge.fhir.json import Tree

_TWO_DIGITS = tuple(f"{number:02d}" for number in range(60))
_MINUTES = tuple(f"T{hour:02d}:{minute:02d}:" for hour in range(24) for minute in range(60))


class Day:
    """One day in one time zone. ``ordinal`` is the proleptic Gregorian day number, as in ``datetime.date``."""

    __slots__ = ("_offset", "ordinal", "text", "zone")

    def __init__(self, ordinal: int, zone: str) -> None:
        self.ordinal = ordinal
        self.zone = zone
        self.text, self._offset = _texts(ordinal, zone)

    def at(self, minute: int, second: int = 0) -> str:
        """The time ``minute`` minutes after midnight, such as ``2026-03-09T10:40:07-04:00``."""
        return f"{self.text}{_MINUTES[minute]}{_TWO_DIGITS[second]}{self._offset}"

    def later(self, days: int) -> Day:
        """The day ``days`` days on, with that day's own offset."""
        return Day(self.ordinal + days, self.zone)


class Filed(NamedTuple):
    """A record, and when it was filed: a day and minutes after midnight."""

    day: Day
    minute: int
    record: Tree


@lru_cache(maxsize=4096)
def _texts(ordinal: int, zone: str) -> tuple[str, str]:
    day = dt.date.fromordinal(ordinal)
    # Clocks change in the night, a clinic works by day: the offset at noon holds for all its hours.
    noon = dt.datetime.combine(day, dt.time(12), ZoneInfo(zone))
    return day.isoformat(), noon.isoformat()[19:]
