"""The record: one night as the patient wrote it down. No FHIR in here."""

from __future__ import annotations

import decimal
from typing import Annotated, ClassVar, Literal

from pydantic import Field, Strict, model_validator
from pydantic_core import PydanticCustomError

from fhirbridge.records import Amount, Concept, DateTime, Record, Ref
from fhirbridge.records.base import REQUIRED, Flag, about, check_order
from fhirbridge.records.plausible import check_amount

_DAY = decimal.Decimal(24 * 60)


class SleepNight(Record):
    """One night of a sleep diary."""

    kind: ClassVar[str] = "sleep_diary"

    status: Literal["final", "corrected", "entered_in_error"] = about(
        "Status of the entry", example="final", default=REQUIRED
    )
    went_to_bed: DateTime = about("Lights out", example="2026-11-20T23:10:00-05:00", default=REQUIRED)
    got_up: DateTime = about("Out of bed for good", example="2026-11-21T06:45:00-05:00", default=REQUIRED)
    asleep: Amount = about(
        "Time asleep as estimated", example={"value": 390, "unit": "min"}, unit="min or h", default=REQUIRED
    )
    awakenings: Annotated[int, Strict(), Field(ge=0, le=200)] | None = about("Times awake in the night", example=2)
    quality: Literal["poor", "fair", "good"] | Concept | None = about("How the night was", example="fair")
    sleep_aid: Flag | None = about("Whether something was taken in order to sleep", example=False)
    after_session: Ref | None = about(
        "Treatment session of the day before",
        example={
            "type": "Procedure",
            "identifier": {"system": "https://clinic.example/sid/treatment-session", "value": "6f2c1d0e"},
        },
    )
    reported_by: Ref | None = about("Who kept the diary", example={"type": "Patient", "display": "self"})

    @model_validator(mode="after")
    def _is_a_night(self) -> SleepNight:
        check_order(self.went_to_bed, self.got_up)
        check_amount(self.asleep, "duration")
        if self.asleep.unit not in ("min", "h"):
            raise PydanticCustomError("unit", "time asleep is given in min or h")
        if self.asleep.value.as_decimal() * (60 if self.asleep.unit == "h" else 1) > _DAY:
            raise PydanticCustomError("implausible", "nobody sleeps longer than a day in one night")
        return self
