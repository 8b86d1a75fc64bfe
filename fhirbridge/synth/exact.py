"""Exact decimal text from whole numbers: doses are multiplied and divided without rounding."""

from __future__ import annotations

from typing import Any

from fhirbridge.records.text import Decimal


def fixed(units: int, places: int) -> Decimal:
    """``units`` of 10^-``places`` with all its places: ``fixed(50, 2)`` is ``0.50``. Not for negative numbers."""
    whole, part = divmod(units, 10**places)
    return Decimal(f"{whole}.{part:0{places}d}" if places else str(whole))


def plain(units: int, places: int) -> int | Decimal:
    """The same number without needless zeros: ``plain(36500, 3)`` is ``36.5``, ``plain(35000, 3)`` the integer 35."""
    while places and units % 10 == 0:
        units //= 10
        places -= 1
    return fixed(units, places) if places else units


def amount(value: int | Decimal, unit: str) -> dict[str, Any]:
    """A number with its UCUM unit."""
    return {"value": value, "unit": unit}
