"""Reading on: files and queries bring each record once; what is older than the backfill stays, the rate is kept."""

from __future__ import annotations

import datetime as dt
import json
import random
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.config import DEMO_ID_KEY, Config, parse
from fhirbridge.errors import ConfigError, LedgerError
from fhirbridge.ledger import Ledger
from fhirbridge.sources import Line, open_source
from fhirbridge.sources.columns import ColumnMap
from fhirbridge.sources.lines import read_record
from fhirbridge.sources.sql import Query, open_table
from fhirbridge.sync import How, push
from fhirbridge.sync.backfill import begins_before
from fhirbridge.sync.enqueue import Intake
from fhirbridge.sync.incremental import Files, Reading, Rows, Taking
from fhirbridge.sync.rate import Rate
from fhirbridge.sync.service import Round, Service
from mappings import vitals
from tests.client.pushing import MODELS, Clock, Tree, lines, rate, register, site_of
from tests.client.server import FakeServer, Request, serving
from tests.sources.test_sql import COLUMNS, CONSTANTS, NOW
from tests.vault.vaults import vault_of

MAP = ColumnMap(vitals.KIND.record, COLUMNS, CONSTANTS, ";")


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving(FakeServer()) as running:
        register(running, "P-1")
        yield running


class Clinic:
    """A clinic with one table and one file, a ledger, and a hospital."""

    def __init__(self, server: FakeServer, folder: Path, **settings: Any) -> None:
        self.clock, self.folder = Clock(), folder
        self.site = site_of(server, **settings)
        self.ledger = Ledger.open(f"sqlite:///{folder}/ledger.db", vault=vault_of(DEMO_ID_KEY), clock=self.clock)
        self.refused: list[Line] = []
        self.query = "SELECT own, at, chart, pulse, seq FROM pulses"
        with sqlite3.connect(folder / "clinic.db") as connection:
            connection.execute("CREATE TABLE pulses (own, at, chart, pulse, seq INTEGER PRIMARY KEY)")
        connection.close()

    def add(self, own: str, at: str = NOW, pulse: Any = 72) -> None:
        with sqlite3.connect(self.folder / "clinic.db") as connection:
            connection.execute("INSERT INTO pulses (own, at, chart, pulse) VALUES (?, ?, 'P-1', ?)", (own, at, pulse))
        connection.close()

    def rows(self, taking: Taking) -> Sequence[Reading]:
        asked = Query(f"sqlite:///{self.folder}/clinic.db", self.query, "seq")
        return [
            Rows("monitor", self.query, lambda since, key: open_table("monitor", asked, MAP, (), since, key), taking)
        ]

    def files(self, taking: Taking) -> Sequence[Reading]:
        return [Files("feed", str(self.folder / "feed.ndjson"), lambda path: open_source(path, MODELS), taking)]

    def round(self, *, files: bool = False) -> Round:
        service = Service(
            self.site, self.ledger, self.files if files else self.rows, self.refused.append,
            clock=self.clock, sleep=self.clock.sleep,
        )  # fmt: skip
        return service.round(10_000)

    def close(self) -> None:
        self.site.client.close()
        self.ledger.close()


@pytest.fixture
def clinic(server: FakeServer, tmp_path: Path) -> Iterator[Clinic]:
    made = Clinic(server, tmp_path)
    yield made
    made.close()


def told(done: Round) -> tuple[int, int, int, int]:
    return done.read, done.new, done.refused, done.before_start


def stored(server: FakeServer) -> int:
    return sum(address.startswith("Observation/") for address in server.resources)


def test_a_query_goes_on_behind_its_mark(clinic: Clinic, server: FakeServer) -> None:
    clinic.add("M-1")
    clinic.add("M-2")
    assert told(clinic.round()) == (2, 2, 0, 0)
    assert told(clinic.round()) == (0, 0, 0, 0)
    clinic.add("M-3")
    clinic.add("M-4", pulse="seventy")
    assert told(clinic.round()) == (2, 1, 1, 0)
    assert [one.file for one in clinic.refused] == ["monitor[M-4]"]
    # A row that cannot be a record is told once, not in every round.
    assert told(clinic.round()) == (0, 0, 0, 0)
    assert stored(server) == 3


def test_another_query_is_read_from_its_beginning_and_sends_nothing_twice(clinic: Clinic, server: FakeServer) -> None:
    clinic.add("M-1")
    clinic.round()
    writes = len(server.writes)
    clinic.query += " WHERE pulse > 0"
    assert told(clinic.round()) == (1, 0, 0, 0)
    assert len(server.writes) == writes


