"""A null is no FHIR. Where a rule carries what it stands for, it is refused with its path, and never dropped."""

from __future__ import annotations

import pytest

from fhirbridge.errors import ResourceRefused
from fhirbridge.mapping import Mappings
from tests.kinds import BINDINGS


@pytest.mark.parametrize("release", ["r4-plain", "r5-us"])
def test_a_null_in_the_only_coding_of_a_concept_is_refused(release: str) -> None:
    """Once taken for another coding: the two entries of the residue did not fit together, and the member was gone."""
    concept = {"coding": [{"system": "http://snomed.info/sct", "code": None, "display": "Psychiatry service"}]}
    when = "occurrencePeriod" if release.startswith("r5") else "performedPeriod"
    resource = {
        "resourceType": "Procedure",
        "id": "p1",
        "status": "completed",
        "subject": {"reference": "Patient/1"},
        "code": {"text": "Ketamine infusion"},
        when: {"start": "2026-01-02T10:00:00-05:00"},
        "category": [concept] if release.startswith("r5") else concept,
    }
    with pytest.raises(ResourceRefused) as caught:
        Mappings(BINDINGS[release]).from_fhir(resource)
    assert any(fault.path.endswith("coding[0].code") for fault in caught.value.faults), caught.value.faults
