"""``sessions``: one row for each treatment session; ``administrations``: one for each drug given in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fhirbridge.records import Session
from fhirbridge.records.plausible import RANGES
from fhirbridge.records.session import (
    AdministrationStatus,
    Drug,
    Indication,
    Modality,
    Phase,
    Route,
    SessionOutcome,
    SessionStatus,
)
from fhirbridge.research.columns import Column, TableShape, words_of
from fhirbridge.research.tables import common
from fhirbridge.research.tables.seen import Seen, dose_text
from fhirbridge.research.tables.values import in_unit, kilograms, milligrams, minutes, moment, seconds, span, word

_CLASSES = ("benzodiazepine", "non_benzo_sedative_hypnotic", "opioid", "psychostimulant", "maoi")
_OWN = Column("session", "The session", "pseudonym", ("id",))
_NUMBER = Column("session_number", "Number within its series", "integer", ("session_number",))


def _taking(name: str) -> Column:
    source = (f"concomitant_medications[medication_class={name}].taking",)
    return Column(f"takes_{name}", f"Whether the patient takes a {name.replace('_', ' ')}", "boolean", source)


SHAPE = TableShape(
    "sessions",
    "One row for each treatment session, those that were missed included",
    (
        common.PATIENT,
        _OWN,
        _NUMBER,
        Column("modality", "Kind of session", "code", ("modality",), vocabulary=words_of(Modality), quasi=True),
        Column(
            "status",
            "Where the session stands",
            "code",
            ("status",),
            vocabulary=words_of(SessionStatus, without=common.VOID),
        ),
        Column(
            "phase", "Phase of treatment", "code", ("series.phase",), vocabulary=words_of(Phase, open_=True)
        ),
        Column("planned_sessions", "Number of sessions planned", "integer", ("series.planned_sessions",)),
        Column(
            "indication",
            "Why, the first where there are several",
            "code",
            ("indications[0]",),
            vocabulary=words_of(Indication, open_=True),
        ),
        Column("started_at", "Start of the visit, shifted", "shifted-time", ("started_at",)),
        Column(
            "dose_at",
            "When the first drug of the session was given, shifted",
            "shifted-time",
            ("administrations[].period.start",),
            computed=True,
        ),
        Column(
            "minutes_from_first_dose",
            "Minutes from the patient's first dose to the dose of this session",
            "offset",
            ("administrations[].period.start",),
            "min",
            computed=True,
        ),
        Column(
            "days_from_first_dose",
            "Days from the day of the patient's first dose to the day of this session",
            "offset",
            ("started_at",),
            "d",
            computed=True,
        ),
        Column("duration", "Length of the visit", "offset", ("started_at", "ended_at"), "min", computed=True),
        Column("monitoring", "Length of the monitoring", "offset", ("monitoring",), "min", computed=True),
        Column("administrations", "How often a drug was given", "integer", ("administrations",), computed=True),
        Column(
            "total_dose", "All doses together, where all are known", "number", ("administrations[].dose",), "mg",
            computed=True,
        ),
        Column(
            "outcome", "How it went", "code", ("outcome",), vocabulary=words_of(SessionOutcome, open_=True)
        ),
        Column("ready_to_leave", "Whether the patient was ready to leave", "boolean", ("discharge.ready",)),
        Column(
            "minutes_to_ready", "Time from the dose until ready", "offset", ("discharge.minutes_to_ready",), "min"
        ),
        Column("escort_present", "Whether an escort was there", "boolean", ("discharge.escort_present",)),
        Column("rems_enrolled", "Whether the patient is enrolled in a REMS", "boolean", ("rems.enrolled",)),
        Column(
            "rems_first_treatment", "Whether it is the first treatment in the REMS", "boolean",
            ("rems.first_treatment",),
        ),
        *(_taking(name) for name in _CLASSES),
        Column(
            "vitals_acceptable_before", "Vital signs acceptable before the dose (REMS form)", "boolean",
            ("vitals_acceptable.pre_administration",),
        ),
        Column(
            "vitals_acceptable_after", "Vital signs acceptable before leaving (REMS form)", "boolean",
            ("vitals_acceptable.pre_completion",),
        ),
        Column(
            "kap_phase", "Part of an assisted psychotherapy", "code", ("kap.phase",),
            vocabulary=("preparation", "dosing", "integration"),
        ),
    ),
    ("patient", "session"),
)  # fmt: skip

ADMINISTRATIONS = TableShape(
    "administrations",
    "One row for each drug given once at one rate",
    (
        common.PATIENT,
        Column("session", "The session", "pseudonym", ("id",)),
        Column(
            "number", "Its place in the session, from 1", "integer", ("administrations",), computed=True
        ),
        Column(
            "medication", "Drug given", "code", ("administrations[].medication",),
            vocabulary=words_of(Drug, open_=True),
        ),
        Column("route", "Route", "code", ("administrations[].route",), vocabulary=words_of(Route, open_=True)),
        Column("dose", "Dose given", "number", ("administrations[].dose",), "mg"),
        Column("dose_per_weight", "Dose by weight", "number", ("administrations[].dose_per_weight",), "mg/kg"),
        Column("dosing_weight", "Weight it was calculated with", "number", ("administrations[].dosing_weight",), "kg"),
        Column(
            "dosing_weight_kind", "Kind of that weight", "code", ("administrations[].dosing_weight_kind",),
            vocabulary=("actual", "ideal", "adjusted"),
        ),
        Column("rate", "Rate of the infusion", "number", ("administrations[].rate.value",)),
        Column(
            "rate_unit", "UCUM unit of the rate", "code", ("administrations[].rate.unit",),
            vocabulary=tuple(RANGES["rate"]),
        ),
        Column("started_at", "Start, shifted", "shifted-time", ("administrations[].period.start",)),
        Column(
            "minutes_from_first_dose", "Minutes from the patient's first dose to the start", "offset",
            ("administrations[].period.start",), "min", computed=True,
        ),
        Column("duration", "Length", "offset", ("administrations[].period",), "min", computed=True),
        Column("concentration", "Concentration", "number", ("administrations[].concentration",), "mg/mL"),
        Column("volume", "Volume given", "number", ("administrations[].volume",), "mL"),
        Column("device_count", "Number of nasal devices", "integer", ("administrations[].device_count",)),
        Column(
            "self_administered", "Whether the patient gave it to themselves", "boolean",
            ("administrations[].self_administered",),
        ),
        Column(
            "status", "Status, where it is not the session's", "code", ("administrations[].status",),
            vocabulary=words_of(AdministrationStatus, without=common.VOID),
        ),
    ),
    ("patient", "session", "number"),
)  # fmt: skip


def row(record: Session, seen: Seen) -> tuple[Any, ...]:
    """The row of a de-identified session."""
    series, discharge, rems = record.series, record.discharge, record.rems
    acceptable, watched, dose = record.vitals_acceptable, record.monitoring, dose_text(record)
    taking = {word(one.medication_class): one.taking for one in record.concomitant_medications}
    given = _given(record)
    doses = [milligrams(one.dose) for one in given]
    known = [dose for dose in doses if dose is not None]
    return (
        seen.patient,
        record.id,
        record.session_number,
        record.modality,
        record.status,
        None if series is None else word(series.phase),
        None if series is None else series.planned_sessions,
        word(record.indications[0]) if record.indications else None,
        moment(record.started_at),
        moment(dose),
        seen.from_first_dose(dose),
        seen.days_from_first_dose(record.started_at),
        span(seconds(record.started_at), seconds(record.ended_at)),
        None if watched is None else span(seconds(watched.start), seconds(watched.end)),
        len(given),
        round(sum(known), 6) if known and len(known) == len(doses) else None,
        word(record.outcome),
        None if discharge is None else discharge.ready,
        None if discharge is None else minutes(discharge.minutes_to_ready),
        None if discharge is None else discharge.escort_present,
        None if rems is None else rems.enrolled,
        None if rems is None else rems.first_treatment,
        *(taking.get(name) for name in _CLASSES),
        None if acceptable is None else acceptable.pre_administration,
        None if acceptable is None else acceptable.pre_completion,
        None if record.kap is None else record.kap.phase,
    )


def administrations(record: Session, seen: Seen) -> Iterator[tuple[Any, ...]]:
    """The rows of a session's administrations; those recorded in error have none."""
    for number, one in enumerate(record.administrations, start=1):
        if one.status == "entered_in_error":
            continue
        period, start = one.period, None if one.period is None else one.period.start
        yield (
            seen.patient,
            record.id,
            number,
            word(one.medication),
            word(one.route),
            milligrams(one.dose),
            in_unit(one.dose_per_weight, "mg/kg"),
            kilograms(one.dosing_weight),
            one.dosing_weight_kind,
            None if one.rate is None else float(one.rate.value.text),
            None if one.rate is None else one.rate.unit,
            moment(start),
            seen.from_first_dose(start),
            None if period is None else span(seconds(start), seconds(period.end)),
            in_unit(one.concentration, "mg/mL"),
            in_unit(one.volume, "mL"),
            one.device_count,
            one.self_administered,
            one.status,
        )


def _given(record: Session) -> list[Any]:
    return [one for one in record.administrations if one.status not in ("not_done", "entered_in_error")]
