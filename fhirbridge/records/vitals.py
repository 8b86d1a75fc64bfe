"""Vital signs and rating scales (specification §3.2, §3.3)."""

from __future__ import annotations

import functools
from typing import ClassVar, Literal, NamedTuple

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from fhirbridge.records.base import (
    REQUIRED,
    Amount,
    Code,
    Concept,
    Count,
    Language,
    Model,
    Record,
    Ref,
    Text,
    Uri,
    about,
)
from fhirbridge.records.plausible import check_amount, check_value
from fhirbridge.records.text import DateTime, Decimal, Instant

MeasurementStatus = Literal[
    "registered", "preliminary", "final", "amended", "corrected", "cancelled", "entered_in_error", "unknown"
]
Timepoint = Literal[
    "baseline",
    "pre_dose",
    "during_infusion",
    "end_of_infusion",
    "post_15min",
    "post_30min",
    "post_40min",
    "post_60min",
    "post_90min",
    "post_120min",
    "pre_discharge",
    "follow_up_24h",
    "unscheduled",
]
AbsentReason = Literal[
    "unknown",
    "asked_unknown",
    "temp_unknown",
    "not_asked",
    "asked_declined",
    "masked",
    "not_applicable",
    "unsupported",
    "as_text",
    "error",
    "not_performed",
    "not_permitted",
]
Derivation = Literal["measured", "calculated", "device", "patient_reported", "estimated"]
Interpretation = Literal["normal", "high", "low", "critically_high", "critically_low", "abnormal"]
Position = Literal["sitting", "supine", "recumbent", "standing"]
OxygenDelivery = Literal["room_air", "nasal_cannula", "simple_mask", "non_rebreather", "other"]
VitalKind = Literal[
    "blood_pressure",
    "heart_rate",
    "respiratory_rate",
    "oxygen_saturation",
    "temperature",
    "etco2",
    "etco2_fraction",
    "weight",
    "height",
    "bmi",
    "heart_rhythm",
    "level_of_consciousness",
    "level_of_responsiveness",
]
BP_PARTS = ("systolic", "diastolic", "mean")
FINDINGS = frozenset({"heart_rhythm", "level_of_consciousness", "level_of_responsiveness"})


class Measurement(Model):
    """One number of a vital sign, or the reason why there is none."""

    name: Literal["systolic", "diastolic", "mean", "value"] = about(
        "Which number: systolic, diastolic or mean of a blood pressure, else value",
        example="systolic",
        default=REQUIRED,
    )
    value: Decimal | None = about("Number, digits kept as written", example=138)
    unit: Code | None = about("UCUM code of the unit", example="mm[Hg]")
    comparator: Literal["<", "<=", ">=", ">"] | None = about("Where the true value lies beyond", example="<")
    absent_reason: AbsentReason | Concept | None = about("Why there is no number", example="not_performed")
    derivation: Derivation | None = about("How it came about", example="measured")

    @model_validator(mode="after")
    def _value_or_reason(self) -> Measurement:
        if (self.value is None) == (self.absent_reason is None):
            raise PydanticCustomError("value_or_reason", "give a value or an absent_reason, not both")
        if (self.value is None) != (self.unit is None):
            raise PydanticCustomError("unit_missing", "a value and its unit belong together")
        return self


class Oxygen(Model):
    """What the patient breathed during the measurement."""

    delivery: OxygenDelivery | Concept | None = about("Way of delivery", example="room_air")
    flow: Amount | None = about("Flow", example={"value": 2, "unit": "L/min"}, unit="L/min")
    fio2: Amount | None = about("Inspired oxygen", example={"value": 28, "unit": "%"}, unit="%")

    @model_validator(mode="after")
    def _units(self) -> Oxygen:
        check_amount(self.flow, "o2_flow")
        check_amount(self.fio2, "fio2")
        if self.delivery is None and self.flow is None and self.fio2 is None:
            raise PydanticCustomError("empty", "oxygen needs a delivery, a flow or a fraction")
        return self


