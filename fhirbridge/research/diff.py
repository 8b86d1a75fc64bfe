"""What changed between two versions of a dataset, row by row: which came, which went, which say something else.

Rows are told by their keys, which are pseudonyms. What went has to go from every analysis too: it was corrected or
deleted, or may not be used any more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from fhirbridge.research.tables import TABLES


def compare(before: Path, after: Path) -> dict[str, Any]:
    """The difference of two versions: for each table the counts, and the keys of the rows. Raises ``OSError``."""
    with duckdb.connect(config={"memory_limit": "96MB", "threads": 1}) as database:
        tables = {name: _table(database, name, before, after) for name in TABLES if _there(name, before, after)}
    return {"from": before.name, "tables": tables}


def _there(name: str, *folders: Path) -> bool:
    return all((folder / f"{name}.parquet").is_file() for folder in folders)


def _table(database: duckdb.DuckDBPyConnection, name: str, before: Path, after: Path) -> dict[str, Any]:
    shape = TABLES[name]
    old, new = before / f"{name}.parquet", after / f"{name}.parquet"
    shared = [one for one in pq.read_schema(old).names if one in pq.read_schema(new).names]
    key = ", ".join(f'"{one}"' for one in shape.key)
    every = ", ".join(f'"{one}"' for one in shared)
    old_rows, new_rows = _relation(old), _relation(new)
    same = f"select {every} from {old_rows} intersect select {every} from {new_rows}"  # noqa: S608
    added = _keys(database, f"from {new_rows} anti join {old_rows} as old using ({key})", key)
    removed = _keys(database, f"from {old_rows} anti join {new_rows} as new using ({key})", key)
    changed = _keys(
        database,
        f"from {new_rows} semi join {old_rows} as old using ({key}) anti join ({same}) as same using ({key})",
        key,
    )
    counts = {"added": len(added), "changed": len(changed), "removed": len(removed)}
    return {"counts": counts, "key": list(shape.key), "added": added, "changed": changed, "removed": removed}


def _keys(database: duckdb.DuckDBPyConnection, rows: str, key: str) -> list[list[Any]]:
    return [list(row) for row in database.execute(f"select {key} {rows} order by {key}").fetchall()]


def _relation(path: Path) -> str:
    return "read_parquet('" + str(path).replace("'", "''") + "')"
