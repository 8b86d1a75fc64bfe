"""The other forms of the tables: SDTM, the DuckDB file, de-identified resources, ViewDefinitions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from fhirbridge.fhir.json import parse_object
from fhirbridge.research import arrow
from fhirbridge.research.columns import Column
from fhirbridge.research.deidentify.leaks import Leak, LeakCheck, strings
from fhirbridge.research.finish import Written
from fhirbridge.research.papers import as_json
from fhirbridge.research.sdtm import DOMAINS
from fhirbridge.research.tables import TABLES
from fhirbridge.research.views import view_definitions

DATABASE = "dataset.duckdb"
_ROWS = 16_384
_MEMORY = "96MB"
Check = Callable[[pa.Table, Sequence[Column], str], None]


def write_sdtm(folder: Path, study: str, tables: Mapping[str, Sequence[Column]], check: Check) -> None:
    """``sdtm/*.parquet`` and ``sdtm/*.csv`` out of the finished tables; ``check`` sees every row."""
    (folder / "sdtm").mkdir()
    relations = {name: _relation(folder / f"{name}.parquet") for name in tables}
    with _database(":memory:") as database:
        for domain in DOMAINS:
            columns = domain.columns(tables)
            schema = arrow.schema(columns)
            place = folder / "sdtm" / domain.name.lower()
            found = database.sql(domain.query(study, tables, relations))
            plain = pa.schema([(one.name, _in_csv(one.type)) for one in schema])
            with (
                pq.ParquetWriter(place.with_suffix(".parquet"), schema, compression="zstd") as parquet,
                pa_csv.CSVWriter(place.with_suffix(".csv"), plain) as csv,
            ):
                for batch in arrow.as_chunks(found.to_arrow_reader(_ROWS), schema):
                    table = pa.Table.from_batches([batch], schema)
                    check(table, columns, f"sdtm/{domain.name}")
                    parquet.write_table(table)
                    csv.write_table(_iso(table, plain))


def write_database(folder: Path, tables: Sequence[Written]) -> None:
    """``dataset.duckdb``: copies of the tables, meanings as comments; the SDTM tables in a schema of theirs."""
    with _database(str(folder / DATABASE)) as database:
        for one in tables:
            path = folder / f"{one.name}.parquet"
            database.execute(f'create table "{one.name}" as from {_relation(path)}')
            database.execute(f'comment on table "{one.name}" is {_text(TABLES[one.name].meaning)}')
            for column in one.columns:
                said = f"{column.meaning}, {column.unit}" if column.unit else column.meaning
                database.execute(f'comment on column "{one.name}"."{column.name}" is {_text(said)}')
        database.execute("create schema sdtm")
        for domain in DOMAINS:
            path = folder / "sdtm" / f"{domain.name.lower()}.parquet"
            database.execute(f"create table sdtm.{domain.name.lower()} as from {_relation(path)}")
        database.execute("checkpoint")


def write_resources(resources: Iterable[tuple[str, str]], folder: Path, check: LeakCheck) -> list[Leak]:
    """``resources/*.ndjson``: one file for each type; every resource is looked at."""
    place, leaks = folder / "resources", list[Leak]()
    place.mkdir()
    seen: set[str] = set()
    with contextlib.ExitStack() as files:
        open_files: dict[str, BinaryIO] = {}
        for type_, body in resources:
            if type_ not in open_files:
                open_files[type_] = files.enter_context((place / f"{type_}.ndjson").open("wb"))
            data = body.encode()
            open_files[type_].write(data + b"\n")
            tree = parse_object(data)
            own = tree["id"] if type_ == "Patient" else _patient(tree)
            fresh = [text for text in strings(tree) if text not in seen]
            leaks += check.check_tree({"said": fresh}, own, f"resources/{type_}")
            # A word without digits is no date and no number; whoever wrote it, once is enough.
            seen.update(text for text in fresh if not any(map(str.isdigit, text)))
    return leaks


def write_views(folder: Path) -> None:
    """``views/*.json``: a ViewDefinition for each table that single resources can give."""
    (folder / "views").mkdir()
    for name, view in view_definitions().items():
        (folder / "views" / f"{name}.json").write_text(as_json(view), "utf-8")


@contextlib.contextmanager
def _database(path: str) -> Any:
    with duckdb.connect(path, config={"memory_limit": _MEMORY, "threads": 2}) as database:
        yield database


def _relation(path: Path) -> str:
    return f"read_parquet({_text(str(path))})"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _in_csv(type_: pa.DataType) -> pa.DataType:
    is_text = pa.types.is_dictionary(type_) or pa.types.is_timestamp(type_)
    return pa.string() if is_text else type_


def _iso(table: pa.Table, plain: pa.Schema) -> pa.Table:
    columns = []
    for field in table.schema:
        values = table.column(field.name)
        if pa.types.is_timestamp(field.type):
            values = pc.strftime(values.cast(pa.timestamp("s"), safe=False), format="%Y-%m-%dT%H:%M:%S")
        elif pa.types.is_dictionary(field.type):
            values = values.cast(pa.string())
        columns.append(values)
    return pa.table(columns, schema=plain)


def _patient(tree: Any) -> str:
    for name in ("subject", "patient"):
        if name in tree:
            return str(tree[name].get("reference", "")).rpartition("/")[2]
    return ""