def test_the_mark_moves_with_what_was_read_or_not_at_all(
    clinic: Clinic, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic.add("M-1")
    taking = Taking(clinic.site, clinic.ledger, Intake(clinic.ledger, "s", clinic.site.mappings.binding, "r"))

    def full(*_: Any, **__: Any) -> None:
        raise LedgerError("the disk of the ledger is full", code="ledger.full")

    with monkeypatch.context() as patched:
        patched.setattr(clinic.ledger, "enqueue", full)
        with pytest.raises(LedgerError):
            list(clinic.rows(taking)[0].take())
    assert told(clinic.round()) == (1, 1, 0, 0)
    assert stored(server) == 1


# ------------------------------------------------------------------------------------------------- start
def test_records_from_before_the_start_are_counted_and_not_queued(server: FakeServer, tmp_path: Path) -> None:
    clinic = Clinic(server, tmp_path, start="2026-01-01")
    clinic.add("M-1", "2025-12-31T23:59:59-05:00")
    clinic.add("M-2", "2026-01-01T00:00:00-05:00")
    assert told(clinic.round()) == (2, 1, 0, 1)
    feed = [rate("v1", measured_at="2025-06-01T10:00:00-04:00"), rate("v2")]
    (tmp_path / "feed.ndjson").write_text("".join(json.dumps(tree) + "\n" for tree in feed))
    assert told(clinic.round(files=True)) == (2, 1, 0, 1)
    assert stored(server) == 2
    clinic.close()


def test_a_record_that_was_delivered_is_corrected_however_old_it_is(server: FakeServer, tmp_path: Path) -> None:
    clinic = Clinic(server, tmp_path)
    old: dict[str, Any] = {"measured_at": "2025-06-01T10:00:00-04:00"}
    how = How(clock=clinic.clock, sleep=clinic.clock.sleep)
    assert [one.state for one in push(lines(rate("v1", **old)), clinic.site, clinic.ledger, how)] == ["created"]
    clinic.site = site_of(server, start=dt.date(2026, 1, 1))
    both = lines(rate("v1", revision=2, value=80, **old), rate("v2", **old))
    found = {one.line.line: one.state for one in push(both, clinic.site, clinic.ledger, how)}
    assert found == {1: "updated", 2: "before_start"}
    clinic.close()


@given(st.dates(dt.date(2000, 1, 1), dt.date(2030, 1, 1)), st.dates(dt.date(2000, 1, 1), dt.date(2030, 1, 1)))
def test_a_day_decides_by_the_clock_of_the_record(day: dt.date, start: dt.date) -> None:
    (line,) = lines(rate("v1", measured_at=f"{day}T00:30:00+14:00"))
    assert line.record is not None
    assert begins_before(line.record, start) == (day < start)


def test_a_month_in_which_the_start_lies_is_not_before_it() -> None:
    tree: Tree = {
        "kind": "adverse_event", "id": "e1", "revision": 1, "patient": rate("v")["patient"],
        "record_status": "completed", "actuality": "actual", "verbatim": "nausea",
    }  # fmt: skip
    for onset, before in [("2026-03", False), ("2026", False), ("2026-02", True), ("2025", True), (None, False)]:
        record, _ = read_record(tree | ({} if onset is None else {"onset": onset}), MODELS)
        assert begins_before(record, dt.date(2026, 3, 15)) is before, onset


# ------------------------------------------------------------------------------------------------- rate
class Instants:
    """When requests came, by the clock of the test."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.found: list[float] = []

    def __call__(self, request: Request) -> None:
        self.found.append(self._clock())


def test_every_request_of_a_push_waits_for_its_turn(server: FakeServer, tmp_path: Path) -> None:
    """Also those that only look: the site counts them all."""
    clinic = Clinic(server, tmp_path, rate=20, bundle_entries=1)
    came = Instants(clinic.clock)
    server.misbehave = came
    how = How(clock=clinic.clock, sleep=clinic.clock.sleep, chance=random.Random(1))  # noqa: S311
    outcomes = list(push(lines(*(rate(f"v{number}") for number in range(9))), clinic.site, clinic.ledger, how))
    assert {one.state for one in outcomes} == {"created"}
    assert len(came.found) > 10
    assert all(later - earlier >= 3 - 1e-3 for earlier, later in zip(came.found, came.found[1:], strict=False))
    clinic.close()


@given(st.integers(1, 600), st.lists(st.floats(0, 100), max_size=20))
def test_turns_are_never_closer_than_the_rate_and_nobody_waits_without_need(
    per_minute: int, pauses: list[float]
) -> None:
    clock = Clock()
    turns = Rate(per_minute, clock, clock.sleep)
    between, last = 60 / per_minute, None
    for pause in pauses:
        clock.sleep(pause)
        asked = clock()
        turns.wait()
        expected = asked if last is None else max(asked, last + between)
        assert clock() == pytest.approx(expected)
        last = clock()


def test_threads_share_the_turns() -> None:
    waits: list[float] = []
    asleep = threading.Barrier(4)

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        asleep.wait(timeout=60)

    turns = Rate(60, Clock(), sleep)
    turns.wait()
    threads = [threading.Thread(target=turns.wait) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(waits) == pytest.approx([1.0, 2.0, 3.0, 4.0])


def test_a_clock_that_is_set_back_holds_nobody_for_an_hour() -> None:
    clock = Clock()
    turns = Rate(60, clock, clock.sleep)
    turns.wait()
    clock.now -= 3_600
    before = clock()
    turns.wait()
    assert clock() - before <= 1


@pytest.mark.parametrize("wrong", [{"rate": 0}, {"rate": "fast"}, {"start": "soon"}, {"start": "2026-13-01"}])
def test_a_start_or_rate_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Config(parse({"site": {"s": {"base_url": "https://h.example", **wrong}}}), Path(), {})
