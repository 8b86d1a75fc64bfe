"""The records behind the specification's worked examples, and what a comparison with them leaves out."""

from __future__ import annotations

from typing import Any

Tree = dict[str, Any]
SID = "https://clinic.example/sid"


def ref(type_: str, kind: str, value: str) -> Tree:
    """A reference by an identifier of the clinic."""
    return {"type": type_, "identifier": {"system": f"{SID}/{kind}", "value": value}}


PATIENT = ref("Patient", "patient", "P-1001")
NURSE = ref("Practitioner", "practitioner", "RN-7")
DOCTOR = ref("Practitioner", "practitioner", "MD-2")
SESSION_REF = ref("Procedure", "treatment-session", "6f2c1d0e")

SESSION: Tree = {
    "id": "6f2c1d0e",
    "revision": 1,
    "patient": PATIENT,
    "encounter": ref("Encounter", "encounter", "E-55"),
    "modality": "iv_infusion",
    "status": "completed",
    "started_at": "2026-11-20T10:00:00-05:00",
    "ended_at": "2026-11-20T12:05:00-05:00",
    "monitoring": {"start": "2026-11-20T09:50:00-05:00", "end": "2026-11-20T12:05:00-05:00"},
    "recorded_at": "2026-11-20T12:10:00-05:00",
    "recorded_by": NURSE,
    "indications": ["major_depression"],
    "administrations": [
        {
            "medication": "ketamine",
            "route": "intravenous",
            "dose": {"value": 35, "unit": "mg"},
            "dose_per_weight": {"value": "0.5", "unit": "mg/kg"},
            "dosing_weight": {"value": "70.0", "unit": "kg"},
            "period": {"start": "2026-11-20T10:00:00-05:00", "end": "2026-11-20T10:40:00-05:00"},
        }
    ],
    "session_number": 3,
    "series": {
        "identifier": {"system": f"{SID}/series", "value": "SER-9"},
        "phase": "induction",
        "planned_sessions": 6,
    },
    "performers": [{"actor": DOCTOR, "function": "supervising"}],
    "outcome": "successful",
    "discharge": {"ready": True, "assessed_at": "2026-11-20T12:00:00-05:00", "escort_present": True},
    "complications": [{"codings": [{"system": "http://snomed.info/sct", "code": "422587007", "display": "Nausea"}]}],
    "notes": [{"text": "Tolerated well."}],
}

BLOOD_PRESSURE: Tree = {
    "id": "VS-1-bp",
    "revision": 1,
    "patient": PATIENT,
    "sign": "blood_pressure",
    "status": "final",
    "measured_at": "2026-11-20T10:41:00-05:00",
    "session": SESSION_REF,
    "timepoint": "post_40min",
    "offset_from_dose": {"value": 41, "unit": "min"},
    "position": "sitting",
    "performers": [NURSE],
    "readings": [
        {"name": "systolic", "value": 138, "unit": "mm[Hg]"},
        {"name": "diastolic", "value": 86, "unit": "mm[Hg]"},
        {"name": "mean", "value": 103, "unit": "mm[Hg]", "derivation": "measured"},
    ],
}


def comparable(node: Any, *, top: bool = True) -> Any:
    """A resource without what the acceptance leaves out: id, literal references, meta, texts and its own identifiers.

    Extensions are compared by URL, for their order says nothing.
    """
    if isinstance(node, list):
        items = [comparable(item, top=False) for item in node]
        if items and all(isinstance(item, dict) and "url" in item for item in items):
            items.sort(key=lambda item: item["url"])
        return items
    if not isinstance(node, dict):
        return node
    out = {name: comparable(member, top=False) for name, member in node.items()}
    if "coding" in out:
        out.pop("text", None)
    if "identifier" in out and isinstance(out.get("reference"), str):
        del out["reference"]
    if top:
        for name in ("id", "meta", "text", "identifier"):
            out.pop(name, None)
    return out
