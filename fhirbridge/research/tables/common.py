"""Columns that several tables have."""

from __future__ import annotations

from fhirbridge.records.vitals import AbsentReason, Interpretation, MeasurementStatus, Timepoint
from fhirbridge.research.columns import Column, words_of

PATIENT = Column("patient", "The patient", "pseudonym", ("patient",))
SESSION = Column("session", "The treatment session it belongs to", "pseudonym", ("session",))
VOID = ("entered_in_error",)
COMPARATORS = ("<", "<=", ">=", ">")

STATUS = Column(
    "status", "Status of the measurement", "code", ("status",), vocabulary=words_of(MeasurementStatus, without=VOID)
)
TIMEPOINT = Column("timepoint", "Planned time", "code", ("timepoint",), vocabulary=words_of(Timepoint, open_=True))
PLANNED = Column(
    "planned_minute", "Minutes from the dose as recorded; negative before it", "offset", ("offset_from_dose",), "min"
)
FROM_DOSE = Column(
    "minutes_from_dose",
    "Minutes from the dose of its session to the measurement, by the clock",
    "offset",
    ("measured_at", "session.administrations[].period.start"),
    "min",
    computed=True,
)
FROM_FIRST = Column(
    "minutes_from_first_dose",
    "Minutes from the patient's first dose to the measurement",
    "offset",
    ("measured_at",),
    "min",
    computed=True,
)
DAYS = Column(
    "days_from_first_dose",
    "Days from the day of the patient's first dose; 0 on that day, negative before it",
    "offset",
    ("measured_at",),
    "d",
    computed=True,
)
MEASURED_AT = Column(
    "measured_at", "When it was measured, shifted; a day alone is its beginning", "shifted-time", ("measured_at",)
)
# Status and times of a measurement; :func:`.seen.measured` gives their values.
MEASURED = (STATUS, TIMEPOINT, PLANNED, FROM_DOSE, FROM_FIRST, DAYS, MEASURED_AT)
ABSENT = Column(
    "absent_reason", "Why there is no value", "code", ("absent_reason",), vocabulary=words_of(AbsentReason, open_=True)
)
INTERPRETATION = Column(
    "interpretation",
    "Assessment of the value, the first where there are several",
    "code",
    ("interpretation[0]",),
    vocabulary=words_of(Interpretation, open_=True),
)
