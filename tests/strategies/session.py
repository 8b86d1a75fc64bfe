"""Sessions in which every field is generated."""

from __future__ import annotations

import typing

from hypothesis import strategies as st

from fhirbridge.records import session as model
from tests.strategies import base as b


def either(words: object) -> st.SearchStrategy[object]:
    """One of the words, or somebody else's concept."""
    return st.one_of(st.sampled_from(typing.get_args(words)), b.concepts)


def words(literal: object) -> st.SearchStrategy[object]:
    return st.sampled_from(typing.get_args(literal))


RATES = st.one_of(
    b.amounts("mg/min", 0, 200), b.amounts("mg/h", 0, 2000), b.amounts("mg/kg/h", 0, 50), b.amounts("ug/kg/min", 0, 500)
)
WEIGHTS = st.one_of(b.amounts("kg", 0.5, 500), b.amounts("[lb_av]", 1, 1100), b.amounts("g", 300, 500_000))
administrations = b.tree(
    {"medication": either(model.Drug)},
    {
        "identifier": b.identifiers,
        "route": either(model.Route),
        "dose": st.one_of(b.amounts("mg", 0, 2000), b.amounts("ug", 0, 2_000_000)),
        "dose_per_weight": b.amounts("mg/kg", 0, 20),
        "dosing_weight": WEIGHTS,
        "dosing_weight_kind": st.sampled_from(["actual", "ideal", "adjusted"]),
        "rate": RATES,
        "period": b.periods,
        "formulation": b.concepts,
        "concentration": b.amounts("mg/mL", 0, 1000),
        "volume": b.amounts("mL", 0, 5000),
        "device_count": b.counts,
        "lot_number": b.words,
        "expiry": b.dates,
        "product": b.concepts,
        "site": b.concepts,
        "self_administered": b.booleans,
        "wasted": st.one_of(b.amounts("mg", 0, 2000), b.amounts("mL", 0, 500)),
        "status": words(model.AdministrationStatus),
        "status_reason": b.concepts,
    },
)


def not_empty(optional: dict[str, st.SearchStrategy[object]]) -> st.SearchStrategy[b.Tree]:
    return b.tree({}, optional).filter(bool)


SERIES = {
    "identifier": b.identifiers,
    "phase": either(model.Phase),
    "planned_sessions": b.counts,
    "protocol": b.words,
}
DISCHARGE = {
    "ready": b.booleans,
    "assessed_at": b.date_times,
    "assessed_by": b.practitioners,
    "tool": b.concepts,
    "score": b.amounts("{score}", -5, 100),
    "escort_present": b.booleans,
    "left_at": b.date_times,
    "minutes_to_ready": st.one_of(b.amounts("min", 0, 1000), b.amounts("h", 0, 10), b.amounts("s", 0, 9999)),
}
REMS = {
    "program": either(typing.Literal["spravato"]),
    "enrolled": b.booleans,
    "first_treatment": b.booleans,
    "enrollment_id": b.identifiers,
    "form_submitted_at": b.date_times,
    "form_id": b.identifiers,
}
KAP = {
    "phase": st.sampled_from(["preparation", "dosing", "integration"]),
    "setting": b.concepts,
    "touch_consent": b.refs("Consent"),
    "music": b.booleans,
    "integration_date": b.date_times,
}
NESTED = {
    "administrations": (model.Administration, administrations),
    "series": (model.Series, not_empty(SERIES)),
    "performers": (
        model.Performer,
        b.tree(
            {"actor": b.refs("Practitioner", "Organization", "Device")},
            {
                "function": either(model.PerformerFunction),
                "on_behalf_of": b.refs("Organization"),
                "period": b.periods,
            },
        ),
    ),
    "discharge": (model.DischargeReadiness, not_empty(DISCHARGE)),
    "rems": (model.RemsSession, not_empty(REMS)),
    "concomitant_medications": (
        model.MedicationFlag,
        b.tree({"medication_class": either(model.MedicationClass), "taking": b.booleans}, {}),
    ),
    "vitals_acceptable": (
        model.VitalsAcceptable,
        not_empty({"pre_administration": b.booleans, "pre_completion": b.booleans}),
    ),
    "kap": (model.KapDetail, not_empty(KAP)),
    "focal_devices": (model.FocalDevice, b.tree({"device": b.refs("Device")}, {"action": b.concepts})),
}
_MANY = {"administrations", "performers", "concomitant_medications", "focal_devices"}
OPTIONAL: dict[str, st.SearchStrategy[object]] = {
    **b.RECORD_OPTIONAL,
    **{name: b.some(one) if name in _MANY else one for name, (_, one) in NESTED.items()},
    # R4 and R4B have room for one category: more are refused there, which has a test of its own.
    "categories": st.lists(b.concepts, min_size=1, max_size=1),
    "status_reason": b.concepts,
    "monitoring": b.periods,
    "recorded_at": b.date_times,
    "recorded_by": b.practitioners,
    "reported_by": b.refs("Patient", "RelatedPerson", "Practitioner"),
    "indications": b.some(either(model.Indication)),
    "conditions": b.some(b.refs("Condition")),
    "session_number": b.counts,
    "based_on": b.some(b.refs("CarePlan", "ServiceRequest")),
    "part_of": b.some(b.refs("Procedure")),
    "location": b.refs("Location"),
    "outcome": either(model.SessionOutcome),
    "complications": b.some(b.concepts),
    "complication_conditions": b.some(b.refs("Condition")),
    "adverse_events": b.some(b.refs("AdverseEvent")),
    "follow_up": b.some(b.concepts),
    "next_visit": b.date_times,
    "body_sites": b.some(b.concepts),
    "equipment": b.some(b.refs("Device")),
    "equipment_codes": b.some(b.concepts),
    "reports": b.some(b.refs("DocumentReference")),
    "supporting_records": b.some(b.refs("Observation")),
}
_spans = st.one_of(
    b.spans().map(lambda span: {"started_at": span[0], "ended_at": span[1]}),
    b.date_times.map(lambda time: {"started_at": time}),
    b.date_times.map(lambda time: {"started_at": time, "ended_at": time}),
)
_codes = st.one_of(
    b.tree(
        {"modality": st.sampled_from(typing.get_args(model.Modality)[:-1])},
        {"billing_code": st.sampled_from(["G2082", "G2083"])},
    ),
    b.coded_concepts.map(lambda concept: {"modality": "other", "code": concept}),
    st.just({"modality": "im", "code": {"codings": [{"system": "http://snomed.info/sct", "code": "386356001"}]}}),
)


def _joined(record: b.Tree, span: b.Tree, code: b.Tree, status: str, given: list[b.Tree]) -> b.Tree:
    tree = record | span | code | {"status": status}
    if code["modality"] != "other" and status not in model.NOT_GIVEN:
        tree.setdefault("administrations", given)
    return tree


sessions = st.builds(
    _joined,
    b.tree(b.RECORD_REQUIRED, OPTIONAL),
    _spans,
    _codes,
    words(model.SessionStatus),
    b.some(administrations),
)
