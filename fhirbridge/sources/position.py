"""How far a SQL query was read: the highest mark, and which rows were read at that mark. Pure.

Rows may share a mark (a time stamp), and one more may come at the mark that was the highest: so the rows at the mark
are asked for again, and those that were read are known by keyed digests. A row without a mark is known in the same way.
"""

from __future__ import annotations

import datetime as dt
import decimal
import json
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

Mark: TypeAlias = int | float | decimal.Decimal | str | dt.date

# More rows than these at one mark are read again: their content is unchanged, and is not sent again.
_MOST_SEEN = 2_000


@dataclass(frozen=True, slots=True)
class Position:
    """``seen`` are digests of the rows that were read at ``mark``, ``unmarked`` of those that have none."""

    mark: Mark | None = None
    seen: frozenset[str] = frozenset()
    unmarked: frozenset[str] = frozenset()

    @classmethod
    def read(cls, text: str | None) -> Self:
        """A position as the ledger keeps it; anything else means from the beginning."""
        try:
            kind, value, seen, unmarked = json.loads(text or "")
            return cls(_READ[kind](value), frozenset(seen), frozenset(unmarked))
        except (ValueError, TypeError, KeyError, decimal.InvalidOperation):
            return cls()

    def __str__(self) -> str:
        kind, value = _written(self.mark)
        kept = (sorted(one) if len(one) <= _MOST_SEEN else [] for one in (self.seen, self.unmarked))
        return json.dumps([kind, value, *kept], separators=(",", ":"))


def is_mark(value: object) -> bool:
    """Whether a value of a database can be kept as a mark. Not a number is none: it is neither more nor less."""
    if isinstance(value, str):
        return not any("\ud800" <= character <= "\udfff" for character in value)
    return isinstance(value, int | float | decimal.Decimal | dt.date) and value == value


def _written(mark: Mark | None) -> tuple[str, str]:
    match mark:
        case None:
            return "none", ""
        case dt.datetime():
            return "moment", mark.isoformat()
        case dt.date():
            return "day", mark.isoformat()
        case float():
            return "float", repr(mark)
        case int():
            return "int", str(int(mark))
        case decimal.Decimal():
            return "decimal", str(mark)
        case _:
            return "text", mark


_READ: dict[str, Any] = {
    "none": lambda text: None,
    "moment": dt.datetime.fromisoformat,
    "day": dt.date.fromisoformat,
    "float": float,
    "int": int,
    "decimal": decimal.Decimal,
    "text": str,
}
