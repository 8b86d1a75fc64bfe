"""The record of a visit (specification §3.1)."""

from __future__ import annotations

from fhirbridge.fhir.json import Tree
from fhirbridge.synth.chance import Chance
from fhirbridge.synth.doses import administrations
from fhirbridge.synth.exact import amount
from fhirbridge.synth.people import NOTE_AUTHORS
from fhirbridge.synth.plan import Plan, Visit

# Minutes around the dose.
ARRIVAL = -35
MONITOR_ON = -10
PRE_DISCHARGE = 126
# Largest dose of esketamine that G2082 pays for.
_G2082_MG = 56
_MISSED_REASONS = {
    "no_show": ("patient did not come",),
    "cancelled": ("patient had a cold", "transport fell through", "clinic closed: weather"),
    "not_done": ("blood pressure too high before the dose", "patient had eaten", "patient refused"),
}
_NOTES = (
    "Tolerated well.", "Eye mask and playlist as last time; “floating”.", "Felt cold; blanket given.",
    "Asked for a slower start next time — ok.", "Dog waited outside 🐕.",
)  # fmt: skip
_MEDICATION_CLASSES = (
    ("benzodiazepine", 0.25), ("non_benzo_sedative_hypnotic", 0.1), ("opioid", 0.06), ("psychostimulant", 0.12),
    ("maoi", 0.01),
)  # fmt: skip
_PROTOCOLS = {"iv_infusion": "0.5 mg/kg over 40 min", "esketamine_intranasal": "56 mg, then 84 mg, twice weekly"}


def missed(chance: Chance, plan: Plan, visit: Visit) -> Tree:
    """The record of a visit that did not take place."""
    at = visit.day.at
    return {
        **_head(plan, visit),
        **_code(plan),
        "status": visit.status,
        "status_reason": {"text": chance.pick(_MISSED_REASONS[visit.status])},
        "started_at": at(visit.dose_minute + ARRIVAL),
        "recorded_at": at(visit.dose_minute + 10, chance.below(60)),
        "recorded_by": plan.directory.staff(visit.nurse),
        "indications": [plan.indication],
        "series": _series(plan, visit),
    }


def given(chance: Chance, plan: Plan, visit: Visit, events: list[Tree], touch_consent: str) -> Tree:
    """The record of a visit that took place; ``events`` are its adverse events, ``touch_consent`` a consent's id."""
    at, dose = visit.day.at, visit.dose_minute
    left = dose + PRE_DISCHARGE + chance.between(3, 25)
    noted = chance.happens(0.15)
    note = {"text": chance.pick(_NOTES), "author_name": chance.pick(NOTE_AUTHORS), "time": at(left)}
    billed = plan.modality == "esketamine_intranasal"
    doses = administrations(chance, plan, visit)
    tree: Tree = {
        **_head(plan, visit),
        **({"sensitivity": ["mental_health"]} if plan.modality == "kap" else {}),
        **({"notes": [note]} if noted else {}),
        **_code(plan),
        **({"billing_code": "G2082" if doses[0]["dose"]["value"] <= _G2082_MG else "G2083"} if billed else {}),
        "status": "stopped" if visit.interruption == "stopped" else "completed",
        **({"status_reason": doses[-1]["status_reason"]} if visit.interruption == "stopped" else {}),
        "started_at": at(dose + ARRIVAL),
        "ended_at": at(left),
        "monitoring": {"start": at(dose + MONITOR_ON), "end": at(dose + PRE_DISCHARGE)},
        "recorded_at": at(left + 4, chance.below(60)),
        "recorded_by": plan.directory.staff(visit.nurse),
        "indications": [plan.indication],
        "administrations": doses,
        "session_number": visit.number,
        "series": _series(plan, visit),
        "performers": _performers(plan, visit),
        "location": plan.directory.ref("Location", "location", f"ROOM-{visit.site}-{chance.between(1, 4)}"),
        "outcome": "partially_successful" if visit.interruption == "stopped" else "successful",
        "discharge": _discharge(chance, plan, visit, left),
    }
    if events:
        happened = [{"text": event["verbatim"]} for event in events if event["actuality"] == "actual"]
        if happened:
            tree["complications"] = happened
        tree["adverse_events"] = [plan.directory.ref("AdverseEvent", "adverse-event", event["id"]) for event in events]
    if plan.modality == "iv_infusion":
        tree["equipment"] = [plan.directory.ref("Device", "device", f"PUMP-{visit.site}-{chance.between(1, 5)}")]
    if billed:
        tree |= _rems(chance, plan, visit)
    if plan.modality == "kap":
        tree["kap"] = {
            "phase": "dosing",
            "setting": {"text": "eye mask, quiet room"},
            "touch_consent": plan.directory.ref("Consent", "consent", touch_consent),
            "music": chance.happens(0.9),
            "integration_date": visit.day.later(2).text,
        }
    return tree


def _head(plan: Plan, visit: Visit) -> Tree:
    return {
        "kind": "session",
        "id": visit.session,
        "revision": 1,
        "patient": plan.patient,
        "encounter": plan.directory.ref("Encounter", "encounter", visit.encounter),
    }


def _code(plan: Plan) -> Tree:
    code = {"code": {"text": "buccal ketamine session"}} if plan.modality == "other" else {}
    return {"modality": plan.modality, **code}


def _series(plan: Plan, visit: Visit) -> Tree:
    protocol = _PROTOCOLS.get(plan.modality)
    return {
        "identifier": plan.directory.identifier("series", plan.series),
        "phase": visit.phase,
        "planned_sessions": plan.planned_sessions,
        **({"protocol": protocol} if protocol else {}),
    }


def _performers(plan: Plan, visit: Visit) -> list[Tree]:
    performers = [
        {"actor": plan.directory.staff(visit.physician), "function": "supervising"},
        {"actor": plan.directory.staff(visit.nurse), "function": "monitoring"},
    ]
    if plan.modality == "kap":
        performers.append({"actor": plan.directory.staff("TH-1"), "function": "therapist"})
    return performers


def _discharge(chance: Chance, plan: Plan, visit: Visit, left: int) -> Tree:
    at = visit.day.at
    return {
        "ready": True,
        "assessed_at": at(left - 3),
        "assessed_by": plan.directory.staff(visit.nurse),
        "tool": {"text": "modified Aldrete"},
        "score": amount(chance.between(9, 10), "{score}"),
        "escort_present": chance.happens(0.97),
        "left_at": at(left),
        "minutes_to_ready": amount(left - 3 - visit.dose_minute, "min"),
    }


def _rems(chance: Chance, plan: Plan, visit: Visit) -> Tree:
    return {
        "rems": {
            "program": "spravato",
            "enrolled": True,
            "first_treatment": visit.first,
            "enrollment_id": plan.directory.identifier("rems-enrollment", f"R{plan.number[2:]}"),
            "form_submitted_at": visit.day.later(1).at(9 * 60 + chance.below(60)),
            "form_id": plan.directory.identifier("rems-form", f"F-{visit.session[:12]}"),
        },
        "concomitant_medications": [
            {"medication_class": name, "taking": chance.happens(share)} for name, share in _MEDICATION_CLASSES
        ],
        "vitals_acceptable": {"pre_administration": True, "pre_completion": True},
    }
