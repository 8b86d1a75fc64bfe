"""From the part files of all pieces to the tables of a dataset: one copy of each record, rows in order of their keys.

The order of the rows says nothing about the source, and the same rows make the same files, however the source was cut.
Sorting is DuckDB's, within a limit of memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from fhirbridge.research import arrow
from fhirbridge.research.columns import Column, TableShape
from fhirbridge.research.released import RESOURCES
from fhirbridge.research.tables import TABLES, course, patients

_ROWS = 16_384
_MEMORY = "96MB"
_NOT_GIVEN = "('planned', 'preparation', 'not_done', 'cancelled', 'no_show')"
Check = Callable[[pa.Table, Sequence[Column], str], None]


@dataclass(frozen=True, slots=True)
class Written:
    """A finished table: its columns, the number and the hash of its rows."""

    name: str
    columns: tuple[Column, ...]
    rows: int
    hash: str


class Finish:
    """Writes tables into ``folder`` out of the part files in ``parts``; ``check`` sees every row before it is written.

    A context manager.
    """

    def __init__(self, parts: Path, folder: Path, columns: Mapping[str, tuple[Column, ...]], check: Check) -> None:
        self._parts, self._folder, self._columns, self._check = parts, folder, columns, check
        self._database = duckdb.connect(
            config={"memory_limit": _MEMORY, "temp_directory": str(parts / "sorting"), "threads": 1}
        )
        self.repeated: dict[str, int] = {}

    def __enter__(self) -> Finish:
        return self

    def __exit__(self, *error: object) -> None:
        self._database.close()

    def of_records(self, shape: TableShape) -> Written:
        """A table whose rows come from records."""
        files = self._files(shape.name)
        columns = self._columns[shape.name]
        if not files:
            return self._write(shape, columns, None)
        names = ", ".join(f'"{one.name}"' for one in columns)
        source = self._once(files, columns[1].name, shape.name)
        return self._write(shape, columns, f"select {names} from {source}")  # noqa: S608

    def course(self) -> Written:
        """The table that is made of vital signs and assessments."""
        shape = course.SHAPE
        relation = course.query(self._table("vitals"), self._table("assessments"))
        return self._write(shape, self._columns[shape.name], relation)

    def patients(self, rows: Sequence[tuple[Any, ...]]) -> Written:
        """The table of patients; ``rows`` are those of :func:`patients.row`."""
        shape, columns = patients.SHAPE, self._columns[patients.SHAPE.name]
        told = shape.columns[: len(rows[0])] if rows else ()
        if not rows:
            return self._write(shape, columns, None)
        types = arrow.part_types(told)
        given = pa.table(
            [pa.array(values, one.type) for values, one in zip(zip(*rows, strict=True), types, strict=True)], types
        )
        self._database.register("told", given)
        kept = ", ".join(f'told."{one.name}"' for one in columns if one in told)
        return self._write(
            shape,
            columns,
            f"""select {kept}, coalesce(seen.sessions, 0)::integer as sessions,
                    coalesce(seen.given, 0)::integer as sessions_given
                from told left join (
                    select patient, count(*) as sessions,
                        count(*) filter (administrations > 0 and status not in {_NOT_GIVEN}) as given
                    from {self._table("sessions")} group by patient
                ) as seen on told.patient = seen.patient""",  # noqa: S608
        )

    def resources(self) -> Iterator[tuple[str, str]]:
        """Type and text of each de-identified resource, in the order of types and ids."""
        files = self._files(RESOURCES)
        if files:
            source = self._once(files, "id", RESOURCES)
            found = self._database.sql(f'select "type", "body" from {source} order by "type", "id"')  # noqa: S608
            for rows in found.to_arrow_reader(_ROWS // 4):
                yield from zip(rows.column(0).to_pylist(), rows.column(1).to_pylist(), strict=True)

    def _files(self, table: str) -> list[str]:
        return sorted(str(path) for path in self._parts.glob(f"{table}-*.parquet"))

    def _table(self, name: str) -> str:
        return f"read_parquet({_text(str(self._folder / f'{name}.parquet'))})"

    def _once(self, files: Sequence[str], record: str, table: str) -> str:
        """The rows of part files, of each record those of one copy: the newest revision, of equal ones the last."""
        source = f"read_parquet([{', '.join(map(_text, files))}])"
        copies = f'select "{record}" as r, count(distinct {arrow.COPY}) as n from {source} group by all having n > 1'  # noqa: S608
        (repeated,) = self._database.execute(f"select count(*), sum(n) from ({copies})").fetchall()  # noqa: S608
        if not repeated[0]:
            return source
        self.repeated[table] = int(repeated[1]) - int(repeated[0])
        newest = f"max({{'r': {arrow.REVISION}, 'c': {arrow.COPY}}})['c']"
        return f"""(select rows.* from {source} as rows semi join
            (select "{record}" as r, {newest} as c from {source} group by all) as kept
            on rows."{record}" = kept.r and rows.{arrow.COPY} = kept.c)"""  # noqa: S608

    def _write(self, shape: TableShape, columns: tuple[Column, ...], query: str | None) -> Written:
        schema, rows = arrow.schema(columns), arrow.TableHash(columns)
        path = self._folder / f"{shape.name}.parquet"
        with pq.ParquetWriter(path, schema, compression="zstd", write_statistics=True) as writer:
            for batch in self._sorted(query, shape, schema) if query is not None else ():
                table = pa.Table.from_batches([batch], schema)
                self._check(table, columns, shape.name)
                rows.add(batch)
                writer.write_table(table)
            if not rows.rows:
                self._check(schema.empty_table(), columns, shape.name)
        return Written(shape.name, columns, rows.rows, rows.hexdigest())

    def _sorted(self, query: str, shape: TableShape, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        order = ", ".join(f'"{name}"' for name in shape.key)
        found = self._database.sql(f"select * from ({query}) order by {order}")  # noqa: S608
        yield from arrow.as_chunks(found.to_arrow_reader(_ROWS), schema)


def columns_of(*, dates: bool, years: bool) -> dict[str, tuple[Column, ...]]:
    """The columns that a dataset has, by table: no moments where the profile gives none, nor the year of the first dose
    where that was moved."""
    return {
        name: tuple(
            one
            for one in shape.columns
            if (dates or one.class_ != "shifted-time") and (years or one.name != "first_dose_year")
        )
        for name, shape in TABLES.items()
    }


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
