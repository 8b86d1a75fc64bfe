"""The adverse-event record: what it fills in and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from fhirbridge.errors import RecordRefused
from fhirbridge.records import AdverseEvent, parse

BASE: dict[str, Any] = {
    "id": "AE-1",
    "revision": 1,
    "patient": {"identifier": {"value": "P-1"}},
    "record_status": "completed",
    "actuality": "actual",
    "verbatim": "nausea",
}
PATIENT = {"type": "Patient", "identifier": {"value": "P-1"}}
NURSE = {"type": "Practitioner", "identifier": {"value": "RN-7"}}


@pytest.mark.parametrize(
    ("grade", "severity"), [(1, "mild"), (2, "moderate"), (3, "severe"), (4, "severe"), (5, "severe")]
)
@pytest.mark.parametrize("where", ["grade", "ctcae"])
def test_severity_follows_from_the_grade(grade: int, severity: str, where: str) -> None:
    given = {"grade": grade} if where == "grade" else {"ctcae": {"grade": grade}}
    assert parse(AdverseEvent, BASE | given).severity == severity


def test_a_severity_that_was_given_stands_and_no_grade_follows_from_it() -> None:
    record = parse(AdverseEvent, BASE | {"severity": "severe"})
    assert (record.severity, record.grade) == ("severe", None)
    assert parse(AdverseEvent, BASE | {"severity": "mild", "grade": 2}).severity == "mild"


def test_words_that_only_repeat_the_action_are_left_out() -> None:
    (action,) = parse(AdverseEvent, BASE | {"actions": [{"taken": "dose_reduced", "text": "dose reduced"}]}).actions
    assert (action.taken, action.text) == ("dose_reduced", None)


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        ({"onset": "2026-11-21", "resolved_at": "2026-11-20"}, "record.period_order"),
        ({"seriousness_criteria": ["death"]}, "record.seriousness"),
        ({"serious": True, "seriousness_criteria": ["death"], "criteria_ruled_out": ["death"]}, "record.repeated"),
        ({"special_interest": ["sedation", "sedation"]}, "record.repeated"),
        ({"suspects": [{"drug": {"text": "a"}}, {"drug": {"text": "a"}}]}, "record.repeated"),
        ({"suspects": [{"drug": {"text": "a"}, "instance": {"display": "b"}}]}, "record.one_of"),
        ({"suspects": [{"drug": {"text": "a"}, "causality": [{}]}]}, "record.empty"),
        ({"suspects": [{"drug": {"text": "a"}, "causality": [{"assessment": {"text": "so"}}]}]}, "record.one_of"),
        ({"grade": 2, "ctcae": {"grade": 3}}, "record.grade"),
        ({"contributors": [PATIENT]}, "record.target"),
        ({"participants": [{"actor": NURSE}]}, "record.function"),
        ({"resulting_conditions": [{"type": "Observation", "display": "x"}]}, "record.target"),
        ({"resulting_findings": [{"literal": "Condition/1"}]}, "record.target"),
        ({"meddra": {}}, "record.empty"),
        ({"regulatory_reports": [{}]}, "record.empty"),
        ({"actions": [{"text": "waited"}]}, "record.one_of"),
        ({"onset_offset": {"value": 5, "unit": "mg"}}, "record.unit"),
        ({"onset": "2026-11-20T10:41:00"}, "record.naive_time"),
        ({"severity": "awful"}, "record.unknown_word"),
    ],
)
def test_a_record_that_does_not_hold_together_is_refused(edit: dict[str, Any], code: str) -> None:
    with pytest.raises(RecordRefused) as caught:
        parse(AdverseEvent, BASE | edit)
    assert code in {fault.code for fault in caught.value.faults}
