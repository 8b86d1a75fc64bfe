"""Units and ranges: which numbers a clinic can have meant.

Parsing a unit is not enough (``MG`` is a megagauss, ``ML`` a megalitre), so each quantity has a closed list of UCUM
codes and, per code, a range outside which the number is refused. The ranges are wide: they catch slips of unit and of
the decimal point, not unusual patients. Conversion factors are exact (specification §3.2, value and unit).
"""

from __future__ import annotations

import decimal
from typing import TYPE_CHECKING, NamedTuple

from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from fhirbridge.records.base import Amount


class Range(NamedTuple):
    """The lowest and the highest plausible value, both included."""

    low: decimal.Decimal
    high: decimal.Decimal


def _table(text: str) -> dict[str, dict[str, Range]]:
    table: dict[str, dict[str, Range]] = {}
    for line in text.strip().splitlines():
        quantity, unit, low, high = line.split()
        table.setdefault(quantity, {})[unit] = Range(decimal.Decimal(low), decimal.Decimal(high))
    return table


# quantity, UCUM code, lowest, highest
RANGES = _table("""
systolic          mm[Hg]     20     350
systolic          kPa        2.5    47
diastolic         mm[Hg]     5      250
diastolic         kPa        0.6    34
mean              mm[Hg]     10     300
mean              kPa        1.3    40
heart_rate        /min       0      400
respiratory_rate  /min       0      120
oxygen_saturation %          0      100
fio2              %          15     100
fio2              1          0.15   1
o2_flow           L/min      0      80
o2_flow           mL/min     0      80000
temperature       Cel        20     46
temperature       [degF]     68     115
temperature       K          293    320
etco2             mm[Hg]     0      150
etco2             kPa        0      20
etco2_fraction    %          0      20
weight            kg         0.3    500
weight            g          300    500000
weight            [lb_av]    0.6    1100
height            cm         20     280
height            [in_i]     8      110
height            m          0.2    2.8
bmi               kg/m2      5      150
dose              mg         0      2000
dose              ug         0      2000000
dose_per_weight   mg/kg      0      20
dosing_weight     kg         0.3    500
dosing_weight     g          300    500000
dosing_weight     [lb_av]    0.6    1100
rate              mg/min     0      200
rate              mg/h       0      2000
rate              mg/kg/h    0      50
rate              ug/kg/min  0      500
concentration     mg/mL      0      1000
volume            mL         0      5000
wasted            mg         0      2000
wasted            mL         0      500
score             {score}    -1000  10000
offset            min        -14400 100000
offset            s          -864000 6000000
offset            h          -240   10000
offset            d          -10    1000
duration          min        0      100000
duration          h          0      10000
duration          s          0      6000000
""")

# What people type, and the UCUM code they mean.
_MEANT = {
    "mmhg": "mm[Hg]", "mm hg": "mm[Hg]", "bpm": "/min", "beats/min": "/min", "{beats}/min": "/min",
    "breaths/min": "/min", "1/min": "/min", "percent": "%", "pct": "%", "c": "Cel", "°c": "Cel", "celsius": "Cel",
    "f": "[degF]", "°f": "[degF]", "lpm": "L/min", "l/min": "L/min", "mcg": "ug", "µg": "ug", "lb": "[lb_av]",
    "lbs": "[lb_av]", "in": "[in_i]", "inch": "[in_i]", "kg/m^2": "kg/m2", "kg/m²": "kg/m2", "points": "{score}",
    "minutes": "min", "hours": "h", "mg": "mg", "ml": "mL", "kg": "kg", "mcg/kg/min": "ug/kg/min", "mg/ml": "mg/mL",
}  # fmt: skip


def check_amount(amount: Amount | None, quantity: str) -> None:
    """Refuse an amount whose unit is not one of ``quantity`` or whose value cannot be meant."""
    if amount is not None:
        check_value(amount.value.as_decimal(), amount.unit, quantity)


def check_value(value: decimal.Decimal, unit: str, quantity: str) -> None:
    """Refuse a unit outside the closed list of ``quantity`` or a value outside its range."""
    units = RANGES[quantity]
    limits = units.get(unit)
    if limits is None:
        meant = _MEANT.get(unit.lower())
        hint = f"; write {meant}" if meant in units else ""
        raise PydanticCustomError(
            "unit",
            "{quantity} is not given in this unit; allowed: {allowed}{hint}",
            {"quantity": quantity.replace("_", " "), "allowed": ", ".join(units), "hint": hint},
        )
    if not limits.low <= value <= limits.high:
        raise PydanticCustomError(
            "implausible",
            "{quantity} lies outside {low} to {high} {unit}",
            {"quantity": quantity.replace("_", " "), "low": str(limits.low), "high": str(limits.high), "unit": unit},
        )
