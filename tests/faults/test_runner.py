"""The laboratory bites: the loop that everybody writes first is caught, the one with ids of its own is not.

The reference workers are here to test the laboratory; what it says of the real one is in ``test_worker.py``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import disk
from tests.faults.bench import bench
from tests.faults.cells import Cell, cells
from tests.faults.clinic import patient
from tests.faults.experiment import experiment
from tests.faults.runner import crash_loop, run_cell
from tests.faults.stores import SqliteStore
from tests.faults.subjects import Reference

pytestmark = pytest.mark.slow

CELLS = {(cell.point, cell.fault): cell for cell in cells()}
# Injections of each means, spread over the points.
SOME = [
    ("after-server-commit", "sigkill"),
    ("after-claim", "sigstop"),
    ("before-ack", "power-cut"),
    ("after-token", "refused"),
    ("mid-reply", "truncated"),
    ("after-connect", "statuses"),
    ("lease-renewal", "token-revoked"),
]


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    try:
        disk.shim()
    except disk.NoShim as reason:
        pytest.skip(str(reason))
    return SqliteStore(tmp_path / "store")


@pytest.mark.parametrize("cell", [CELLS[one] for one in SOME], ids=[f"{one}-{two}" for one, two in SOME])
def test_a_worker_with_its_own_ids_comes_through(cell: Cell, tmp_path: Path, store: SqliteStore) -> None:
    outcome = run_cell(cell, Reference("put"), tmp_path, store, "strict")
    assert outcome.is_good, outcome
    assert outcome.report.clean, outcome.report


def test_the_naive_loop_doubles_what_was_committed_and_not_acknowledged(tmp_path: Path, store: SqliteStore) -> None:
    outcome = run_cell(CELLS["mid-reply", "sigkill"], Reference("post"), tmp_path, store, "strict")
    assert outcome.reached
    assert (len(outcome.report.extra), len(outcome.report.lost)) == (1, 0), outcome.report


def test_the_crash_loop_catches_the_naive_loop(tmp_path: Path, store: SqliteStore) -> None:
    with experiment(Reference("post", 20), tmp_path, store, "strict") as one:
        found = crash_loop(one, kills=3, cut=0.3, server_kills=1)
    assert found.ended
    assert len(found.report.extra) >= found.cut > 0
    assert not found.report.lost


def test_the_crash_loop_lets_ids_of_ones_own_through(tmp_path: Path, store: SqliteStore) -> None:
    with experiment(Reference("put", 20), tmp_path, store, "strict") as one:
        found = crash_loop(one, kills=3, cut=0.3, server_kills=1)
    assert found.ended
    assert sum(found.kills.values()) == 3
    assert found.report.clean, found.report
    assert found.report.rewrites >= found.cut > 0


def test_a_killed_server_comes_back_with_what_it_had_acknowledged(tmp_path: Path) -> None:
    with bench(tmp_path, "hapi", patients=[patient(number) for number in range(3)]) as one:
        one.restart_server()
        one.lab.commit("PUT", patient(3))
        assert [commit.id for commit in one.commits()] == ["p0", "p1", "p2", "p3"]


def test_a_server_that_writes_behind_loses_what_it_had_acknowledged(tmp_path: Path) -> None:
    with bench(tmp_path, "strict", "--behind", "2", patients=[patient(number) for number in range(3)]) as one:
        one.restart_server()
        assert [commit.id for commit in one.commits()] == ["p0"]
        one.lab.commit("PUT", patient(3))
        one.stop_server()
        assert [commit.id for commit in one.commits()] == ["p0", "p3"]
