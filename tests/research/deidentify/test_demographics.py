"""Ages, bands, sexes and postcodes."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.research.deidentify import Person, Profile, bands, demographics
from fhirbridge.research.deidentify.demographics import DemographicRow, postcode

PROFILES = {name: Profile.load(name) for name in ("safe-harbor", "limited", "shifted")}
DOSE = dt.datetime(2026, 6, 17, 10, tzinfo=dt.UTC)


def row(tree: dict[str, Any], name: str = "safe-harbor", **known: Any) -> DemographicRow:
    return demographics(tree, Person("A" * 20, dt.timedelta(1), **({"first_dose": DOSE} | known)), PROFILES[name])


@pytest.mark.parametrize(
    ("birth", "told"),
    [
        ("1986-11-20", (1986, 40, "35-44")),
        ("1986", (1986, 40, "35-44")),
        ("2010-01", (2010, 16, "0-17")),
        ("1937-01-01", (1937, 89, "85-89")),
        ("1936-12-31", (None, None, "90+")),
        ("1900-01-01", (None, None, "90+")),
        ("2027-01-01", (None, None, None)),
        ("soon", (None, None, None)),
        ("0000-01-01", (None, None, None)),
    ],
)
def test_age_band_and_year_of_birth_give_way_together(birth: str, told: tuple[Any, ...]) -> None:
    found = row({"birthDate": birth})
    assert (found.birth_year, found.age, found.band) == told


def test_who_turns_90_while_the_data_go_on_is_over_89_from_the_start() -> None:
    """The age at the first dose and the distance of the last visit would tell it."""
    later = DOSE + dt.timedelta(days=400)
    assert row({"birthDate": "1937-01-01"}, until=later).band == "90+"
    assert row({"birthDate": "1937-01-01", "deceasedDateTime": "2027-02"}).age is None


def test_without_any_moment_nobody_is_known_to_be_under_90() -> None:
    assert row({"birthDate": "1980"}, first_dose=None).band == "90+"
    assert row({"birthDate": "1980"}, first_dose=None, until=DOSE).birth_year == 1980


def test_a_limited_data_set_tells_every_age() -> None:
    assert row({"birthDate": "1930-01-01"}, "limited").age == 96
    assert row({"birthDate": "1930-01-01"}, "limited").band == "90+"


@given(st.integers(1900, 2026), st.sampled_from(sorted(PROFILES)))
def test_every_band_is_one_of_those_that_are_declared(year: int, name: str) -> None:
    assert row({"birthDate": str(year)}, name).band in bands(PROFILES[name].ages)


@pytest.mark.parametrize(("said", "told"), [("female", "female"), ("x", None), (None, None), (["female"], None)])
def test_a_sex_is_one_of_four_words(said: Any, told: str | None) -> None:
    assert row({"gender": said}).sex == told


def test_the_17_restricted_areas_become_000() -> None:
    rules = PROFILES["safe-harbor"].postcode
    assert len(rules.restricted) == 17
    assert {postcode(f"{three}01", rules) for three in rules.restricted} == {"000"}
    assert postcode("10115-1234", rules) == "101"
    for wrong in ("1011", "SW1A 1AA", "", None, "D-10115"):
        assert postcode(wrong, rules) is None


def test_the_address_that_is_in_use_counts_and_only_an_american_one() -> None:
    addresses = [
        {"postalCode": "99501", "use": "old"},
        {"postalCode": "10115", "country": "DE"},
        {"postalCode": "60601"},
    ]
    assert row({"address": addresses}).postcode == "606"
    assert row({"address": "10115"}).postcode is None
    assert row({}, postcode="60601").postcode == "606"


def test_death_is_yes_or_no() -> None:
    assert row({"deceasedBoolean": True}).deceased
    assert row({"deceasedDateTime": "2026-07-01"}).deceased
    assert not row({"deceasedBoolean": False}).deceased
    assert not row({}).deceased