class ReferenceRange(Model):
    """What would be normal."""

    low: Amount | None = about("Lowest normal value", example={"value": 90, "unit": "mm[Hg]"})
    high: Amount | None = about("Highest normal value", example={"value": 140, "unit": "mm[Hg]"})
    text: Text | None = about("In words", example="90 to 140")

    @model_validator(mode="after")
    def _says_something(self) -> ReferenceRange:
        if self.low is None and self.high is None and self.text is None:
            raise PydanticCustomError("empty", "a reference range needs a low, a high or a text")
        return self


class Observed(Record):
    """What vital signs and rating scales share."""

    status: MeasurementStatus = about("Status of the measurement", example="final", default=REQUIRED)
    measured_at: DateTime = about(
        "When it was measured, to the day at least", example="2026-11-20T10:41:00-05:00", default=REQUIRED
    )
    recorded_at: Instant | None = about("When it became available", example="2026-11-20T10:42:00-05:00")
    session: Ref | None = about(
        "The treatment session it belongs to",
        example={
            "type": "Procedure",
            "identifier": {"system": "https://clinic.example/sid/treatment-session", "value": "6f2c1d0e"},
        },
    )
    part_of: tuple[Ref, ...] = about(
        "What else it belongs to, such as the administration",
        example=[{"type": "MedicationAdministration", "identifier": {"value": "6f2c1d0e-1"}}],
        default=(),
    )
    timepoint: Timepoint | Concept | None = about("Planned time of the measurement", example="post_40min")
    offset_from_dose: Amount | None = about(
        "Time since the dose; negative before it", example={"value": 41, "unit": "min"}, unit="min"
    )
    replicate_number: Count | None = about("Number of the repeat measurement", example=1)
    performers: tuple[Ref, ...] = about(
        "Who measured or rated", example=[{"type": "Practitioner", "identifier": {"value": "RN-7"}}], default=()
    )
    derivation: Derivation | None = about("How the value came about", example="measured")
    derived_from: tuple[Ref, ...] = about(
        "What it was calculated from", example=[{"type": "Observation", "identifier": {"value": "V-9"}}], default=()
    )
    interpretation: tuple[Interpretation | Concept, ...] = about(
        "Assessment of the value", example=["high"], default=()
    )
    reference_ranges: tuple[ReferenceRange, ...] = about("What is normal", example=[{"text": "90 to 140"}], default=())
    categories: tuple[Concept, ...] = about("Categories others gave", example=[{"text": "triage"}], default=())
    code: Concept | None = about(
        "How others coded it, where that says more than the word used here", example={"text": "RR sitting"}
    )

    @model_validator(mode="after")
    def _time_is_a_day(self) -> Observed:
        if len(self.measured_at) < 10:
            raise PydanticCustomError("too_coarse", "the time of a measurement is wanted to the day at least")
        check_amount(self.offset_from_dose, "offset")
        if self.session is not None and not self.session.points_to("Procedure"):
            raise PydanticCustomError("session", "a session is a reference of type Procedure")
        if self.session is None and any(ref.points_to("Procedure") for ref in self.part_of):
            raise PydanticCustomError("session", "the treatment session belongs into the field session")
        return self


