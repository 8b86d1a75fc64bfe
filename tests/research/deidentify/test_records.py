"""De-identified records are valid records that say the same about the treatment, and point to each other as before."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhirbridge.errors import NotExpressible
from fhirbridge.fhir.json import Tree, dump
from fhirbridge.mapping import Mappings
from fhirbridge.records import Decimal, Model, Record, parse, to_json
from fhirbridge.records.base import checks
from fhirbridge.research.deidentify import Census, Deidentified, Deidentifier, Profile, ProjectKey, codes_in
from fhirbridge.research.deidentify.profile import SHIPPED
from fhirbridge.research.deidentify.shape import LOOKED_AT
from fhirbridge.residue import Entry
from tests.kinds import BINDINGS, CASES

KEY = ProjectKey(b"a project key for tests, 32 byte", "TEST")
DOSE = dt.datetime.fromisoformat("2026-06-17T10:20:30-04:00")
PROFILES = {name: Profile.load(name) for name in SHIPPED}
WORKS = {name: Deidentifier(profile, KEY) for name, profile in PROFILES.items()}
SID = "https://clinic.example/sid"
PATIENT = {"type": "Patient", "identifier": {"system": f"{SID}/patient", "value": "P-1"}}
VITAL: Tree = {
    "id": "V-1", "revision": 3, "patient": PATIENT, "status": "final", "measured_at": "2026-06-17T11:00:00-04:00",
    "sign": "heart_rate", "readings": [{"name": "value", "value": 80, "unit": "/min"}],
    "session": {"type": "Procedure", "identifier": {"system": f"{SID}/treatment-session", "value": "S-1"}},
}  # fmt: skip
SESSION: Tree = {
    "id": "S-1", "revision": 1, "patient": PATIENT, "modality": "im", "status": "completed",
    "started_at": "2026-06-17T10:00:00-04:00", "administrations": [{"medication": "ketamine"}],
}  # fmt: skip
every_kind = pytest.mark.parametrize("kind", CASES)


def made(kind: str, tree: Tree, name: str = "shifted", work: Deidentifier | None = None, **known: Any) -> Deidentified:
    work = work or WORKS[name]
    return work.record(parse(CASES[kind].kind.record, tree), work.person("P-1", **({"first_dose": DOSE} | known)))


def given_record(found: Deidentified) -> Any:
    assert found.record is not None, found.reason
    return found.record


@every_kind
@given(st.data())
def test_what_is_given_is_a_valid_record_that_a_release_can_say(kind: str, data: st.DataObject) -> None:
    """Also where parts were left out, masked, rounded or moved: it passes every validator, and what it says is no more
    than the source said."""
    tree, name = data.draw(CASES[kind].trees), data.draw(st.sampled_from(SHIPPED))
    found = made(kind, tree, name)
    if found.record is None:
        assert found.reason in ("time", "required", "incomplete")
        return
    told = to_json(found.record)
    fields = {field: value for field, value in told.items() if field != "kind"}
    assert to_json(parse(type(found.record), fields)) == told
    assert set(fields) <= {*tree, "severity"}
    for label in ("r4-plain", "r5-plain"):
        # A release cannot say every record; it says so, and never fails otherwise.
        with contextlib.suppress(NotExpressible):
            Mappings(BINDINGS[label]).to_fhir(found.record)


@every_kind
@settings(max_examples=3)
@given(st.data())
def test_the_same_record_and_key_give_the_same(kind: str, data: st.DataObject) -> None:
    tree = data.draw(CASES[kind].trees)
    one, other = made(kind, tree), made(kind, tree, work=Deidentifier(PROFILES["shifted"], KEY))
    assert one.paths == other.paths
    assert (one.record is None) == (other.record is None)
    if one.record is not None and other.record is not None:
        assert dump(to_json(one.record)) == dump(to_json(other.record))


class Watched:
    """Stands for a model and notes which of its fields are looked at."""

    def __init__(self, model: Model, seen: set[str]) -> None:
        object.__setattr__(self, "_model", model)
        object.__setattr__(self, "_seen", seen)

    def __getattribute__(self, name: str) -> Any:
        model, seen = object.__getattribute__(self, "_model"), object.__getattribute__(self, "_seen")
        if name in type(model).model_fields:
            seen.add(name)
        return getattr(model, name)


def parts(value: Any) -> list[Model]:
    if isinstance(value, tuple):
        return [part for one in value for part in parts(one)]
    if not isinstance(value, Model):
        return []
    return [value, *(part for one in value.__dict__.values() for part in parts(one))]


@pytest.mark.parametrize("kind", ["vital_sign", "assessment"])
@given(st.data())
def test_validators_look_at_no_other_fields_than_those_that_are_named(kind: str, data: st.DataObject) -> None:
    """Else records would be given that nobody asked whether they hold together."""
    record = parse(CASES[kind].kind.record, data.draw(CASES[kind].trees))
    for part in parts(record):
        looked_at = LOOKED_AT.get(type(part))
        if looked_at is not None:
            seen: set[str] = set()
            for check in checks(type(part), "after"):
                check(Watched(part, seen))
            assert seen <= looked_at


def test_a_field_without_a_rule_is_left_out_and_counted() -> None:
    class WithMore(CASES["vital_sign"].kind.record):  # type: ignore[name-defined,misc]
        nickname: str | None = None

    record = parse(WithMore, {**VITAL, "nickname": "Zaphod"})
    work = WORKS["limited"]
    found = work.record(record, work.person("P-1", first_dose=DOSE))
    assert found.dropped["vital_sign.nickname"] == 1
    assert b"Zaphod" not in dump(to_json(given_record(found)))


def test_a_measurement_points_to_its_session_as_before() -> None:
    vital, session = given_record(made("vital_sign", VITAL)), given_record(made("session", SESSION))
    assert vital.session.identifier.value == session.id
    assert vital.patient == session.patient
    address = "https://hospital.example/fhir/Procedure/abc/_history/2"
    literal = {**VITAL, "session": {"type": "Procedure", "literal": address}}
    foreign = {**SESSION, "id": "Procedure/abc"}
    there = given_record(made("vital_sign", literal)).session.identifier.value
    assert there == given_record(made("session", foreign)).id


def test_the_patient_is_the_patient_wherever_the_record_says_so_and_nobody_else_is() -> None:
    mother = {"type": "Patient", "identifier": {"system": f"{SID}/patient", "value": "P-2"}}
    relative = {"type": "RelatedPerson", "identifier": {"system": f"{SID}/related-person", "value": "R-2"}}
    found = made("vital_sign", {**VITAL, "performers": [PATIENT, mother, relative]})
    record = given_record(found)
    assert record.performers[0] == record.patient
    assert [one.type for one in record.performers] == ["Patient", "RelatedPerson"]
    assert found.dropped["vital_sign.performers"] == 1
    strict = given_record(made("vital_sign", {**VITAL, "performers": [PATIENT, relative]}, "safe-harbor"))
    assert [one.type for one in strict.performers] == ["Patient"]


def test_codes_are_shown_from_the_patients_on_that_the_profile_says() -> None:
    profile = PROFILES["shifted"]
    nausea, made_up = ("http://snomed.info/sct", "422587007"), ("http://snomed.info/sct", "MRN-4711")
    concept = {"codings": [{"system": system, "code": code, "display": "Nausea"} for system, code in (nausea, made_up)]}
    tree = {**VITAL, "method": concept}
    census = Census(profile.codes)
    for patient in range(4):
        census.add(codes_in(parse(CASES["vital_sign"].kind.record, tree)), f"P-{patient}")
        census.add(codes_in(parse(CASES["vital_sign"].kind.record, tree)), f"P-{patient}")
    assert (
        given_record(made("vital_sign", tree, work=Deidentifier(profile, KEY, common=census.common()))).method is None
    )
    census.add(codes_in(parse(CASES["vital_sign"].kind.record, tree)), "P-5")
    method = given_record(made("vital_sign", tree, work=Deidentifier(profile, KEY, common=census.common()))).method
    assert [(one.system, one.code, one.display) for one in method.codings] == [(*nausea, None)]
    assert method.text is None


def test_two_concepts_that_differ_in_words_alone_become_one() -> None:
    """A list that says a criterion twice would not be valid."""
    key = ("http://snomed.info/sct", "422587007")
    criteria = [{"text": text, "codings": [{"system": key[0], "code": key[1]}]} for text in ("as Mr Dent", "said")]
    tree = {
        "id": "E-1", "revision": 1, "patient": PATIENT, "record_status": "completed", "actuality": "actual",
        "verbatim": "sick", "serious": True, "seriousness_criteria": criteria,
    }  # fmt: skip
    found = made("adverse_event", tree, work=Deidentifier(PROFILES["shifted"], KEY, common=frozenset({key})))
    assert len(given_record(found).seriousness_criteria) == 1
    assert found.dropped["adverse_event.seriousness_criteria"] == 1


def test_two_profiles_of_one_project_have_no_name_in_common() -> None:
    names = {work.person("P-1").pseudonym for work in WORKS.values()}
    assert len(names) == len(WORKS)
    assert len({given_record(made("session", SESSION, name)).id for name in SHIPPED}) == len(SHIPPED)


def test_a_value_that_the_record_needs_is_masked() -> None:
    rhythm = {**VITAL, "sign": "heart_rhythm", "readings": [], "finding": {"text": "as Mr Dent has it"}}
    found = made("vital_sign", rhythm)
    assert [one.code for one in given_record(found).finding.codings] == ["masked"]
    assert found.dropped["vital_sign.finding (masked)"] == 1


@pytest.mark.parametrize(
    ("text", "told"), [("80", "80"), ("80.50", "80.50"), ("80.123456789012", "80.12346"), ("1e0", "1e0")]
)
def test_a_number_has_no_more_digits_than_the_profile_allows(text: str, told: str) -> None:
    tree = {**VITAL, "readings": [{"name": "value", "value": Decimal(text), "unit": "/min"}]}
    found = made("vital_sign", tree)
    assert given_record(found).readings[0].value.text == told
    assert ("vital_sign.readings.value (rounded)" in found.dropped) == (text != told)


def test_points_that_may_be_a_number_of_another_sort_are_left_out() -> None:
    items = [{"item": "phq9-1", "value": 2}, {"item": "phq9-2", "value": 987654321}]
    scale = {**VITAL, "scale": "phq9", "items": items}
    tree = {name: value for name, value in scale.items() if name not in ("sign", "readings")}
    record = given_record(made("assessment", tree))
    assert [(one.item, one.value.text) for one in record.items] == [("phq9-1", "2")]


def test_a_record_without_the_time_that_it_must_have_is_kept_back() -> None:
    assert made("session", {**SESSION, "started_at": "2026"}).reason == "time"
    assert made("vital_sign", VITAL, "safe-harbor", first_dose=None).reason == "incomplete"
    assert made("session", {**SESSION}, "safe-harbor", first_dose=None).record is not None


def test_an_end_that_came_to_lie_before_its_start_is_left_out() -> None:
    """A day and a moment on it, moved by less than a day."""
    tree = {**SESSION, "started_at": "2026-06-17", "ended_at": "2026-06-17T01:00:00-04:00"}
    late = dt.datetime.fromisoformat("2026-06-17T23:00:00-04:00")
    found = made("session", tree, "safe-harbor", first_dose=late)
    assert given_record(found).ended_at is None
    assert found.dropped["session.ended_at"] == 1


def test_safe_harbor_tells_one_year_and_no_other() -> None:
    """The year of a later event and its distance from the first dose would tell the season of the first dose."""
    dose = dt.datetime.fromisoformat("2025-11-30T09:00:00-05:00")
    tree = {**VITAL, "measured_at": "2026-01-20T09:30:00-05:00", "recorded_at": "2026-01-20T09:31:00-05:00"}
    record = given_record(made("vital_sign", tree, "safe-harbor", first_dose=dose))
    assert record.measured_at == "2025-02-21T12:30:00+00:00"


def test_residue_is_left_out_whole_and_counted_by_path() -> None:
    work = WORKS["shifted"]
    entries = [Entry("add", "extension[2].valueString", "Zaphod"), Entry("add", "extension[0].valueString", "Trillian")]
    found = work.record(parse(CASES["vital_sign"].kind.record, VITAL), work.person("P-1", first_dose=DOSE), entries)
    assert found.dropped["vital_sign residue: extension.valueString"] == 2


def test_a_kind_without_rules_is_kept_back() -> None:
    class Diary(Record):
        kind = "diary"

    work = WORKS["shifted"]
    found = work.record(parse(Diary, {"id": "1", "revision": 1, "patient": PATIENT}), work.person("P-1"))
    assert (found.record, found.reason) == (None, "kind")


def test_nothing_shows_in_a_repr() -> None:
    found = made("vital_sign", VITAL)
    work = WORKS["shifted"]
    for one in (found, work.person("P-1", birth_date="1950-01-01"), KEY, work.course(work.person("P-1"))):
        assert "P-1" not in repr(one)
        assert "1950" not in repr(one)
