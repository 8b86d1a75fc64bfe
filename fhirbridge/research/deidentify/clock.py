"""Moments of one person, moved: one span of time is added to all of them, so that every interval stays as it was.

Whatever the profile says, a person has a single number of seconds by which all moments are moved (see
docs/deidentify.md). The result always says ``+00:00``, so that no zone is told:

- ``keep``: nothing is moved, and offsets stay.
- ``shift``: the shift in whole days, plus the offset that the clinic had at the first dose: times of day are those of
  its clock on that day. ``hour`` and ``drop`` move further by less than a day, so that the first dose stands at a full
  hour, or at 12:00.
- ``from-first-dose``: the first dose stands at 12:00 on 1 January of its year.

A day without a time is moved by whole days. What is coarser than a day has no distance to anything and is left out.
Without a first dose, ``shift`` gives days alone (with ``time_of_day = "keep"``, moments), and ``from-first-dose`` the
year alone. All of it fails safe: what cannot be moved is ``None``.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fhirbridge.records.text import Date, DateTime, Instant
from fhirbridge.research.deidentify.person import Person
from fhirbridge.research.deidentify.profile import Times

T = TypeVar("T", Date, DateTime, Instant)

_SECOND, _DAY = 19, 10
_ZERO = dt.timedelta(0)
_ANY = (dt.datetime.min, dt.datetime.max)  # noqa: DTZ901 - bounds for wall clock times


class Clock:
    """Moves the moments of one person. Raises ``ValueError`` for a first dose without an offset."""

    __slots__ = ("_adds", "_bounds", "_kept", "_known", "_only_days", "_only_years", "days", "is_coarse", "move")

    _MOST = 4096

    def __init__(self, times: Times, person: Person) -> None:
        self._kept = times.dates == "keep"
        self._only_days = self._only_years = False
        #: Whether moments become days or years: there is no first dose.
        self.is_coarse = False
        self._adds: dict[str, dt.timedelta] = {}
        # What was measured at one moment comes in several records.
        self._known: dict[type, dict[str, Any]] = {Date: {}, DateTime: {}, Instant: {}}
        #: What is added to a moment's time in UTC; whole seconds.
        self.move = _ZERO
        #: What is added to a day without a time; whole days.
        self.days = _ZERO
        self._bounds = _ANY
        first = person.first_dose
        if self._kept:
            return
        if first is None:
            self._without_dose(times, person)
            return
        offset = _offset(person, first)
        wall = first.astimezone(dt.UTC).replace(tzinfo=None, microsecond=0) + offset
        if times.dates == "shift":
            put = wall + person.shift
            if times.time_of_day == "hour":
                put = put.replace(minute=0, second=0)
            elif times.time_of_day == "drop":
                put = put.replace(hour=12, minute=0, second=0)
        else:
            put = wall.replace(month=1, day=1, hour=12, minute=0, second=0)
        self.move = put - wall + offset
        self.days = dt.timedelta(days=(put.date() - wall.date()).days)
        if times.horizon_days:
            horizon = dt.timedelta(days=times.horizon_days)
            self._bounds = (put - horizon, put + horizon)

    def _without_dose(self, times: Times, person: Person) -> None:
        self._only_years = times.dates == "from-first-dose"
        self._only_days = times.time_of_day != "keep"
        self.is_coarse = self._only_years or self._only_days
        offset = _ZERO
        if person.zone is not None and person.until is not None:
            offset = _offset(person, person.until)
        self.move = person.shift + offset
        self.days = person.shift

    def moved(self, text: T) -> T | None:
        """The text of a moment, moved; ``None`` where it cannot be told."""
        known = self._known[type(text)]
        try:
            return known[text]  # type: ignore[no-any-return]
        except KeyError:
            if len(known) >= self._MOST:
                known.clear()
            try:
                found = text if self._kept else self._moved(text)
            except OverflowError:
                # Before the year 1 or after the year 9999.
                found = None
            known[text] = found
            return found

    def _moved(self, text: T) -> T | None:
        kind = type(text)
        try:
            if len(text) < _SECOND:
                return self._day(text)
            naive = dt.datetime.fromisoformat(text[:_SECOND])
            rest = text[_SECOND:]
        except ValueError:
            return self._leap(text)
        if self._only_years or self._only_days:
            return self._coarse(text)
        add = self._adds.get(rest)
        if add is not None:
            fraction = ""
        else:
            zone = rest.lstrip(".0123456789")
            fraction = rest[: len(rest) - len(zone)]
            add = self._adds.get(zone)
            if add is None:
                add = self._adds[zone] = self.move - _span(zone)
        naive += add
        low, high = self._bounds
        if not low <= naive <= high:
            return None
        return str.__new__(kind, f"{naive.isoformat()}{fraction}+00:00")

    def _leap(self, text: T) -> T | None:
        """A leap second is told as the second after it, which is when it is over."""
        if text[17:_SECOND] != "60":
            return None
        # Never a Date: those have no time of day.
        return self._moved(type(text)(text.as_datetime().isoformat()))

    def _day(self, text: T) -> T | None:
        if self._only_years:
            return self._coarse(text)
        if len(text) != _DAY:
            return None
        day = dt.date.fromisoformat(text)
        low, high = self._bounds
        moved = day + self.days
        if not low.date() <= moved <= high.date():
            return None
        return str.__new__(type(text), moved.isoformat())

    def _coarse(self, text: T) -> T | None:
        """The year, or the day: only where the type of the text allows for less than a moment."""
        if isinstance(text, Instant):
            return None
        if self._only_years:
            return str.__new__(type(text), text[:4])
        moved = DateTime(text).as_datetime().astimezone(dt.UTC) + self.move
        return str.__new__(type(text), moved.date().isoformat())


def _offset(person: Person, moment: dt.datetime) -> dt.timedelta:
    if person.zone is not None:
        try:
            moment = moment.astimezone(ZoneInfo(person.zone))
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError("the zone of a person is one of the IANA zone database") from None
    offset = moment.utcoffset()
    if offset is None:
        raise ValueError("a first dose has an offset from UTC")
    # Offsets before standard time had seconds; a first dose has none.
    return dt.timedelta(seconds=round(offset.total_seconds() / 60) * 60)


def _span(zone: str) -> dt.timedelta:
    if zone == "Z":
        return _ZERO
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    span = dt.timedelta(hours=hours, minutes=minutes)
    return -span if zone[0] == "-" else span
