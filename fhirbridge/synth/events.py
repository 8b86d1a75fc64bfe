"""Adverse events and near misses (specification §3.5)."""

from __future__ import annotations

from fhirbridge.fhir.json import Tree
from fhirbridge.synth.chance import Chance
from fhirbridge.synth.clock import Filed
from fhirbridge.synth.course import Course
from fhirbridge.synth.exact import amount
from fhirbridge.synth.plan import Plan, Visit
from fhirbridge.synth.symptoms import (
    CRISIS,
    DISSOCIATED,
    GRADES,
    LATE,
    LIFE_THREATENING_GRADE,
    RISE,
    STRONG_DISSOCIATION,
    SYMPTOMS,
    Symptom,
)
from fhirbridge.synth.vitals import CRITICAL_SYSTOLIC, HIGH_SYSTOLIC

_NEAR_MISS_SHARE = 0.006
_NEAR_MISSES = (
    ("medication_mishap", "Pump set to 10 times the rate, seen before the start"),
    ("medication_mishap", "Syringe of another strength drawn up, seen at the double check"),
    ("wrong_patient", "Chart of another patient open, seen at the time-out"),
    ("device", "Pump battery failed during the self-test"),
)


def of_session(chance: Chance, plan: Plan, visit: Visit) -> list[Tree]:
    """Adverse events and near misses of a visit that took place."""
    course = visit.course
    if course is None:
        return []
    found = [symptom for symptom in SYMPTOMS if chance.random() < _share(symptom, course)]
    if course.systolic_40 >= HIGH_SYSTOLIC + 8:
        found.append(CRISIS if course.systolic_40 >= CRITICAL_SYSTOLIC else RISE)
    if course.dissociation_40 >= STRONG_DISSOCIATION or (visit.interruption and chance.happens(0.5)):
        found.append(DISSOCIATED)
    records = [_event(chance, plan, visit, symptom) for symptom in found]
    if chance.happens(_NEAR_MISS_SHARE):
        records.append(_near_miss(chance, plan, visit))
    return records


def after_session(chance: Chance, plan: Plan, visit: Visit) -> list[Filed]:
    """What is told in the days after a visit that took place."""
    return [_late(chance, plan, visit, symptom) for symptom in LATE if chance.random() < symptom.share]


def _share(symptom: Symptom, course: Course) -> float:
    return symptom.share * course.dissociation_40 / 20 if symptom.dissociative else symptom.share


def _head(chance: Chance, plan: Plan) -> Tree:
    return {"kind": "adverse_event", "id": chance.identifier(), "revision": 1, "patient": plan.patient}


def _judged(chance: Chance, symptom: Symptom) -> Tree:
    """Seriousness, severity and grade, which belong together."""
    severity = chance.weighted(symptom.severities)
    serious: Tree = {"serious": bool(symptom.criteria)}
    if symptom.criteria:
        serious["seriousness_criteria"] = list(symptom.criteria)
    grade = LIFE_THREATENING_GRADE if "life_threatening" in symptom.criteria else GRADES[severity]
    return {**serious, "severity": severity, "grade": grade}


def _suspect(chance: Chance, plan: Plan, visit: Visit) -> Tree:
    causality: Tree = {
        "assessment": chance.weighted((("probable", 0.6), ("possible", 0.25), ("certain", 0.1), ("unlikely", 0.05))),
        "author": plan.directory.staff(visit.physician),
    }
    if causality["assessment"] != "unlikely" and chance.happens(0.3):
        related = "possibly_related" if causality["assessment"] == "possible" else "related"
        causality = {"assessment": causality["assessment"], "relatedness": related, "author": causality["author"]}
    return {"instance": plan.directory.ref("Procedure", "treatment-session", visit.session), "causality": [causality]}


