"""``adverse_events``: one row for each adverse event or near miss."""

from __future__ import annotations

from typing import Any

from fhirbridge.records import AdverseEvent, Coding
from fhirbridge.records.adverse_event import (
    ActionTaken,
    CausalityAssessment,
    EventOutcome,
    EventStatus,
    EventTerm,
    Expectedness,
    Relatedness,
    SeriousnessCriterion,
    Severity,
    SpecialInterest,
)
from fhirbridge.records.base import Ref
from fhirbridge.research.columns import Column, TableShape, words_of
from fhirbridge.research.tables import common
from fhirbridge.research.tables.seen import Seen
from fhirbridge.research.tables.values import coding_of, minutes, moment, name_in, seconds, span, word

_CRITERIA = words_of(SeriousnessCriterion)
_INTERESTS = words_of(SpecialInterest)


def _code(name: str, meaning: str, *source: str, words: tuple[str, ...] | None = None) -> Column:
    return Column(name, meaning, "code", source, vocabulary=words)


SHAPE = TableShape(
    "adverse_events",
    "One row for each adverse event or near miss",
    (
        common.PATIENT,
        Column("event", "The event", "pseudonym", ("id",)),
        Column("session", "The session that is suspected, the first where there are several", "pseudonym",
               ("suspects[].instance",)),
        _code("actuality", "Happened, or a near miss", "actuality", words=("actual", "potential")),
        _code("record_status", "Where the record stands", "record_status",
              words=words_of(EventStatus, without=common.VOID)),
        _code("term", "The clinic's word for the event", "term", words=words_of(EventTerm)),
        _code("code", "First further code", "codings[0].code"),
        _code("code_system", "Code system of that code", "codings[0].system"),
        _code("meddra_version", "MedDRA version", "meddra.version"),
        _code("meddra_llt", "MedDRA lowest level term, code", "meddra.llt.code"),
        _code("meddra_pt", "MedDRA preferred term, code", "meddra.pt.code"),
        _code("meddra_soc", "MedDRA system organ class, code", "meddra.soc.code"),
        _code("ctcae_version", "CTCAE version", "ctcae.version"),
        _code("ctcae_code", "CTCAE term, code", "ctcae.term.codings[0].code"),
        Column("grade", "CTCAE grade, 1 to 5", "integer", ("grade", "ctcae.grade")),
        _code("severity", "Severity", "severity", words=words_of(Severity)),
        Column("serious", "Serious in the regulatory sense", "boolean", ("serious",)),
        *(
            Column(f"serious_{one}", f"Serious by: {one.replace('_', ' ')}", "boolean",
                   (f"seriousness_criteria[{one}]",), computed=True)
            for one in _CRITERIA
        ),
        _code("outcome", "How it ended", "outcome", words=words_of(EventOutcome, open_=True)),
        Column("onset", "When it began, shifted; a day alone is its beginning", "shifted-time", ("onset",)),
        Column("resolved_at", "When it was over, shifted", "shifted-time", ("resolved_at",)),
        Column("onset_minute", "Minutes from the dose to the onset, as recorded", "offset", ("onset_offset",), "min"),
        Column("minutes_from_dose", "Minutes from the dose of its session to the onset, by the clock", "offset",
               ("onset", "suspects[].instance"), "min", computed=True),
        Column("minutes_from_first_dose", "Minutes from the patient's first dose to the onset", "offset", ("onset",),
               "min", computed=True),
        Column("days_from_first_dose", "Days from the day of the patient's first dose to the onset", "offset",
               ("onset",), "d", computed=True),
        Column("duration", "Minutes from the onset to the end", "offset", ("onset", "resolved_at"), "min",
               computed=True),
        _code("causality", "WHO-UMC category of the first assessment", "suspects[0].causality[0].assessment",
              words=words_of(CausalityAssessment, open_=True)),
        _code("relatedness", "Relatedness of the first assessment", "suspects[0].causality[0].relatedness",
              words=words_of(Relatedness)),
        _code("action_taken", "What was done with the drug, the first where there are several", "actions[].taken",
              words=words_of(ActionTaken)),
        _code("expectedness", "Expected or not", "expectedness.value", words=words_of(Expectedness, open_=True)),
        Column("discontinued_study", "Whether it ended the patient's part in the study", "boolean",
               ("discontinued_study",)),
        *(
            Column(f"interest_{one}", f"Of special interest (REMS): {one.replace('_', ' ')}", "boolean",
                   (f"special_interest[{one}]",), computed=True)
            for one in _INTERESTS
        ),
    ),
    ("patient", "event"),
)  # fmt: skip


def row(record: AdverseEvent, seen: Seen) -> tuple[Any, ...]:
    """The row of a de-identified event."""
    session, onset = name_in(_session(record)), record.onset
    first = record.codings[0] if record.codings else None
    meddra, ctcae = record.meddra, record.ctcae
    term = None if ctcae is None else coding_of(ctcae.term)
    causality = next((one for suspect in record.suspects for one in suspect.causality), None)
    taken = next((one.taken for one in record.actions if one.taken is not None), None)
    grade = record.grade if record.grade is not None or ctcae is None else ctcae.grade
    return (
        seen.patient,
        record.id,
        session,
        record.actuality,
        record.record_status,
        record.term,
        None if first is None else first.code,
        None if first is None else first.system,
        None if meddra is None else meddra.version,
        *(None if meddra is None else _own(one) for one in (
            (None, None, None) if meddra is None else (meddra.llt, meddra.pt, meddra.soc)
        )),
        None if ctcae is None else ctcae.version,
        None if term is None else term.code,
        grade,
        record.severity,
        record.serious,
        *(one in record.seriousness_criteria for one in _CRITERIA),
        word(record.outcome),
        moment(onset),
        moment(record.resolved_at),
        minutes(record.onset_offset),
        seen.from_dose(session, onset),
        seen.from_first_dose(onset),
        seen.days_from_first_dose(onset),
        span(seconds(onset), seconds(record.resolved_at)),
        None if causality is None else word(causality.assessment),
        None if causality is None else causality.relatedness,
        taken,
        None if record.expectedness is None else word(record.expectedness.value),
        record.discontinued_study,
        *(one in record.special_interest for one in _INTERESTS),
    )  # fmt: skip


def _session(record: AdverseEvent) -> Ref | None:
    instances = (one.instance for one in record.suspects)
    return next((one for one in instances if one is not None and one.points_to("Procedure")), None)


def _own(coding: Coding | None) -> str | None:
    return None if coding is None else coding.code
