"""Whose a resource is, is read out of what strangers write: what names nobody is nobody, and ends nothing."""

from __future__ import annotations

from typing import Any

import pytest

from fhirbridge.sync.resolve import patient_of


@pytest.mark.parametrize(
    "reference",
    [
        {"identifier": {"value": " "}},
        {"identifier": {"value": "a\x00b"}},
        {"identifier": {"value": "P-1", "system": "no uri"}},
        {"reference": ""},
        {"reference": "Patient 1"},
    ],
)
def test_a_name_that_no_record_can_hold_is_nobodys(reference: dict[str, Any]) -> None:
    assert patient_of({"resourceType": "Observation", "subject": reference}) is None


def test_the_subject_is_named_by_its_identifier_else_by_its_address() -> None:
    both = {"identifier": {"system": "urn:x", "value": "P-1"}, "reference": "Patient/1"}
    named = patient_of({"subject": both})
    assert named is not None
    assert named.identifier is not None
    assert (named.identifier.system, named.identifier.value, named.literal) == ("urn:x", "P-1", None)
    addressed = patient_of({"patient": {"reference": "Patient/1"}})
    assert addressed is not None
    assert addressed.literal == "Patient/1"
