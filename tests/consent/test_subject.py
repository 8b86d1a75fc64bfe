"""What a resource is to a consent: its labels, codes, times and names."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from fhirbridge.consent import LabelRule, Policies, labels_of, subject_of
from fhirbridge.consent.labels import WORDS
from fhirbridge.mapping import Mappings
from fhirbridge.records import parse
from fhirbridge.records.consent import Label
from mappings import terms
from tests.kinds import BINDINGS, CASES, KINDS
from tests.laws.trees import broken
from tests.mappings.examples import BLOOD_PRESSURE, SESSION

MAPPINGS = {name: Mappings(BINDINGS[f"{name}-plain"], KINDS) for name in ("r4", "r5")}
releases = pytest.mark.parametrize("release", sorted(MAPPINGS))


def resource(release: str, kind: str, tree: dict[str, Any]) -> dict[str, Any]:
    return MAPPINGS[release].to_fhir(parse(KINDS[kind].record, tree)).parts[0].resource


def test_the_words_and_codes_of_labels_are_those_of_the_mappings() -> None:
    """Two tables that must not drift apart: the decision may not import the mappings."""
    table = {**terms.CONFIDENTIALITY_LABEL.table, **terms.SENSITIVITY.table, "psychiatry": terms.PSYCHIATRY}
    assert {coded.code: word for word, coded in table.items()} == WORDS
    assert set(WORDS.values()) == set(Label.__args__)  # type: ignore[attr-defined]


@releases
def test_a_session_says_when_what_and_whose_it_is(release: str) -> None:
    plain = {"administrations": [{"medication": "ketamine"}], "sensitivity": ["substance_use"]}
    written = resource(release, "session", SESSION | plain)
    one = subject_of(written, "session")
    assert (one.resource_type, one.labels) == ("Procedure", {"restricted", "psychiatry", "substance_use"})
    assert (one.start, one.end) == ("2026-11-20T10:00:00-05:00", "2026-11-20T12:05:00-05:00")
    assert ("http://snomed.info/sct", "422587007") in one.codes
    own = {(ref.type, ref.identifier.value if ref.identifier else ref.literal) for ref in one.own}
    assert own == {("Procedure", "6f2c1d0e"), ("Procedure", f"Procedure/{written['id']}")}
    assert "E-55" in {ref.identifier.value for ref in one.related if ref.identifier}
    assert {ref.identifier.value for ref in one.authors if ref.identifier} >= {"MD-2"}


@releases
def test_a_vital_sign_is_of_a_moment_and_refers_to_its_session(release: str) -> None:
    one = subject_of(resource(release, "vital_sign", BLOOD_PRESSURE), "vital_sign")
    assert (one.start, one.end) == ("2026-11-20T10:41:00-05:00", None)
    assert ("http://loinc.org", "85354-9") in one.codes
    assert "6f2c1d0e" in {ref.identifier.value for ref in one.related if ref.identifier}


def test_labels_come_of_meta_and_of_rules_over_kinds_and_codes() -> None:
    rules = (
        LabelRule("substance_use", codes=frozenset({("http://snomed.info/sct", "66590003")})),
        LabelRule("psychotherapy_notes", frozenset({"therapy_note"})),
        LabelRule("MH", frozenset({"session"})),
    )
    coded = {"code": {"coding": [{"system": "http://snomed.info/sct", "code": "66590003"}]}}
    assert labels_of(coded, "condition", rules) == {"substance_use"}
    assert labels_of({}, "therapy_note", rules) == {"psychotherapy_notes"}
    assert labels_of({("http://snomed.info/sct", "66590003")}, "session", rules) == {"substance_use", "mental_health"}
    meta = {"security": [{"system": terms.ACT_CODE, "code": "ETHUD"}, {"system": "https://x.example", "code": "a"}]}
    assert labels_of({"meta": meta}, "session") == {"ETHUD", "https://x.example|a"}


def test_codes_of_tags_and_labels_are_not_codes_of_the_content() -> None:
    tagged = {"meta": {"tag": [{"system": "s", "code": "c"}]}, "code": {"coding": [{"system": "s", "code": "d"}]}}
    assert subject_of(tagged, "session").codes == {("s", "d")}


def test_a_document_has_its_type_and_a_period_without_an_end_goes_on() -> None:
    document = {
        "resourceType": "DocumentReference",
        "type": {"coding": [{"system": "http://loinc.org", "code": "51851-4"}]},
    }
    assert subject_of(document, "document").document_types == {("http://loinc.org", "51851-4")}
    open_ended = {"resourceType": "Procedure", "performedPeriod": {"start": "2026-01-01"}}
    assert (subject_of(open_ended, "session").start, subject_of(open_ended, "session").end) == ("2026-01-01", "9999")


@given(CASES["session"].trees.flatmap(lambda tree: broken(resource("r4", "session", tree))))
def test_whatever_is_broken_counts_as_not_known(tree: Any) -> None:
    """It never crashes: what is malformed is refused elsewhere, and must not stop the decision."""
    subject_of(tree, "session", Policies(labels=(LabelRule("substance_use", codes=frozenset({("a", "b")})),)))
