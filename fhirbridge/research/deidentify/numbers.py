"""Numbers: within the range of what they can mean, and with no more digits than anybody measures."""

from __future__ import annotations

import decimal

from fhirbridge.records.plausible import RANGES, Range
from fhirbridge.records.text import Decimal
from fhirbridge.research.deidentify.profile import Numbers

# By unit, the widest range of all quantities that are given in it.
UNITS: dict[str, Range] = {}
for _units in RANGES.values():
    for _unit, _range in _units.items():
        _wide = UNITS.get(_unit, _range)
        UNITS[_unit] = Range(min(_wide.low, _range.low), max(_wide.high, _range.high))


class NumberLimits:
    """The limits of one profile."""

    __slots__ = ("_context", "_points", "digits", "largest_count")

    def __init__(self, numbers: Numbers) -> None:
        self.digits = numbers.digits
        self._context = decimal.Context(prec=numbers.digits, rounding=decimal.ROUND_HALF_EVEN)
        self._points = numbers.points
        self.largest_count = numbers.largest_count

    def shortened(self, number: Decimal) -> Decimal:
        """The number itself, or rounded where it has more digits than the profile allows."""
        if len(number.text) <= self.digits:
            return number
        exact = number.as_decimal()
        if len(exact.as_tuple().digits) <= self.digits:
            return number
        return Decimal(f"{self._context.plus(exact):f}")

    def points(self, number: Decimal) -> Decimal | None:
        """The number where it can be points of a scale."""
        low, high = self._points
        return self.shortened(number) if low <= number.as_decimal() <= high else None

    def in_unit(self, number: Decimal, unit: str) -> Decimal | None:
        """The number where something can be measured so in that unit."""
        limits = UNITS.get(unit)
        if limits is None or not limits.low <= number.as_decimal() <= limits.high:
            return None
        return self.shortened(number)
