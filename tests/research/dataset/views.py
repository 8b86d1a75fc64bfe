"""Our views through an engine that others wrote, against our tables, column by column.

python -m tests.research.dataset.views --patients 50
"""

from __future__ import annotations

import argparse
import copy
import datetime as dt
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import sqlonfhir

from fhirbridge.research.tables import TABLES
from fhirbridge.synth import Options
from tests.research.dataset.builds import built
from tests.research.dataset.clinics import resources, write_source


def compared(folder: Path, name: str) -> tuple[int, Counter[tuple[Any, ...]], Counter[tuple[Any, ...]]]:
    """How many rows a table has, those that only the view gives, and those that only the table has."""
    view = json.loads((folder / "views" / f"{name}.json").read_text("utf-8"))
    path = folder / "resources" / f"{view['resource']}.ndjson"
    trees = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    given = sqlonfhir.evaluate(trees, copy.deepcopy(view))
    columns = columns_of(folder, name)
    table = pq.read_table(folder / f"{name}.parquet").select(columns).to_pylist()
    ours = Counter(tuple(_plain(row[column]) for column in columns) for row in table)
    theirs = Counter(tuple(_plain(row[column]) for column in columns) for row in given)
    return len(table), theirs - ours, ours - theirs


def columns_of(folder: Path, name: str) -> list[str]:
    """The columns that the view and the table both have."""
    view = json.loads((folder / "views" / f"{name}.json").read_text("utf-8"))
    named = _named(view)
    return [one.name for one in TABLES[name].columns if one.name in named]


def _named(node: Any) -> set[str]:
    """Every column that a view names."""
    if isinstance(node, list):
        return set().union(*map(_named, node)) if node else set()
    if not isinstance(node, dict):
        return set()
    own = {one["name"] for one in node.get("column", ())}
    return own.union(*(_named(node.get(part, [])) for part in ("select", "unionAll")))


def _plain(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=None).isoformat()
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float) or type(value).__name__ == "Decimal":
        return round(float(value), 6)
    text = str(value)
    try:
        return dt.datetime.fromisoformat(text).replace(tzinfo=None).isoformat() if text[4:5] == "-" else text
    except ValueError:
        return text


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the views with the tables.")
    parser.add_argument("--patients", type=int, default=50)
    parser.add_argument("--sessions", type=int, default=2, help="most visits per patient")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        options = Options(said.patients, seed=11, consent="all-permit", sessions=said.sessions)
        source = write_source(Path(place) / "source", resources(options))
        folder = built(source, Path(place) / "out", resources=True).folder
        wrong = 0
        for path in sorted((folder / "views").glob("*.json")):
            rows, more, fewer = compared(folder, path.stem)
            wrong += more.total() + fewer.total()
            columns = len(columns_of(folder, path.stem))
            sys.stdout.write(
                f"{path.stem}: {rows} rows, {columns} columns, {more.total()} only of the view,"
                f" {fewer.total()} only of the table\n"
            )
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