@functools.lru_cache(maxsize=1024)
def _misfit(
    sign: str, names: tuple[str, ...], derived: bool, has_finding: bool, has_reason: bool
) -> PydanticCustomError | None:
    """What is wrong with the parts of a vital sign, whatever their values."""
    if len(set(names)) != len(names):
        return PydanticCustomError("repeated", "a number is given twice")
    pressure = sign == "blood_pressure"
    allowed = BP_PARTS if pressure else () if sign in FINDINGS else ("value",)
    if not set(names) <= set(allowed):
        return PydanticCustomError("readings", "this vital sign has no such number")
    if names != tuple(name for name in allowed if name in names):
        return PydanticCustomError("readings", "the numbers come in the order systolic, diastolic, mean")
    if pressure and names[:2] != ("systolic", "diastolic"):
        return PydanticCustomError(
            "readings", "a blood pressure has a systolic and a diastolic number, or the reason why one is absent"
        )
    if derived and not pressure:
        return PydanticCustomError("readings", "absent_reason and derivation belong to the vital sign itself here")
    if sign == "bmi" and not names:
        # Its profile wants a value even beside a reason (trap T8).
        return PydanticCustomError("readings", "a body mass index has a value")
    if bool(names) + has_finding + has_reason != 1 or (has_finding and sign not in FINDINGS):
        return PydanticCustomError(
            "value_or_reason", "give the readings (or the finding, where the sign is one) or an absent_reason"
        )
    return None


class VitalSign(Observed):
    """One vital sign: a blood pressure with its parts, or a single number or finding."""

    kind: ClassVar[str] = "vital_sign"

    sign: VitalKind = about("Which vital sign", example="blood_pressure", default=REQUIRED)
    readings: tuple[Measurement, ...] = about(
        "The numbers",
        example=[
            {"name": "systolic", "value": 138, "unit": "mm[Hg]"},
            {"name": "diastolic", "value": 86, "unit": "mm[Hg]"},
        ],
        default=(),
    )
    finding: Concept | None = about("Coded finding (rhythm, consciousness)", example={"text": "sinus rhythm"})
    absent_reason: AbsentReason | Concept | None = about("Why nothing was measured at all", example="not_performed")
    position: Position | Concept | None = about("Position of the body", example="sitting")
    body_site: Concept | None = about("Site and side", example={"text": "left arm"})
    cuff_size: Concept | None = about("Size of the cuff", example={"text": "adult"})
    method: Concept | None = about("Method", example={"text": "oscillometric"})
    device: Ref | None = about("Device", example={"type": "Device", "identifier": {"value": "SN-42"}})
    oxygen: Oxygen | None = about("Oxygen during the measurement", example={"delivery": "room_air"})

    @model_validator(mode="after")
    def _fits_the_sign(self) -> VitalSign:
        readings = self.readings
        misfit = _misfit(
            self.sign,
            tuple([reading.name for reading in readings]),
            any(reading.absent_reason is not None or reading.derivation is not None for reading in readings),
            self.finding is not None,
            self.absent_reason is not None,
        )
        if misfit is not None:
            raise misfit.with_traceback(None)
        for reading in self.readings:
            if reading.value is not None and reading.unit is not None:
                quantity = self.sign if reading.name == "value" else reading.name
                check_value(reading.value.as_decimal(), reading.unit, quantity)
        if self.oxygen is not None and self.sign != "oxygen_saturation":
            raise PydanticCustomError("oxygen", "oxygen is recorded with the oxygen saturation")
        return self


class ScaleRange(NamedTuple):
    """Lowest and highest total of a scale."""

    low: int
    high: int


SCALE_RANGES: dict[str, ScaleRange] = {
    "phq9": ScaleRange(0, 27),
    "phq2": ScaleRange(0, 6),
    "gad7": ScaleRange(0, 21),
    "madrs": ScaleRange(0, 60),
    "qids_sr16": ScaleRange(0, 27),
    "pcl5": ScaleRange(0, 80),
    "cssrs_ideation": ScaleRange(1, 5),
    "cssrs_risk": ScaleRange(0, 3),
    "cadss": ScaleRange(0, 92),
    "cadss6": ScaleRange(0, 24),
    "bprs": ScaleRange(0, 126),
    "bprs_positive4": ScaleRange(0, 24),
    "moaas": ScaleRange(0, 5),
    "rass": ScaleRange(-5, 4),
    "pain_nrs": ScaleRange(0, 10),
}
Scale = Literal[
    "phq9",
    "phq2",
    "gad7",
    "madrs",
    "qids_sr16",
    "pcl5",
    "cssrs_ideation",
    "cssrs_risk",
    "cadss",
    "cadss6",
    "bprs",
    "bprs_positive4",
    "moaas",
    "rass",
    "pain_nrs",
]
Mode = Literal["self_administered", "interview", "telephone", "video", "electronic"]


