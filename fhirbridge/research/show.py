"""Summary tables of a dataset: how many of what, and the ranges of what was measured. No row of a patient is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from fhirbridge.research.manifest import shown
from fhirbridge.research.tables import TABLES


class Summary(NamedTuple):
    """A small table: its title, its columns, its rows as text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


_COUNTED = (
    ("sessions by modality and status", ("modality", "status"), "sessions"),
    ("adverse events by term and severity", ("term", "severity"), "adverse_events"),
    ("consents by type and state", ("consent_type", "state"), "consents"),
    ("assessments by scale", ("scale",), "assessments"),
)
_MEASURED = """
    select case when name = 'value' then sign else name end as what, standard_unit, count(standard_value),
        count(distinct patient), quantile_cont(standard_value, 0.05), median(standard_value),
        quantile_cont(standard_value, 0.95)
    from {vitals} group by all having count(standard_value) > 0 order by what"""


def summaries(folder: Path) -> list[Summary]:
    """The summaries of a dataset. Small counts are not told, nor ranges of fewer than five patients."""
    with duckdb.connect(config={"memory_limit": "96MB", "threads": 1}) as database:
        tables = {name: _relation(folder / f"{name}.parquet") for name in TABLES}
        rows = [
            (name, str(database.execute(f"select count(*) from {one}").fetchall()[0][0]))  # noqa: S608
            for name, one in tables.items()
        ]
        found = [Summary("rows", ("table", "rows"), tuple(rows))]
        for title, columns, name in _COUNTED:
            listed = ", ".join(columns)
            counted = database.execute(
                f"select {listed}, count(*), count(distinct patient) from {tables[name]} group by all order by all"  # noqa: S608
            ).fetchall()
            cells = tuple((*map(_word, row[:-2]), shown(row[-2]), shown(row[-1])) for row in counted)
            found.append(Summary(title, (*columns, "rows", "patients"), cells))
        measured = database.execute(_MEASURED.format(vitals=tables["vitals"])).fetchall()
        found.append(
            Summary(
                "vital signs in standard units",
                ("what", "unit", "numbers", "patients", "5th percentile", "median", "95th percentile"),
                tuple(_range(row) for row in measured),
            )
        )
    return found


def _range(row: tuple[Any, ...]) -> tuple[str, ...]:
    what, unit, numbers, patients, *percentiles = row
    few = shown(patients).startswith("<")
    return (what, unit, shown(numbers), shown(patients), *("" if few else f"{one:g}" for one in percentiles))


def _word(value: Any) -> str:
    return "" if value is None else str(value)


def _relation(path: Path) -> str:
    return "read_parquet('" + str(path).replace("'", "''") + "')"
