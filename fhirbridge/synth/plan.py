"""The whole course of one patient, drawn before any record is written: who, what, when, and how it works."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from fhirbridge.synth.chance import Chance
from fhirbridge.synth.clock import Day
from fhirbridge.synth.course import Body, Course, draw_body, draw_course
from fhirbridge.synth.options import Options
from fhirbridge.synth.people import Directory, patient_number

SECOND_ZONE = "America/Los_Angeles"
# Mondays; the first visits fall into the eighteen months from here.
_FIRST_WEEK = dt.date(2025, 1, 6).toordinal()
_WEEKS = 74

Site = Literal["main", "second"]
Interruption = Literal["", "slowed", "stopped"]
Answer = Literal["remitter", "responder", "partial", "non_responder"]

_MODALITIES = (
    ("iv_infusion", 0.60), ("esketamine_intranasal", 0.14), ("im", 0.06), ("kap", 0.05), ("sc", 0.03),
    ("iv_push", 0.03), ("intranasal", 0.03), ("sublingual", 0.03), ("oral", 0.02), ("other", 0.01),
)  # fmt: skip
_INDICATIONS = (
    ("major_depression_recurrent", 0.34), ("major_depression", 0.18), ("major_depression_single_episode", 0.08),
    ("ptsd", 0.14), ("complex_ptsd", 0.03), ("bipolar_depression", 0.06), ("generalized_anxiety", 0.05),
    ("anxiety_disorder", 0.02), ("ocd", 0.03), ("chronic_pain", 0.04), ("chronic_pain_syndrome", 0.01),
    ("suicidal_thoughts", 0.02),
)  # fmt: skip
# The label of esketamine knows depression only.
_ESKETAMINE_INDICATIONS = (("major_depression_recurrent", 0.6), ("major_depression", 0.3), ("suicidal_thoughts", 0.1))
_ANSWERS: tuple[tuple[Answer, float], ...] = (
    ("remitter", 0.33), ("responder", 0.27), ("partial", 0.15), ("non_responder", 0.25),
)  # fmt: skip
# Share of the symptoms that goes in the long run.
RELIEF: dict[Answer, float] = {"remitter": 0.92, "responder": 0.74, "partial": 0.34, "non_responder": 0.03}
_HALF_RELIEF_DAYS = 4
_MISSED = ("no_show", "cancelled", "not_done")
_RHYTHMS = ((0, (3, 4)), (1, (3, 4)), (2, (2, 5)))


@dataclass(frozen=True, slots=True)
class Visit:
    """One planned treatment. ``dose_minute`` counts from midnight; a missed visit has no course."""

    index: int
    number: int
    phase: str
    day: Day
    dose_minute: int
    site: Site
    status: str
    interruption: Interruption
    per_kg_hundredths: int
    session: str
    encounter: str
    nurse: str
    physician: str
    course: Course | None

    @property
    def first(self) -> bool:
        """Whether it is the first treatment of the series."""
        return self.number == 1


@dataclass(frozen=True, slots=True)
class Plan:
    """One patient's course: weight in tenths of a kilogram, height in centimetres, burden (0 to 1) before treatment.

    ``directory`` makes the references that the patient's records need.
    """

    directory: Directory
    index: int
    patient: dict[str, Any]
    modality: str
    indication: str
    answer: Answer
    burden: float
    suicidal: bool
    body: Body
    weight_tenths: int
    height_cm: int
    short_dissociation_scale: bool
    guardian: str
    intake: Day
    home: Site
    series: str
    planned_sessions: int
    visits: tuple[Visit, ...]

    @property
    def number(self) -> str:
        """The clinic's number of the patient."""
        return patient_number(self.index)

    def burden_on(self, ordinal: int) -> float:
        """Expected burden of symptoms (0 to 1) on this day: it falls from the first treatment on by what the patient
        responds, half of that after four days."""
        given = next((visit.day.ordinal for visit in self.visits if visit.course is not None), None)
        if given is None or ordinal <= given:
            return self.burden
        days = ordinal - given
        return self.burden * (1 - RELIEF[self.answer] * days / (days + _HALF_RELIEF_DAYS))


