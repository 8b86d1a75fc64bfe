"""Resources of other types: an allow-list by path, one clock and one set of names with the records."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.errors import ConfigError
from fhirbridge.fhir.json import Tree, dump
from fhirbridge.records import Session, parse
from fhirbridge.research.deidentify import Deidentifier, Profile, ProjectKey, ResourceDeidentifier, labels
from fhirbridge.research.deidentify.profile import SHIPPED

KEY = ProjectKey(b"a project key for tests, 32 byte", "TEST")
DOSE = dt.datetime.fromisoformat("2026-06-17T10:20:30-04:00")
PROFILES = {name: Profile.load(name) for name in SHIPPED}
SNOMED = "http://snomed.info/sct"
DEPRESSION = {"system": SNOMED, "code": "370143000", "display": "Major depression"}
CONDITION: Tree = {
    "resourceType": "Condition", "id": "c1", "subject": {"reference": "Patient/1"}, "code": {"coding": [DEPRESSION]},
    "onsetDateTime": "2026-01-05", "encounter": {"reference": "Encounter/e1"},
    "recorder": {"reference": "Practitioner/p"},
}  # fmt: skip
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["2026-01-05", "Patient/1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


def made(tree: Tree, name: str = "shifted", **known: Any) -> Any:
    work = Deidentifier(PROFILES[name], KEY, common=frozenset({(SNOMED, "370143000")}))
    person = work.person("P-1", **({"first_dose": DOSE} | known))
    return ResourceDeidentifier(work).resource(tree, person)


def test_what_is_named_is_told_and_everything_else_is_left_out_and_counted() -> None:
    found = made({**CONDITION, "note": [{"text": "Zaphod"}], "zaphod": 1, "text": {"div": "Zaphod"}, "_code": {}})
    work = Deidentifier(PROFILES["shifted"], KEY)
    person = work.person("P-1", first_dose=DOSE)
    names = work.course(person).names
    shared = names.shared("Practitioner", None, "Practitioner/p")
    assert found.resource == {
        "resourceType": "Condition",
        "id": names.once("Condition", "Condition/c1"),
        "meta": {"security": labels(work.profile)},
        "subject": {"reference": f"Patient/{person.pseudonym}"},
        "code": {"coding": [{"system": SNOMED, "code": "370143000"}]},
        "onsetDateTime": (dt.date(2026, 1, 5) + person.shift).isoformat(),
        "encounter": {"reference": f"Encounter/{names.own('Encounter', 'Encounter/e1')}"},
        "recorder": {"reference": f"Practitioner/{shared}"},
    }
    assert found.dropped == {
        "Condition.note": 1, "Condition.(other)": 2, "Condition.text": 1,
    }  # fmt: skip


def test_a_record_and_a_resource_call_the_same_thing_by_the_same_name() -> None:
    work = Deidentifier(PROFILES["shifted"], KEY)
    person = work.person("P-1", first_dose=DOSE)
    tree = {
        "id": "Procedure/s1", "revision": 1, "patient": {"type": "Patient", "literal": "Patient/1"}, "modality": "im",
        "status": "completed", "started_at": "2026-06-17T10:00:00-04:00",
        "administrations": [{"medication": "ketamine"}],
        "encounter": {"type": "Encounter", "literal": "Encounter/e1"},
    }  # fmt: skip
    session: Any = work.record(parse(Session, tree), person).record
    given_by = {"resourceType": "MedicationAdministration", "id": "m", "partOf": [{"reference": "Procedure/s1"}]}
    resources = ResourceDeidentifier(work)
    assert resources.resource(given_by, person).resource["partOf"] == [{"reference": f"Procedure/{session.id}"}]  # type: ignore[index]
    encounter = resources.resource(CONDITION, person).resource["encounter"]["reference"]  # type: ignore[index]
    assert encounter == f"Encounter/{session.encounter.identifier.value}"


@pytest.mark.parametrize(
    "modifier",
    [
        {"modifierExtension": [{"url": "https://x.example", "valueBoolean": True}]},
        {"implicitRules": "https://x.example"},
        {"stage": [{"modifierExtension": [{"url": "https://x.example"}]}]},
        {"contained": [{"resourceType": "Patient", "modifierExtension": [{"url": "https://x.example"}]}]},
    ],
)
def test_an_unknown_modifier_drops_the_resource(modifier: Tree) -> None:
    found = made(CONDITION | modifier)
    assert (found.resource, found.reason) == (None, "modifier")


@pytest.mark.parametrize("tree", [{"resourceType": "Media", "id": "1"}, {"id": "1"}, {"resourceType": ["Patient"]}])
def test_a_type_that_no_profile_names_is_dropped(tree: Tree) -> None:
    assert (made(tree).resource, made(tree).reason) == (None, "type")


def test_a_resource_without_an_id_is_malformed() -> None:
    assert made({"resourceType": "Condition"}).reason == "malformed"


@given(
    st.dictionaries(
        st.sampled_from([*CONDITION, "medicationReference", "dosage", "category", "birthDate", "address"]), json
    )
)
def test_no_shape_of_a_resource_makes_it_raise(tree: Tree) -> None:
    for type_ in ("Patient", "Condition", "MedicationStatement"):
        found = made({**tree, "resourceType": type_, "id": "1"})
        assert found.reason in ("", "modifier")
        dump(found.resource)


@pytest.mark.parametrize(
    ("name", "birth", "told"),
    [
        ("safe-harbor", "1950-05-06", "1950"),
        ("safe-harbor", "1936-12-31", None),
        ("shifted", "1937-01-01", "1937"),
        ("shifted", "1936", None),
        ("limited", "1930-05-06", "1930-05-06"),
    ],
)
def test_the_year_of_birth_is_told_up_to_89(name: str, birth: str, told: str | None) -> None:
    found = made({"resourceType": "Patient", "id": "1", "birthDate": birth}, name)
    assert found.resource.get("birthDate") == told


@pytest.mark.parametrize(
    ("name", "code", "told"),
    [("safe-harbor", "10115", "101"), ("safe-harbor", "03601", "000"), ("limited", "03601", "03601")],
)
def test_the_postcode_is_told_as_the_profile_says(name: str, code: str, told: str) -> None:
    address = [{"line": ["1 Main St"], "city": "Keene", "postalCode": code, "country": "US"}]
    found = made({"resourceType": "Patient", "id": "1", "address": address}, name)
    assert found.resource["address"] == [{"postalCode": told, "country": "US"}]


def test_a_postcode_of_another_country_is_not_told() -> None:
    address = [{"postalCode": "80331", "country": "DE"}]
    assert "address" not in made({"resourceType": "Patient", "id": "1", "address": address}).resource


@pytest.mark.parametrize(("name", "code"), [("safe-harbor", "DEID"), ("limited", "PSEUD"), ("shifted", "PSEUD")])
def test_the_label_says_what_was_done(name: str, code: str) -> None:
    (label,) = labels(PROFILES[name])
    assert (label["system"], label["code"]) == ("http://terminology.hl7.org/CodeSystem/v3-ActCode", code)
    assert made(CONDITION, name).resource["meta"]["security"] == [label]


def test_a_path_above_another_is_refused() -> None:
    profile = PROFILES["shifted"]
    rules = {
        **profile.resources,
        "Patient": {**profile.resources["Patient"], "address": profile.resources["Patient"]["gender"]},
    }
    ordered = {**rules, "Patient": dict(sorted(rules["Patient"].items()))}
    with pytest.raises(ConfigError, match="has a rule already"):
        ResourceDeidentifier(Deidentifier(dataclasses.replace(profile, resources=ordered), KEY))
