"""A small clinic to deliver: resources with the marks that every delivery carries, and their patients."""

from __future__ import annotations

from fhirbridge.fhir.json import Tree

SID = "https://clinic.example/sid"
TAGS = "https://fhirbridge.example/fhir/CodeSystem"


def patient(number: int) -> Tree:
    """A patient as the hospital has it."""
    return {
        "resourceType": "Patient",
        "id": f"p{number}",
        "active": True,
        "identifier": [{"system": f"{SID}/patient", "value": f"P-{number}"}],
        "birthDate": "1980-01-01",
    }


def observation(number: int, patient_number: int, revision: int = 1, *, status: str = "final") -> Tree:
    """A vital sign of a patient; the same number is the same record."""
    return {
        "resourceType": "Observation",
        "id": f"f{number:032x}",
        "meta": {
            "tag": [
                {"system": f"{TAGS}/record-key", "code": f"V-{number}"},
                {"system": f"{TAGS}/revision", "code": str(revision)},
            ]
        },
        "identifier": [{"system": f"{SID}/vital-sign", "value": f"V-{number}"}],
        "status": status,
        "subject": {
            "reference": f"Patient/p{patient_number}",
            "identifier": {"system": f"{SID}/patient", "value": f"P-{patient_number}"},
        },
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        "effectiveDateTime": f"2026-01-01T10:{number % 60:02}:00Z",
        "valueQuantity": {"value": 60 + revision, "unit": "/min"},
    }
