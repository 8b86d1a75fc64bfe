"""What the generator knows and the records only show: the answers an analysis of them should come to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fhirbridge.synth.course import expected_dissociation
from fhirbridge.synth.options import Options
from fhirbridge.synth.plan import Answer, draw_plan


@dataclass(frozen=True, slots=True)
class SessionTruth:
    """One session that took place.

    ``systolic_peak_minute``: minutes from the dose to the true peak; ``systolic_peak``: its height in mm[Hg], before
    the error of the cuff. ``systolic_40``: what the cuff showed at 40 minutes. ``expected_dissociation``: mean CADSS
    total at 40 minutes for that pressure; ``dissociation_40``: the CADSS total drawn around it.
    """

    session: str
    modality: str
    systolic_peak_minute: float
    systolic_peak: float
    systolic_40: int
    expected_dissociation: float
    dissociation_40: int


@dataclass(frozen=True, slots=True)
class PatientTruth:
    """One patient: the answer to the treatment, and the sessions."""

    patient: str
    answer: Answer
    sessions: tuple[SessionTruth, ...]


def truths(options: Options) -> Iterator[PatientTruth]:
    """The truth behind ``records(options)``, patient by patient in the same order."""
    for index in range(options.patients):
        plan = draw_plan(options, index)
        sessions = tuple(
            SessionTruth(
                session=visit.session,
                modality=plan.modality,
                systolic_peak_minute=visit.course.peak_minute,
                systolic_peak=visit.course.systolic + visit.course.rise,
                systolic_40=visit.course.systolic_40,
                expected_dissociation=expected_dissociation(plan.modality, visit.course.systolic_40),
                dissociation_40=visit.course.dissociation_40,
            )
            for visit in plan.visits
            if visit.course is not None
        )
        yield PatientTruth(plan.number, plan.answer, sessions)