def _actions(chance: Chance, visit: Visit, symptom: Symptom, severity: str) -> list[Tree]:
    if visit.interruption == "stopped":
        actions: list[Tree] = [{"taken": "drug_withdrawn", "text": "Infusion stopped"}]
    elif visit.interruption == "slowed":
        actions = [{"taken": "dose_reduced", "text": "Pump at half the rate"}]
    else:
        actions = [{"taken": "dose_not_changed"}]
    if symptom.treatment and (severity != "mild" or chance.happens(0.2)):
        actions.append({"treatment": {"text": symptom.treatment}})
    return actions


def _event(chance: Chance, plan: Plan, visit: Visit, symptom: Symptom) -> Tree:
    offset = chance.between(symptom.earliest, symptom.latest)
    onset = visit.dose_minute + offset
    judged = _judged(chance, symptom)
    recorded = visit.dose_minute + 135
    at = visit.day.at
    ended = {"resolved_at": at(min(onset + chance.between(max(1, symptom.lasting // 3), symptom.lasting), 1439))}
    return {
        **_head(chance, plan),
        "encounter": plan.directory.ref("Encounter", "encounter", visit.encounter),
        "record_status": "completed",
        "actuality": "actual",
        "verbatim": chance.pick(symptom.verbatim),
        "term": symptom.term,
        "onset": at(onset),
        **ended,
        "onset_offset": amount(offset, "min"),
        "detected_at": at(onset + chance.below(4)),
        "recorded_at": at(recorded, chance.below(60)),
        "recorded_by": plan.directory.staff(visit.nurse),
        **_witness(plan, chance),
        **judged,
        "outcome": "resolved",
        "suspects": [_suspect(chance, plan, visit)],
        "expectedness": {"value": "unexpected" if symptom.criteria else "expected", "reference": "US label"},
        "actions": _actions(chance, visit, symptom, judged["severity"]),
        **({"special_interest": list(symptom.special)} if symptom.special else {}),
    }


def _witness(plan: Plan, chance: Chance) -> Tree:
    return {"participants": [{"actor": plan.patient, "function": "informant"}]} if chance.happens(0.3) else {}


def _late(chance: Chance, plan: Plan, visit: Visit, symptom: Symptom) -> Filed:
    onset = visit.day.later(chance.between(symptom.earliest, symptom.latest))
    told, minute = onset.later(1), 10 * 60 + chance.below(360)
    record = {
        **_head(chance, plan),
        **({"sensitivity": ["substance_use"]} if symptom.term == "misuse" else {}),
        "record_status": "completed",
        "actuality": "actual",
        "verbatim": chance.pick(symptom.verbatim),
        "term": symptom.term,
        # Patients remember the day, not the hour.
        "onset": onset.text,
        "recorded_at": told.at(minute, chance.below(60)),
        "recorded_by": plan.directory.staff(visit.nurse),
        "participants": [{"actor": plan.patient, "function": "informant"}],
        **_judged(chance, symptom),
        "outcome": chance.weighted((("ongoing", 0.5), ("recovering", 0.4), ("unknown", 0.1))),
        "suspects": [_suspect(chance, plan, visit)],
        **({"special_interest": list(symptom.special)} if symptom.special else {}),
    }
    return Filed(told, minute, record)


def _near_miss(chance: Chance, plan: Plan, visit: Visit) -> Tree:
    category, verbatim = chance.pick(_NEAR_MISSES)
    at = visit.day.at
    return {
        **_head(chance, plan),
        "encounter": plan.directory.ref("Encounter", "encounter", visit.encounter),
        "record_status": "completed",
        "actuality": "potential",
        "verbatim": verbatim,
        "categories": [category],
        "detected_at": at(visit.dose_minute - 8),
        "recorded_at": at(visit.dose_minute + 140, chance.below(60)),
        "recorded_by": plan.directory.staff(visit.nurse),
        "serious": False,
        "suspects": [{"instance": plan.directory.ref("Procedure", "treatment-session", visit.session)}],
        "preventive_actions": [{"text": "double check before the start"}],
    }
