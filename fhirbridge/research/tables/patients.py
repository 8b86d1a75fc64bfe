"""``patients``: one row for each patient of whom anything is in the dataset."""

from __future__ import annotations

from typing import Any

from fhirbridge.research.columns import Column, TableShape
from fhirbridge.research.deidentify.demographics import DemographicRow

SHAPE = TableShape(
    "patients",
    "One row for each patient of whom anything is in the dataset",
    (
        Column("patient", "The patient", "pseudonym", ("Patient.identifier",)),
        Column(
            "sex", "Administrative gender", "code", ("Patient.gender",),
            vocabulary=("female", "male", "other", "unknown"), quasi=True,
        ),
        Column(
            "birth_year", "Year of birth, where the profile tells it; never of anybody over 89", "year",
            ("Patient.birthDate",), quasi=True,
        ),
        Column(
            "age", "Age at the first dose, as a difference of calendar years; none over 89", "integer",
            ("Patient.birthDate",), "a", computed=True,
        ),
        Column("age_band", "Age at the first dose, in bands", "band", ("Patient.birthDate",), "a", quasi=True,
               computed=True),
        Column(
            "postcode", "First digits of the postcode, as many as the profile tells; 000 where few people live", "band",
            ("Patient.address.postalCode",), quasi=True,
        ),
        Column("deceased", "Whether the patient is known to have died", "boolean", ("Patient.deceased",)),
        Column(
            "first_dose_year", "Year of the first dose, where the profile tells it", "year",
            ("administrations[].period.start",), computed=True,
        ),
        Column("sessions", "Sessions in the dataset", "integer", ("sessions",), computed=True),
        Column("sessions_given", "Those in which a drug was given", "integer", ("sessions",), computed=True),
    ),
    ("patient",),
)  # fmt: skip


def row(told: DemographicRow, first_dose_year: int | None, *, known: bool) -> tuple[Any, ...]:
    """What is told of a patient, but for the counts, which come from the other tables.

    ``known``: there is a chart that may be used; without one nobody knows whether the patient has died.
    """
    return (
        told.patient,
        told.sex,
        told.birth_year,
        told.age,
        told.band,
        told.postcode,
        told.deceased if known else None,
        first_dose_year,
    )
