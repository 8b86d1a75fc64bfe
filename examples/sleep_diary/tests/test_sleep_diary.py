"""The sleep diary keeps the laws in every release, says what it should, and refuses what cannot be a night."""

from __future__ import annotations

from typing import Any

import laws
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sleep_diary.definitions import PUBLICATION
from sleep_diary.mapping import KIND

from fhirbridge.binding import BASE, Binding, Clinic, Release
from fhirbridge.errors import RecordRefused, ResourceRefused
from fhirbridge.mapping import Mappings
from fhirbridge.records import Decimal, parse

CLINIC = Clinic("clinic.example", b"an id key for tests only")
MAPPINGS = {release: Mappings(Binding(CLINIC, release), {KIND.name: KIND}) for release in Release}
NIGHT: dict[str, Any] = {
    "id": "n1",
    "revision": 1,
    "patient": {"type": "Patient", "identifier": {"system": "https://clinic.example/sid/patient", "value": "P-1"}},
    "status": "final",
    "went_to_bed": "2026-11-20T23:10:00-05:00",
    "got_up": "2026-11-21T06:45:00-05:00",
    "asleep": {"value": 390, "unit": "min"},
}
texts = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12)
codings = st.fixed_dictionaries({"system": st.just("https://elsewhere.example/codes"), "code": texts.map(str)})
refs = st.fixed_dictionaries({"identifier": st.fixed_dictionaries({"system": st.just("urn:x"), "value": texts})})
nights = st.fixed_dictionaries(
    {
        **{name: st.just(value) for name, value in NIGHT.items() if name not in ("status", "asleep", "revision")},
        "status": st.sampled_from(["final", "corrected", "entered_in_error"]),
        "revision": st.one_of(st.integers(0, 9), st.just("2026-11-21T07:00:00.120-05:00")),
        "asleep": st.one_of(
            st.builds(lambda text: {"value": Decimal(text), "unit": "h"}, st.sampled_from(["6.50", "7", "0.1"])),
            st.builds(lambda number: {"value": number, "unit": "min"}, st.integers(0, 1440)),
        ),
    },
    optional={
        "awakenings": st.integers(0, 200),
        "quality": st.one_of(
            st.sampled_from(["poor", "fair", "good"]), st.builds(lambda one: {"codings": [one]}, codings)
        ),
        "sleep_aid": st.booleans(),
        "after_session": refs.map(lambda ref: {"type": "Procedure", **ref}),
        "reported_by": refs.map(lambda ref: {"type": "Patient", **ref}),
        "encounter": refs.map(lambda ref: {"type": "Encounter", **ref}),
        "notes": st.lists(st.fixed_dictionaries({"text": texts}), min_size=1, max_size=2),
        "additional_identifiers": st.lists(
            st.fixed_dictionaries({"system": st.just("urn:y"), "value": texts}), min_size=1, max_size=2
        ),
        "sensitivity": st.just(["substance_use"]),
        "source": st.just("https://clinic.example/app"),
    },
)
places = st.integers(0, 10_000)
every_release = pytest.mark.parametrize("release", Release)
a_few = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])


@every_release
@a_few
@given(night=nights)
def test_a_night_comes_back_from_its_resource(release: Release, night: dict[str, Any]) -> None:
    laws.comes_back(KIND, MAPPINGS[release], night)


@every_release
@a_few
@given(night=nights, place=places)
def test_every_field_shows_in_the_resource(release: Release, night: dict[str, Any], place: int) -> None:
    laws.every_member_shows(KIND, MAPPINGS[release], night, place)


@every_release
@a_few
@given(night=nights, place=places)
def test_foreign_content_is_laid_back(release: Release, night: dict[str, Any], place: int) -> None:
    laws.foreign_content_is_laid_back(KIND, MAPPINGS[release], night, place)


@a_few
@given(night=nights, place=places, junk=st.sampled_from([None, True, -1, "", "x", {}, [], [{}], {"coding": 3}]))
def test_broken_resources_are_refused(night: dict[str, Any], place: int, junk: Any) -> None:
    laws.broken_resources_are_refused(KIND, MAPPINGS[Release.R4], night, place, junk)


def test_every_field_is_generated() -> None:
    """A law over nights says nothing about a field that no night has."""
    seen: set[str] = set()

    @settings(a_few, max_examples=100)
    @given(night=nights)
    def collect(night: dict[str, Any]) -> None:
        seen.update(night)

    collect()
    assert seen == set(KIND.record.model_fields)


def test_the_time_asleep_is_also_an_observation_of_its_own() -> None:
    primary, projection = MAPPINGS[Release.R4].to_fhir(parse(KIND.record, NIGHT)).parts
    assert projection.role == "time-asleep"
    assert projection.resource["valueQuantity"]["code"] == "min"
    assert MAPPINGS[Release.R4].is_projection(projection.resource)
    assert not MAPPINGS[Release.R4].is_projection(primary.resource)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"got_up": "2026-11-20T22:00:00-05:00"}, "record.period_order"),
        ({"asleep": {"value": 1, "unit": "mg"}}, "record.unit"),
        ({"asleep": {"value": 25, "unit": "h"}}, "record.implausible"),
    ],
)
def test_what_cannot_be_a_night_is_refused(changed: dict[str, Any], code: str) -> None:
    with pytest.raises(RecordRefused) as refused:
        parse(KIND.record, NIGHT | changed)
    assert [fault.code for fault in refused.value.faults] == [code]


def test_an_observation_of_something_else_is_not_claimed() -> None:
    with pytest.raises(ResourceRefused, match=r"resource\.no_mapping"):
        MAPPINGS[Release.R4].from_fhir({"resourceType": "Observation", "id": "x", "code": {"text": "night"}})


def test_everything_that_is_written_can_be_looked_up() -> None:
    urls = {resource["url"] for resource in PUBLICATION.resources(BASE)}
    assert {f"{BASE}/CodeSystem/sleep-diary", f"{BASE}/StructureDefinition/after-session"} <= urls
