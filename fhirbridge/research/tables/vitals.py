"""``vitals``: one row for each number of each vital sign."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fhirbridge.records import Amount, Concept, VitalSign
from fhirbridge.records.plausible import RANGES
from fhirbridge.records.vitals import Derivation, OxygenDelivery, Position, VitalKind
from fhirbridge.research.columns import Column, TableShape, words_of
from fhirbridge.research.tables import common
from fhirbridge.research.tables.seen import Seen, measured
from fhirbridge.research.tables.values import STANDARD, coding_of, in_unit, name_in, standard, word

_UNITS = tuple(sorted({unit for quantity in STANDARD for unit in RANGES[quantity]}))
_LITRES = {"L/min": 1.0, "mL/min": 0.001}
_PERCENT = {"%": 1.0, "1": 100.0}

SHAPE = TableShape(
    "vitals",
    "One row for each number of a vital sign: a blood pressure has two or three rows, others one",
    (
        common.PATIENT,
        Column("vital", "The vital sign; the rows of one blood pressure share it", "pseudonym", ("id",)),
        common.SESSION,
        Column("sign", "Which vital sign", "code", ("sign",), vocabulary=words_of(VitalKind)),
        Column(
            "name",
            "Which number: systolic, diastolic or mean of a blood pressure, else value",
            "code",
            ("readings[].name",),
            vocabulary=("systolic", "diastolic", "mean", "value"),
        ),
        Column("value", "The number as recorded", "number", ("readings[].value",)),
        Column("unit", "UCUM unit of the number", "code", ("readings[].unit",), vocabulary=_UNITS),
        Column("standard_value", "The number in the standard unit", "number", ("readings[].value", "readings[].unit")),
        Column(
            "standard_unit",
            "UCUM unit of standard_value: one for each sign",
            "code",
            ("readings[].unit",),
            vocabulary=tuple(sorted(set(STANDARD.values()))),
        ),
        Column(
            "comparator",
            "Where the true value lies beyond",
            "code",
            ("readings[].comparator",),
            vocabulary=common.COMPARATORS,
        ),
        Column(
            "absent_reason",
            "Why there is no number",
            "code",
            ("readings[].absent_reason", "absent_reason"),
            vocabulary=common.ABSENT.vocabulary,
        ),
        Column(
            "finding", "First code of a coded finding (rhythm, consciousness)", "code", ("finding.codings[0].code",)
        ),
        *common.MEASURED,
        Column("replicate_number", "Number of the repeat measurement", "integer", ("replicate_number",)),
        Column("position", "Position of the body", "code", ("position",), vocabulary=words_of(Position, open_=True)),
        Column(
            "derivation",
            "How the vital sign came about",
            "code",
            ("derivation",),
            vocabulary=words_of(Derivation),
        ),
        Column(
            "reading_derivation",
            "How this number came about, where that was said of it alone",
            "code",
            ("readings[].derivation",),
            vocabulary=words_of(Derivation),
        ),
        common.INTERPRETATION,
        Column(
            "oxygen_delivery",
            "Way oxygen was given",
            "code",
            ("oxygen.delivery",),
            vocabulary=words_of(OxygenDelivery, open_=True),
        ),
        Column("oxygen_flow", "Flow of oxygen", "number", ("oxygen.flow",), "L/min"),
        Column("fio2", "Inspired oxygen", "number", ("oxygen.fio2",), "%"),
    ),
    ("patient", "vital", "name"),
)


def rows(record: VitalSign, seen: Seen) -> Iterator[tuple[Any, ...]]:
    """The rows of a de-identified vital sign."""
    fields = record.__dict__
    sign, absent, finding, oxygen = fields["sign"], fields["absent_reason"], fields["finding"], fields["oxygen"]
    given = fields["interpretation"]
    session = name_in(fields["session"])
    head = (seen.patient, fields["id"], session, sign)
    tail = (
        word(given[0]) if given else None,
        None if oxygen is None else word(oxygen.delivery),
        None if oxygen is None else _scaled(oxygen.flow, _LITRES),
        None if oxygen is None else _scaled(oxygen.fio2, _PERCENT),
    )
    middle = (
        *measured(fields, session, seen),
        fields["replicate_number"],
        word(fields["position"]),
        fields["derivation"],
    )
    for reading in fields["readings"]:
        of = reading.__dict__
        name, value, unit = of["name"], of["value"], of["unit"]
        if value is None:
            numbers: tuple[Any, ...] = (None, None, None, None, None, word(of["absent_reason"] or absent), None)
        else:
            as_recorded = float(value.text)
            wanted = STANDARD[sign if name == "value" else name]
            in_standard = standard(as_recorded, unit, wanted)
            numbers = (
                as_recorded,
                unit,
                in_standard,
                None if in_standard is None else wanted,
                of["comparator"],
                None,
                None,
            )
        yield (*head, name, *numbers, *middle, of["derivation"], *tail)
    if not fields["readings"]:
        yield (*head, "value", None, None, None, None, None, word(absent), _code(finding), *middle, None, *tail)


def _code(finding: Concept | None) -> str | None:
    coding = coding_of(finding)
    return None if coding is None else coding.code


def _scaled(amount: Amount | None, factors: dict[str, float]) -> float | None:
    for unit, factor in factors.items():
        value = in_unit(amount, unit)
        if value is not None:
            return round(value * factor, 6)
    return None