class Instrument(Model):
    """The questionnaire behind a score."""

    url: Uri | None = about("Canonical address", example="https://loinc.org/q/44249-1")
    version: Text | None = about("Version", example="2")
    language: Language | None = about("Language it was given in", example="en-US")
    recall: Text | None = about("Period asked about", example="last 2 weeks")

    @model_validator(mode="after")
    def _says_something(self) -> Instrument:
        if self.url is None and self.version is None and self.language is None and self.recall is None:
            raise PydanticCustomError("empty", "an instrument needs at least one field")
        return self


class Item(Model):
    """One item of a scale: its id, never the wording of the question."""

    item: Code = about("Item id", example="phq9-1", default=REQUIRED)
    code: Concept | None = about("How others coded the item", example={"text": "mood"})
    value: Decimal | None = about("Points", example=2)
    answer: Concept | None = about("Coded answer", example={"text": "several days"})
    absent_reason: AbsentReason | Concept | None = about("Why there is no answer", example="asked_declined")

    @model_validator(mode="after")
    def _one_answer(self) -> Item:
        if (self.value is not None) + (self.answer is not None) + (self.absent_reason is not None) != 1:
            raise PydanticCustomError("value_or_reason", "give a value, an answer or an absent_reason")
        if self.code is not None and (not self.code.codings or self.code.codings[0].code != self.item):
            raise PydanticCustomError("item", "with a code of somebody else, the item id is its first coding's code")
        return self


class Assessment(Observed):
    """One rating scale or monitoring score."""

    kind: ClassVar[str] = "assessment"

    scale: Scale | Concept = about("Which scale", example="phq9", default=REQUIRED)
    score: Decimal | None = about("Total score", example=14, unit="{score}")
    comparator: Literal["<", "<=", ">=", ">"] | None = about("Where the true score lies", example="<")
    answer: Concept | None = about("Coded result, where the scale has no number", example={"text": "high risk"})
    absent_reason: AbsentReason | Concept | None = about("Why there is no result", example="asked_declined")
    items: tuple[Item, ...] = about("The items", example=[{"item": "phq9-1", "value": 2}], default=())
    severity_band: Text | None = about("Band in words", example="moderate")
    instrument: Instrument | None = about("The questionnaire", example={"version": "2", "recall": "last 2 weeks"})
    administration_mode: Mode | None = about("How it was given", example="self_administered")
    method: Concept | None = about("Method", example={"text": "structured interview"})
    device: Ref | None = about("Device", example={"type": "Device", "identifier": {"value": "TAB-1"}})
    body_site: Concept | None = about("Site (pain scales)", example={"text": "lower back"})

    @model_validator(mode="after")
    def _fits_the_scale(self) -> Assessment:
        said = (self.score is not None) + (self.answer is not None) + (self.absent_reason is not None)
        if said > 1 or (said == 0 and not self.items):
            raise PydanticCustomError("value_or_reason", "give a score, an answer, an absent_reason or items")
        if self.comparator is not None and self.score is None:
            raise PydanticCustomError("value_or_reason", "a comparator belongs to a score")
        if isinstance(self.scale, str) and self.score is not None:
            low, high = SCALE_RANGES[self.scale]
            if not low <= self.score.as_decimal() <= high:
                raise PydanticCustomError(
                    "implausible", "the score lies outside {low} to {high}", {"low": str(low), "high": str(high)}
                )
        if any(isinstance(one, Concept) and not one.codings for one in self.interpretation):
            raise PydanticCustomError("severity_band", "an interpretation in words only belongs into severity_band")
        if len({item.item for item in self.items}) != len(self.items):
            raise PydanticCustomError("repeated", "an item is listed twice")
        return self
