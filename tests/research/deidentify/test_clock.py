"""Moments are moved as a whole: intervals to the second, order, and no zone."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.records import Date, DateTime, Instant
from fhirbridge.research.deidentify import Person
from fhirbridge.research.deidentify.clock import Clock
from fhirbridge.research.deidentify.profile import TimeOfDay, Times
from tests.strategies import base as b

DOSE = dt.datetime.fromisoformat("2026-03-06T10:20:30-05:00")
MOVING = {
    "shift": Times("shift"),
    "shift, hour": Times("shift", "hour"),
    "shift, drop": Times("shift", "drop"),
    "from-first-dose": Times("from-first-dose"),
}
moving = pytest.mark.parametrize("times", MOVING.values(), ids=MOVING)
shifts = st.integers(-365, 365).filter(bool).map(lambda days: dt.timedelta(days=days))
doses = b.instants.map(lambda text: Instant(text).as_datetime())


def person(shift: int | dt.timedelta = 100, dose: dt.datetime | None = DOSE, **known: object) -> Person:
    days = shift if isinstance(shift, dt.timedelta) else dt.timedelta(days=shift)
    return Person("A" * 20, days, dose, **known)  # type: ignore[arg-type]


def at(text: str) -> dt.datetime:
    return DateTime(text).as_datetime()


@moving
@given(st.data())
def test_every_interval_stays_exact_and_no_zone_is_told(times: Times, data: st.DataObject) -> None:
    """Across changes of clocks, zones, leap days and fractions of a second to the ninth digit."""
    clock = Clock(times, person(data.draw(shifts), data.draw(doses)))
    texts = data.draw(st.lists(b.instants, min_size=2, max_size=6))
    moved = [clock.moved(Instant(text)) for text in texts]
    assert all(one is not None and one.endswith("+00:00") for one in moved)
    for (one, other), (new, newer) in zip(pairwise(texts), pairwise(map(str, moved)), strict=True):
        assert at(newer) - at(new) == at(other) - at(one)
        assert new[19:-6] == one[19:].rstrip("Z").split("+")[0].split("-")[0]


@moving
@given(st.lists(b.instants, min_size=2, max_size=8), shifts)
def test_the_order_of_events_is_kept(times: Times, texts: list[str], shift: dt.timedelta) -> None:
    clock = Clock(times, person(shift))
    moved = sorted(texts, key=at)
    told = [at(str(clock.moved(Instant(text)))) for text in moved]
    assert told == sorted(told)


@pytest.mark.parametrize("time_of_day", ["keep", "hour", "drop"])
@given(b.instants, b.instants, st.sampled_from([-4, 4, 7]))
def test_with_the_least_shift_no_moment_is_back_on_its_own_day(
    time_of_day: TimeOfDay, text: str, dose: str, days: int
) -> None:
    """Whatever zone it was told in, and whatever zone the clinic was in."""
    told = Clock(Times("shift", time_of_day), person(days, at(dose))).moved(Instant(text))
    assert str(told)[:10] != text[:10]


@moving
@given(st.lists(b.days, min_size=2, max_size=6), shifts)
def test_days_move_by_whole_days(times: Times, days: list[str], shift: dt.timedelta) -> None:
    clock = Clock(times, person(shift))
    told = [clock.moved(DateTime(day)) for day in days]
    for (one, other), (new, newer) in zip(pairwise(days), pairwise(map(str, told)), strict=True):
        assert at(newer) - at(new) == at(other) - at(one)
    assert all(len(str(one)) == 10 for one in told)


def test_the_first_dose_stands_where_the_profile_puts_it() -> None:
    dose = Instant("2026-03-06T10:20:30-05:00")
    told = {name: Clock(times, person(100)).moved(dose) for name, times in MOVING.items()}
    assert told == {
        "shift": "2026-06-14T10:20:30+00:00",
        "shift, hour": "2026-06-14T10:00:00+00:00",
        "shift, drop": "2026-06-14T12:00:00+00:00",
        "from-first-dose": "2026-01-01T12:00:00+00:00",
    }


def test_across_the_change_of_clocks_the_hour_is_that_of_the_first_dose() -> None:
    """10:20 in winter and 10:20 in summer are 23 hours apart over that night, and stay so."""
    clock = Clock(Times("shift"), person(7))
    assert clock.moved(Instant("2026-03-08T10:20:30-04:00")) == "2026-03-15T09:20:30+00:00"


def test_two_clinics_in_two_zones_cannot_be_told_apart_by_it() -> None:
    east = Clock(Times("shift"), person(9)).moved(Instant("2026-03-06T10:20:30-05:00"))
    dose = dt.datetime.fromisoformat("2026-03-06T10:20:30+05:30")
    assert Clock(Times("shift"), person(9, dose)).moved(Instant("2026-03-06T10:20:30+05:30")) == east


def test_the_zone_of_a_person_counts_where_the_dose_is_told_in_utc() -> None:
    clock = Clock(Times("shift"), person(9, DOSE.astimezone(dt.UTC), zone="America/New_York"))
    assert clock.moved(Instant("2026-03-06T10:20:30-05:00")) == "2026-03-15T10:20:30+00:00"


@moving
@pytest.mark.parametrize("text", ["2026", "2026-03"])
def test_what_is_coarser_than_a_day_is_left_out(times: Times, text: str) -> None:
    assert Clock(times, person()).moved(DateTime(text)) is None


def test_a_leap_second_is_the_second_after_it() -> None:
    clock = Clock(Times("shift"), person(1))
    assert clock.moved(Instant("2016-12-31T23:59:60Z")) == clock.moved(Instant("2017-01-01T00:00:00Z"))


def test_without_a_first_dose_less_is_told() -> None:
    text, when = "2026-03-06T23:20:30-05:00", Instant("2026-03-06T23:20:30-05:00")
    undosed = person(10, None)
    assert Clock(Times("shift"), undosed).moved(when) == "2026-03-17T04:20:30+00:00"
    for times, told in ((Times("shift", "drop"), "2026-03-17"), (Times("from-first-dose"), "2026")):
        assert Clock(times, undosed).moved(DateTime(text)) == told
        assert Clock(times, undosed).moved(when) is None
    assert Clock(Times("from-first-dose"), undosed).moved(DateTime("2026-03-06")) == "2026"


def test_beyond_the_horizon_nothing_is_told() -> None:
    """A diagnosis of 1936 would tell of an age over 89."""
    clock = Clock(Times("from-first-dose", horizon_days=3650), person())
    assert clock.moved(DateTime("1936-05-01")) is None
    assert clock.moved(Instant("1936-05-01T10:00:00Z")) is None
    assert clock.moved(DateTime("2017-05-01")) is not None


@given(st.sampled_from(["0001-01-01", "9999-12-31", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-11:00"]), shifts)
def test_the_ends_of_the_calendar_do_not_raise(text: str, shift: dt.timedelta) -> None:
    for times in MOVING.values():
        for dose in (DOSE, None):
            Clock(times, person(shift, dose)).moved(DateTime(text))


def test_a_limited_data_set_keeps_the_text() -> None:
    clock = Clock(Times("keep"), person())
    for text in ("2026", "2026-03-06T10:20:30.120-05:00", "2026-03-06"):
        assert clock.moved(DateTime(text)) == text


def test_the_type_of_a_moment_stays() -> None:
    clock = Clock(Times("shift"), person())
    assert type(clock.moved(Date("2026-03-06"))) is Date
    assert type(clock.moved(DateTime("2026-03-06"))) is DateTime
    assert type(clock.moved(Instant("2026-03-06T10:20:30-05:00"))) is Instant


def test_a_dose_without_an_offset_and_a_zone_that_does_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="offset"):
        Clock(Times("shift"), person(1, DOSE.replace(tzinfo=None)))
    with pytest.raises(ValueError, match="zone"):
        Clock(Times("shift"), person(1, zone="Nowhere/Town"))
