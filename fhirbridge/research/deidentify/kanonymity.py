"""k-anonymity: how many rows share the quasi-identifiers of each row, and for how many it is few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

_ASKED = (2, 5, 11)


@dataclass(frozen=True, slots=True)
class KAnonymity:
    """``k`` is the size of the smallest group of rows that are alike in ``columns``; ``below`` says, for each of a few
    numbers, how many rows stand in a smaller group than that. A missing value is a value.
    """

    columns: tuple[str, ...]
    rows: int
    groups: int
    k: int
    below: dict[int, int]


def kanonymity(table: pa.Table, columns: Sequence[str]) -> KAnonymity:
    """The report for these columns of a table; raises ``KeyError`` for a column that it has not got."""
    rows = table.num_rows
    if rows == 0:
        return KAnonymity(tuple(columns), 0, 0, 0, dict.fromkeys(_ASKED, 0))
    if not columns:
        return KAnonymity((), rows, 1, rows, {few: rows if rows < few else 0 for few in _ASKED})
    counted = _decoded(table.select(list(columns))).group_by(list(columns)).aggregate([([], "count_all")])
    sizes = counted.column("count_all").to_pylist()
    below = {few: sum(size for size in sizes if size < few) for few in _ASKED}
    return KAnonymity(tuple(columns), rows, len(sizes), min(sizes), below)


def _decoded(table: pa.Table) -> pa.Table:
    import pyarrow as pa

    for number, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(number, field.name, table.column(number).cast(field.type.value_type))
    return table
