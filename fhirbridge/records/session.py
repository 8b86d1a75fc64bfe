"""A treatment session: one visit with its administrations of ketamine or esketamine (specification §3.1)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from fhirbridge.records.base import (
    REQUIRED,
    Amount,
    Concept,
    Count,
    Flag,
    Identifier,
    Model,
    Period,
    Record,
    Ref,
    Text,
    about,
    check_order,
)
from fhirbridge.records.plausible import check_amount
from fhirbridge.records.text import Date, DateTime

Modality = Literal[
    "iv_infusion",
    "iv_push",
    "im",
    "sc",
    "intranasal",
    "esketamine_intranasal",
    "oral",
    "sublingual",
    "kap",
    "other",
]
SessionStatus = Literal[
    "planned",
    "preparation",
    "in_progress",
    "not_done",
    "cancelled",
    "no_show",
    "on_hold",
    "stopped",
    "aborted",
    "completed",
    "entered_in_error",
    "unknown",
]
NOT_GIVEN = frozenset({"planned", "preparation", "not_done", "cancelled", "no_show", "entered_in_error"})
AdministrationStatus = Literal[
    "in_progress", "not_done", "on_hold", "completed", "entered_in_error", "stopped", "unknown"
]
Drug = Literal["ketamine", "ketamine_hydrochloride", "esketamine"]
Route = Literal["intravenous", "intramuscular", "subcutaneous", "intranasal", "oral", "sublingual", "buccal", "rectal"]
Indication = Literal[
    "major_depression",
    "major_depression_single_episode",
    "major_depression_recurrent",
    "ptsd",
    "complex_ptsd",
    "generalized_anxiety",
    "anxiety_disorder",
    "ocd",
    "bipolar_depression",
    "chronic_pain",
    "chronic_pain_syndrome",
    "suicidal_thoughts",
]
Phase = Literal["induction", "optimization", "maintenance", "taper", "single", "research"]
PerformerFunction = Literal["supervising", "administering", "monitoring", "therapist", "prescriber", "observer"]
SessionOutcome = Literal["successful", "partially_successful", "unsuccessful"]
MedicationClass = Literal["benzodiazepine", "non_benzo_sedative_hypnotic", "opioid", "psychostimulant", "maoi"]


class Administration(Model):
    """One drug given once, at one rate: a change of the pump rate makes another (specification §3.1.1)."""

    identifier: Identifier | None = about(
        "Identifier of this administration",
        example={"system": "https://clinic.example/sid/administration", "value": "1"},
    )
    medication: Drug | Concept = about("Drug given", example="ketamine", default=REQUIRED)
    route: Route | Concept | None = about("Route", example="intravenous")
    dose: Amount | None = about("Dose given", example={"value": 35, "unit": "mg"}, unit="mg")
    dose_per_weight: Amount | None = about("Dose by weight", example={"value": 0.5, "unit": "mg/kg"}, unit="mg/kg")
    dosing_weight: Amount | None = about(
        "Weight it was calculated with", example={"value": 70, "unit": "kg"}, unit="kg"
    )
    dosing_weight_kind: Literal["actual", "ideal", "adjusted"] | None = about("Kind of that weight", example="actual")
    rate: Amount | None = about(
        "Rate of the infusion", example={"value": 0.875, "unit": "mg/min"}, unit="mg/min, mg/h, mg/kg/h or ug/kg/min"
    )
    period: Period | None = about(
        "Start and end", example={"start": "2026-11-20T10:00:00-05:00", "end": "2026-11-20T10:40:00-05:00"}
    )
    formulation: Concept | None = about("Formulation", example={"text": "nasal spray"})
    concentration: Amount | None = about("Concentration", example={"value": 10, "unit": "mg/mL"}, unit="mg/mL")
    volume: Amount | None = about("Volume given", example={"value": 3.5, "unit": "mL"}, unit="mL")
    device_count: Count | None = about("Number of nasal devices", example=2)
    lot_number: Text | None = about("Lot number", example="A12")
    expiry: Date | None = about("Expiry date", example="2027-06")
    product: Concept | None = about("Product, for instance by NDC", example={"text": "ketamine 50 mg/mL"})
    site: Concept | None = about("Site, for instance nostril or muscle", example={"text": "left deltoid"})
    self_administered: Flag | None = about("Whether the patient gave it to themselves", example=True)
    wasted: Amount | None = about("Amount discarded", example={"value": 15, "unit": "mg"}, unit="mg")
    status: AdministrationStatus | None = about(
        "Status; when left out it follows from the session's", example="completed"
    )
    status_reason: Concept | None = about("Reason for the status", example={"text": "patient asked to stop"})

    @model_validator(mode="after")
    def _doses_are_doses(self) -> Administration:
        check_amount(self.dose, "dose")
        check_amount(self.dose_per_weight, "dose_per_weight")
        check_amount(self.dosing_weight, "dosing_weight")
        check_amount(self.rate, "rate")
        check_amount(self.concentration, "concentration")
        check_amount(self.volume, "volume")
        check_amount(self.wasted, "wasted")
        return self


class _NotEmpty(Model):
    """A nested model without required fields, which must say something: FHIR has no empty extension."""

    @model_validator(mode="after")
    def _says_something(self) -> _NotEmpty:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise PydanticCustomError("empty", "at least one field is wanted here")
        return self


class Series(_NotEmpty):
    """The course of sessions that this one belongs to."""

    identifier: Identifier | None = about(
        "Identifier of the series", example={"system": "https://clinic.example/sid/series", "value": "SER-9"}
    )
    phase: Phase | Concept | None = about("Phase of treatment", example="induction")
    planned_sessions: Count | None = about("Number of sessions planned", example=6)
    protocol: Text | None = about("Protocol", example="0.5 mg/kg over 40 min")


class Performer(Model):
    """Who did what in the session."""

    actor: Ref = about("Who", example={"type": "Practitioner", "identifier": {"value": "MD-2"}}, default=REQUIRED)
    function: PerformerFunction | Concept | None = about("In which function", example="supervising")
    on_behalf_of: Ref | None = about("For which organisation", example={"type": "Organization", "display": "clinic"})
    period: Period | None = about("During which time", example={"start": "2026-11-20T10:00:00-05:00"})


class FocalDevice(Model):
    """A device that was put in, taken out or changed."""

    device: Ref = about("Which device", example={"type": "Device", "identifier": {"value": "PORT-1"}}, default=REQUIRED)
    action: Concept | None = about("What was done to it", example={"text": "inserted"})


class DischargeReadiness(_NotEmpty):
    """Whether and when the patient could leave."""

    ready: Flag | None = about("Ready to leave", example=True)
    assessed_at: DateTime | None = about("When that was assessed", example="2026-11-20T12:00:00-05:00")
    assessed_by: Ref | None = about("By whom", example={"type": "Practitioner", "identifier": {"value": "RN-7"}})
    tool: Concept | None = about("Scale used", example={"text": "Aldrete"})
    score: Amount | None = about("Score on it", example={"value": 10, "unit": "{score}"}, unit="{score}")
    escort_present: Flag | None = about("Whether an escort was there", example=True)
    left_at: DateTime | None = about("When the patient left", example="2026-11-20T12:05:00-05:00")
    minutes_to_ready: Amount | None = about(
        "Time from the dose until ready (REMS form)", example={"value": 110, "unit": "min"}, unit="min"
    )

    @model_validator(mode="after")
    def _units(self) -> DischargeReadiness:
        check_amount(self.score, "score")
        check_amount(self.minutes_to_ready, "duration")
        return self


class RemsSession(_NotEmpty):
    """What the REMS monitoring form asks about the session."""

    program: Literal["spravato"] | Concept | None = about("Programme", example="spravato")
    enrolled: Flag | None = about("Whether the patient is enrolled", example=True)
    first_treatment: Flag | None = about("Whether this is the first treatment", example=False)
    enrollment_id: Identifier | None = about(
        "Enrolment", example={"system": "https://clinic.example/rems", "value": "1"}
    )
    form_submitted_at: DateTime | None = about("When the form was sent", example="2026-11-21T09:00:00-05:00")
    form_id: Identifier | None = about("The form", example={"system": "https://clinic.example/forms", "value": "7"})


class MedicationFlag(Model):
    """Whether the patient takes a class of medicines."""

    medication_class: MedicationClass | Concept = about("Class", example="benzodiazepine", default=REQUIRED)
    taking: Flag = about("Taking one", example=False, default=REQUIRED)


class VitalsAcceptable(_NotEmpty):
    """The REMS form's two questions about vital signs."""

    pre_administration: Flag | None = about("Acceptable before the dose", example=True)
    pre_completion: Flag | None = about("Acceptable before leaving", example=True)


