"""The disk that loses power and fills up bites, and spares what was synced."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.faults import disk
from tests.faults.processes import Process

WRITER = """
import signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("pragma journal_mode=wal")
db.execute(f"pragma synchronous={sys.argv[2]}")
db.execute("create table if not exists t (n integer)")
for n in range(20):
    try:
        db.execute("insert into t values (?)", (n,))
    except sqlite3.OperationalError as error:
        print(error, flush=True)
        sys.exit(0)
print("written", flush=True)
signal.raise_signal(signal.SIGKILL)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    try:
        disk.shim()
    except disk.NoShim as reason:
        pytest.skip(str(reason))
    return tmp_path


def write(folder: Path, synchronous: str) -> str:
    database = str(folder / "ledger.db")
    with Process(["-c", WRITER, database, synchronous], folder / "errors", **disk.environment(folder)) as process:
        _, text = process.output()
    return text.strip()


def rows(folder: Path) -> int:
    db = sqlite3.connect(folder / "ledger.db")
    try:
        if not db.execute("select count(*) from sqlite_master").fetchone()[0]:
            return 0
        return int(db.execute("select count(*) from t").fetchone()[0])
    finally:
        db.close()


def test_without_the_disk_a_kill_alone_takes_nothing(folder: Path) -> None:
    """What is shown below is the power, not the signal."""
    assert write(folder, "off") == "written"
    assert rows(folder) == 20


def test_a_power_cut_spares_what_was_committed_with_full_sync(folder: Path) -> None:
    assert write(folder, "full") == "written"
    disk.power_cut(folder)
    assert rows(folder) == 20


def test_a_power_cut_takes_what_was_committed_without_sync(folder: Path) -> None:
    assert write(folder, "off") == "written"
    assert disk.power_cut(folder) > 0
    assert rows(folder) == 0


@pytest.mark.parametrize("seed", range(5))
def test_a_power_cut_in_the_middle_leaves_a_database_that_opens(folder: Path, seed: int) -> None:
    assert write(folder, "normal") == "written"
    disk.power_cut(folder, seed)
    assert 0 <= rows(folder) <= 20


def test_a_full_disk_refuses_writes_until_there_is_room(folder: Path) -> None:
    assert write(folder, "full") == "written"
    disk.fill(folder)
    assert write(folder, "full") == "database or disk is full"
    disk.free(folder)
    assert write(folder, "full") == "written"
    assert rows(folder) == 40
