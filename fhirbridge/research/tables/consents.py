"""``consents``: one row for each consent of a patient in the dataset."""

from __future__ import annotations

from typing import Any

from fhirbridge.records import Consent
from fhirbridge.records.consent import ConsentState, ConsentType
from fhirbridge.research.columns import Column, TableShape, words_of
from fhirbridge.research.tables import common
from fhirbridge.research.tables.seen import Seen
from fhirbridge.research.tables.values import moment

SHAPE = TableShape(
    "consents",
    "One row for each consent, given or refused, that may itself be used",
    (
        common.PATIENT,
        Column("consent", "The consent", "pseudonym", ("id",)),
        Column("consent_type", "What it is about", "code", ("consent_type",), vocabulary=words_of(ConsentType)),
        Column(
            "state",
            "Where it stands",
            "code",
            ("state",),
            vocabulary=words_of(ConsentState, without=common.VOID),
        ),
        Column("decision", "What holds where no rule applies", "code", ("decision",), vocabulary=("permit", "deny")),
        Column(
            "signed_at", "When it was signed, shifted; a day alone is its beginning", "shifted-time", ("signed_at",)
        ),
        Column(
            "days_from_first_dose",
            "Days from the day of the patient's first dose to the signature",
            "offset",
            ("signed_at",),
            "d",
            computed=True,
        ),
        Column("withdrawn_at", "When it was withdrawn, shifted", "shifted-time", ("withdrawal.at",)),
        Column(
            "withdrawn_days",
            "Days from the day of the patient's first dose to the withdrawal",
            "offset",
            ("withdrawal.at",),
            "d",
            computed=True,
        ),
        Column(
            "withdrawal_scope",
            "What was withdrawn",
            "code",
            ("withdrawal.scope",),
            vocabulary=("all", "future_sharing", "research"),
        ),
        Column(
            "withdrawal_data_handling",
            "What is to happen to data already shared",
            "code",
            ("withdrawal.data_handling",),
            vocabulary=("keep", "retract", "delete", "notify"),
        ),
    ),
    ("patient", "consent"),
)


def row(record: Consent, seen: Seen) -> tuple[Any, ...]:
    """The row of a de-identified consent."""
    over = record.withdrawal
    return (
        seen.patient,
        record.id,
        record.consent_type,
        record.state,
        record.decision,
        moment(record.signed_at),
        seen.days_from_first_dose(record.signed_at),
        None if over is None else moment(over.at),
        None if over is None else seen.days_from_first_dose(over.at),
        None if over is None else over.scope,
        None if over is None else over.data_handling,
    )