class KapDetail(_NotEmpty):
    """Ketamine-assisted psychotherapy; a psychotherapy note itself is never part of a record."""

    phase: Literal["preparation", "dosing", "integration"] | None = about("Part of the therapy", example="dosing")
    setting: Concept | None = about("Setting", example={"text": "eye mask, quiet room"})
    touch_consent: Ref | None = about("Consent to touch", example={"type": "Consent", "identifier": {"value": "C-4"}})
    music: Flag | None = about("Whether music was played", example=True)
    integration_date: DateTime | None = about("Integration session", example="2026-11-22")


class Session(Record):
    """One treatment session."""

    kind: ClassVar[str] = "session"

    modality: Modality = about("Kind of session", example="iv_infusion", default=REQUIRED)
    code: Concept | None = about(
        "How others coded the session, where that says more than the modality", example={"text": "infusion"}
    )
    billing_code: Literal["G2082", "G2083"] | None = about("HCPCS code of an esketamine visit", example="G2082")
    categories: tuple[Concept, ...] = about(
        "Categories, where they are not just psychiatry", example=[{"text": "day clinic"}], default=()
    )
    status: SessionStatus = about("Where the session stands", example="completed", default=REQUIRED)
    status_reason: Concept | None = about("Why it was stopped or not done", example={"text": "patient refused"})
    started_at: DateTime = about("Start of the visit", example="2026-11-20T10:00:00-05:00", default=REQUIRED)
    ended_at: DateTime | None = about("End of the visit, observation included", example="2026-11-20T12:05:00-05:00")
    monitoring: Period | None = about(
        "From the first device on to the end of monitoring (REMS: at least 120 minutes)",
        example={"start": "2026-11-20T09:50:00-05:00", "end": "2026-11-20T12:05:00-05:00"},
    )
    recorded_at: DateTime | None = about("When the record was made", example="2026-11-20T12:10:00-05:00")
    recorded_by: Ref | None = about("Who made it", example={"type": "Practitioner", "identifier": {"value": "RN-7"}})
    reported_by: Ref | None = about("Who told of it, if not seen here", example={"type": "Patient", "display": "self"})
    indications: tuple[Indication | Concept, ...] = about("Why", example=["major_depression"], default=())
    conditions: tuple[Ref, ...] = about(
        "Diagnoses it treats", example=[{"type": "Condition", "identifier": {"value": "D-1"}}], default=()
    )
    administrations: tuple[Administration, ...] = about(
        "What was given", example=[{"medication": "ketamine", "dose": {"value": 35, "unit": "mg"}}], default=()
    )
    session_number: Count | None = about("Number within its series", example=3)
    series: Series | None = about("The series", example={"phase": "induction", "planned_sessions": 6})
    based_on: tuple[Ref, ...] = about(
        "Order or care plan", example=[{"type": "ServiceRequest", "identifier": {"value": "O-1"}}], default=()
    )
    part_of: tuple[Ref, ...] = about(
        "Larger procedure it is part of", example=[{"type": "Procedure", "identifier": {"value": "S-0"}}], default=()
    )
    performers: tuple[Performer, ...] = about(
        "Who did what",
        example=[{"actor": {"type": "Practitioner", "identifier": {"value": "MD-2"}}, "function": "supervising"}],
        default=(),
    )
    location: Ref | None = about("Where", example={"type": "Location", "identifier": {"value": "ROOM-1"}})
    outcome: SessionOutcome | Concept | None = about("How it went", example="successful")
    discharge: DischargeReadiness | None = about("Readiness to leave", example={"ready": True})
    complications: tuple[Concept, ...] = about("What went wrong, coded", example=[{"text": "nausea"}], default=())
    complication_conditions: tuple[Ref, ...] = about(
        "What went wrong, as diagnoses", example=[{"type": "Condition", "identifier": {"value": "D-2"}}], default=()
    )
    adverse_events: tuple[Ref, ...] = about(
        "Adverse events of the session",
        example=[{"type": "AdverseEvent", "identifier": {"value": "77"}}],
        default=(),
    )
    follow_up: tuple[Concept, ...] = about("What comes after", example=[{"text": "call next day"}], default=())
    next_visit: DateTime | None = about("Next visit", example="2026-11-24")
    body_sites: tuple[Concept, ...] = about("Muscle or nostril", example=[{"text": "left deltoid"}], default=())
    equipment: tuple[Ref, ...] = about(
        "Pump, oximeter", example=[{"type": "Device", "identifier": {"value": "PUMP-3"}}], default=()
    )
    focal_devices: tuple[FocalDevice, ...] = about(
        "Devices put in or changed", example=[{"device": {"type": "Device", "identifier": {"value": "P"}}}], default=()
    )
    equipment_codes: tuple[Concept, ...] = about("Equipment by kind", example=[{"text": "syringe pump"}], default=())
    reports: tuple[Ref, ...] = about(
        "Reports about it", example=[{"type": "DocumentReference", "identifier": {"value": "DOC-9"}}], default=()
    )
    supporting_records: tuple[Ref, ...] = about(
        "Vitals and scales it rests on; mostly they point to the session instead",
        example=[{"type": "Observation", "identifier": {"value": "V-1"}}],
        default=(),
    )
    rems: RemsSession | None = about("REMS data", example={"program": "spravato", "enrolled": True})
    concomitant_medications: tuple[MedicationFlag, ...] = about(
        "Other medicines by class", example=[{"medication_class": "benzodiazepine", "taking": False}], default=()
    )
    vitals_acceptable: VitalsAcceptable | None = about("REMS vital signs", example={"pre_administration": True})
    kap: KapDetail | None = about("Psychotherapy details", example={"phase": "dosing", "music": True})

    @model_validator(mode="after")
    def _holds_together(self) -> Session:
        check_order(self.started_at, self.ended_at)
        if not self.administrations and self.modality != "other" and self.status not in NOT_GIVEN:
            raise PydanticCustomError(
                "administration_missing", "a session that took place needs at least one administration"
            )
        if self.modality == "other" and self.code is None:
            raise PydanticCustomError("code_missing", "a session of another modality needs a code")
        return self