def draw_plan(options: Options, index: int) -> Plan:
    """The plan of the patient with this index; it depends on the seed, the index and the kind of clinic alone."""
    chance, directory = Chance(options.seed, index, "plan"), Directory(options.domain)
    modality = chance.weighted(_MODALITIES)
    answer = chance.weighted(_ANSWERS)
    body = draw_body(chance)
    monday = _FIRST_WEEK + 7 * chance.below(_WEEKS)
    second = chance.happens(0.12)
    intake = Day(monday - 3 - chance.below(3), SECOND_ZONE if second else options.zone)
    indication = chance.weighted(_ESKETAMINE_INDICATIONS if modality == "esketamine_intranasal" else _INDICATIONS)
    # The label of esketamine asks for eight sessions in four weeks, ketamine clinics for six in three.
    planned = 8 if modality == "esketamine_intranasal" else 6
    traits = _Traits(modality, answer, body, planned, monday, second)
    return Plan(
        directory=directory,
        index=index,
        patient=directory.patient(index),
        modality=modality,
        indication=indication,
        answer=answer,
        burden=min(max(chance.normal(0.66, 0.11), 0.42), 0.95),
        suicidal=indication == "suicidal_thoughts" or chance.happens(0.2),
        body=body,
        weight_tenths=5 * round(min(max(chance.normal(160, 32), 90), 270)),
        height_cm=round(min(max(chance.normal(170, 9), 146), 202)),
        short_dissociation_scale=chance.happens(0.3),
        guardian=chance.weighted((("", 0.95), ("legal guardian", 0.03), ("health care agent", 0.02))),
        intake=intake,
        home="second" if second else "main",
        series=chance.identifier(),
        planned_sessions=planned,
        visits=_draw_visits(options, chance, traits)[: options.sessions],
    )


class _Traits(NamedTuple):
    """What the visits of a patient depend on; ``monday`` is the ordinal of the first week's Monday."""

    modality: str
    answer: Answer
    body: Body
    planned: int
    monday: int
    second_site: bool


def _draw_visits(options: Options, chance: Chance, traits: _Traits) -> tuple[Visit, ...]:
    modality, answer, body, planned, monday, second = traits
    weekday, gaps = chance.pick(_RHYTHMS)
    maintained = chance.between(1, 4) if answer in ("remitter", "responder") else chance.below(2)
    # Some patients move house after the induction and go on at the other site, in its time zone.
    moves = maintained > 0 and chance.happens(0.06)
    staff = tuple(f"{letters}-{chance.between(1, most)}" for letters, most in (("RN", 9), ("MD", 4)))
    minute = chance.between(34, 56) * 15
    day, number, visits = monday + weekday, 1, list[Visit]()
    while number <= planned + maintained:
        induction = number <= planned
        at_second = second != (moves and not induction)
        given = not chance.happens(0.04)
        visits.append(
            Visit(
                index=len(visits),
                number=number,
                phase=_phase(number, planned, maintained),
                day=Day(day, SECOND_ZONE if at_second else options.zone),
                dose_minute=minute + chance.between(-6, 9),
                site="second" if at_second else "main",
                status="completed" if given else chance.pick(_MISSED),
                interruption=_interruption(chance, modality) if given else "",
                per_kg_hundredths=_per_kg(modality, number, answer),
                session=chance.identifier(),
                encounter=chance.identifier(),
                nurse=staff[0],
                physician=staff[1],
                course=draw_course(chance, body, modality) if given else None,
            )
        )
        if not given:
            # The same treatment a week later keeps the weekdays.
            day += 7
            continue
        day += gaps[(number - 1) % 2] if number < planned else 7 * chance.between(2, 4)
        number += 1
    return tuple(visits)


def _phase(number: int, planned: int, maintained: int) -> str:
    if number <= planned:
        return "induction"
    if number == planned + 1:
        return "optimization"
    return "taper" if number == planned + maintained and maintained > 2 else "maintenance"


def _interruption(chance: Chance, modality: str) -> Interruption:
    if modality != "iv_infusion":
        return ""
    return chance.weighted((("", 0.97), ("slowed", 0.018), ("stopped", 0.012)))


_PER_KG = {"iv_infusion": 50, "iv_push": 30, "im": 50, "sc": 50, "kap": 75, "intranasal": 100, "sublingual": 100,
           "oral": 100, "other": 100}  # fmt: skip


def _per_kg(modality: str, number: int, answer: Answer) -> int:
    """Hundredths of mg/kg; those who do not get better get more from the fourth infusion on."""
    usual = _PER_KG.get(modality, 0)
    raised = modality == "iv_infusion" and number > 3 and answer in ("partial", "non_responder")
    return 75 if raised else usual
