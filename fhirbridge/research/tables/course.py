"""``session_course``: vital signs and scores of a session side by side, by the minute from its dose.

Made of the tables ``vitals`` and ``assessments``: a minute is the planned one where one was recorded, else the one by
the clock. Where something was measured more than once in a minute, the first measurement stands; the others are in the
long tables.
"""

from __future__ import annotations

from fhirbridge.research.columns import Column, TableShape
from fhirbridge.research.tables import common
from fhirbridge.research.tables.values import STANDARD

_NUMBERS = tuple(name for name in STANDARD if name not in ("weight", "height", "bmi"))
_SCORES = ("cadss", "cadss6", "bprs", "bprs_positive4", "moaas", "rass", "pain_nrs")

SHAPE = TableShape(
    "session_course",
    "One row for each minute of a session at which anything was measured",
    (
        common.PATIENT,
        Column("session", "The session", "pseudonym", ("session",)),
        Column("minute", "Minutes from the dose; negative before it", "integer", ("offset_from_dose", "measured_at"),
               "min", computed=True),
        *(
            Column(name, f"{name.replace('_', ' ').capitalize()}, standard unit", "number", ("readings[].value",),
                   STANDARD[name], computed=True)
            for name in _NUMBERS
        ),
        *(Column(name, f"Total of {name}", "number", ("score",), "{score}", computed=True) for name in _SCORES),
    ),
    ("patient", "session", "minute"),
)  # fmt: skip

_MINUTE = "cast(floor(coalesce(planned_minute, minutes_from_dose)) as integer)"
_FIRST = "first({value} order by replicate, exact, record, {value}) filter (what = '{name}')"


def query(vitals: str, assessments: str) -> str:
    """The SQL that makes the table of two relations (DuckDB), its columns in order, its rows in no order."""
    wanted = ", ".join(f"{_FIRST.format(value='value', name=name)} as {name}" for name in (*_NUMBERS, *_SCORES))
    return f"""
        select patient, session, minute, {wanted} from (
            select patient, session, {_MINUTE} as minute, coalesce(minutes_from_dose, planned_minute) as exact,
                coalesce(replicate_number, 0) as replicate, vital as record, standard_value as value,
                case when name = 'value' then cast(sign as varchar) else cast(name as varchar) end as what
            from {vitals} where session is not null and standard_value is not null
                and sign not in ('weight', 'height', 'bmi')
            union all
            select patient, session, {_MINUTE}, coalesce(minutes_from_dose, planned_minute), 0, assessment, score,
                cast(scale as varchar)
            from {assessments} where session is not null and score is not null
                and scale in ({", ".join(f"'{name}'" for name in _SCORES)})
        ) where minute is not null group by patient, session, minute"""  # noqa: S608
