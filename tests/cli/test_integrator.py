"""What an integrator sees of a database as a source, of a backfill's start, of a conflict, and of a record's story."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fhirbridge.config import load
from fhirbridge.site import Site
from fhirbridge.sync import Settings, Worker
from fhirbridge.sync.enqueue import Intake
from fhirbridge.sync.opening import open_ledger
from fhirbridge.sync.plan import planned
from tests.cli.test_commands import CANARY, RATE, run
from tests.cli.test_delivery_commands import observations, push, said
from tests.client.pushing import Clock, lines
from tests.client.server import FakeServer, Reply, outcome

SOURCE = """
[source.monitor]
url = "sqlite:///clinic.db"
query = "SELECT own, at, chart, pulse, seq FROM pulses"
mark = "seq"
kind = "vital_sign"
[source.monitor.columns]
id = "own"
measured_at = "at"
"patient.identifier.value" = "chart"
"readings[0].value" = "pulse"
[source.monitor.constants]
revision = 1
sign = "heart_rate"
status = "final"
"readings[0].name" = "value"
"readings[0].unit" = "/min"
"patient.type" = "Patient"
"patient.identifier.system" = "https://clinic.example/sid/patient"
"""


class Pulses:
    """The clinic's table, described in the configuration as ``monitor``."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "clinic.db"
        with (folder / "fhirbridge.toml").open("a") as config:
            config.write(SOURCE)
        self._run("CREATE TABLE pulses (own, at, chart, pulse, seq INTEGER PRIMARY KEY)")

    def _run(self, statement: str, *values: Any) -> None:
        with sqlite3.connect(self._path) as connection:
            connection.execute(statement, values)
        connection.close()

    def add(self, own: str, day: str = "2026-11-20", pulse: Any = 72) -> None:
        statement = "INSERT INTO pulses (own, at, chart, pulse) VALUES (?, ?, 'P-1', ?)"
        self._run(statement, own, f"{day}T10:00:00-05:00", pulse)


def test_a_database_is_read_on_by_sync_and_whole_by_push(server: FakeServer, folder: Path) -> None:
    pulses = Pulses(folder)
    pulses.add("M-1")
    pulses.add("M-2", pulse=CANARY)
    found = run("sync", "--site", "s", "--json")
    assert found.exit_code == 1
    summary = json.loads(found.stdout)
    assert (summary["read"], summary["new"], summary["refused"]) == (2, 1, 1)
    assert "monitor[M-2]:2: readings[0].value" in found.stderr
    assert CANARY not in found.output
    pulses.add("M-3")
    (second,) = said("sync", "--site", "s")
    assert (second["read"], second["new"], second["refused"]) == (1, 1, 0)
    (planned_,) = said("plan", "--source", "monitor", "--site", "s")
    assert planned_["totals"]["unchanged"] == 2
    pushed = json.loads(run("push", "--source", "monitor", "--site", "s", "--json").stdout)
    assert (pushed["totals"]["unchanged"], pushed["totals"]["refused"]) == (2, 1)
    # What was set aside is corrected in the reject file, and goes with the map of its source.
    rejects = Path("rejects.ndjson")
    corrected = rejects.read_text().replace(CANARY, "70").splitlines()[-1]
    Path("corrected.ndjson").write_text(corrected + "\n")
    again = run("push", "corrected.ndjson", "--source", "monitor", "--site", "s", "--json", "--rejects", "r.ndjson")
    assert json.loads(again.stdout)["totals"]["created"] == 1
    assert len(observations(server)) == 3


def test_a_source_without_its_database_is_exit_code_2(server: FakeServer, folder: Path) -> None:
    Pulses(folder)
    (folder / "clinic.db").unlink()
    found = run("push", "--source", "monitor", "--site", "s")
    assert found.exit_code == 2
    assert "source.database" in found.stderr
    assert not (folder / "clinic.db").exists()


def test_every_summary_says_what_is_from_before_the_start(server: FakeServer, folder: Path) -> None:
    config = folder / "fhirbridge.toml"
    config.write_text(config.read_text() + 'start = "2026-01-01"\nrate = 6000\n')
    pulses = Pulses(folder)
    pulses.add("M-1", "2025-11-20")
    pulses.add("M-2")
    (plan,) = said("plan", "--source", "monitor", "--site", "s")
    assert (plan["totals"]["create"], plan["before_start"]) == (1, 1)
    assert "1 before start" in run("plan", "--source", "monitor", "--site", "s").stderr
    (synced,) = said("sync", "--site", "s")
    assert (synced["read"], synced["new"], synced["before_start"]) == (2, 1, 1)
    pushed = run("push", "--source", "monitor", "--site", "s")
    assert pushed.exit_code == 0
    assert "1 before start" in pushed.stderr
    (told,) = said("push", "--source", "monitor", "--site", "s")
    assert (told["totals"]["unchanged"], told["before_start"]) == (1, 1)
    states = [json.loads(line)["state"] for line in Path("fhirbridge-outcomes.ndjson").read_text().splitlines()]
    assert sorted(states) == ["before_start", "unchanged"]
    assert len(observations(server)) == 1


def conflict(server: FakeServer) -> None:
    """Somebody at the hospital writes where the next correction writes too."""
    (there,) = observations(server)
    words = {"value": 99, "unit": CANARY}
    server.put(there | {"valueQuantity": there["valueQuantity"] | words, "note": [{"text": CANARY}]})


CORRECTED = RATE | {"revision": 2, "readings": [{"name": "value", "value": 80, "unit": "/min"}]}


def test_a_conflict_is_shown_by_paths_and_hashes_and_never_by_values(server: FakeServer) -> None:
    push(RATE)
    conflict(server)
    push(CORRECTED)
    (listed,) = said("failed", "list", "--where", "reason=conflict")
    assert listed["reason"] == "conflict.changed"
    (shown,) = said("failed", "show", str(listed["number"]))
    (clash,) = shown["clashes"]
    assert clash["path"] == "valueQuantity.value"
    hashes = {clash["base"], clash["theirs"], clash["ours"]}
    assert len(hashes) == 3
    assert all(len(one) == 12 for one in hashes)
    text = run("failed", "show", str(listed["number"]))
    assert all(one in text.output for one in ("valueQuantity.value", "at the site", *hashes))
    assert CANARY not in text.output + json.dumps(shown)
    assert "conflict.changed at valueQuantity.value" in run("explain", "v1").output


class Died(BaseException):
    """What a SIGKILL is to a worker: nothing after it runs."""


def nothing_happens(point: str) -> None:
    """At a named point."""


def test_explain_tells_of_a_throttle_a_crash_and_a_conflict_in_order_without_the_patient(
    server: FakeServer, folder: Path
) -> None:
    """One record: sent away once, its worker killed after the server had it, found again, corrected on both sides."""
    clock = Clock()
    config = load(None, {}, folder)
    record = RATE | {"notes": [{"text": CANARY}]}

    def deliver(at: Callable[[str], None] = nothing_happens) -> None:
        worker = Worker(
            site, ledger, settings=Settings(threads=1), clock=clock, sleep=clock.sleep,
            chance=random.Random(1), at=at,  # noqa: S311
        )  # fmt: skip
        # A process that is killed gives nothing back.
        worker._give_back = lambda: None  # type: ignore[method-assign]
        worker.run(lambda: True, 50)

    def queue(tree: dict[str, Any], run_id: str) -> None:
        intake = Intake(ledger, "s", site.mappings.binding, run_id)
        intake.take([planned(one, one.record, site.mappings) for one in lines(tree) if one.record is not None])

    def die(point: str) -> None:
        if point == "before-ack":
            raise Died

    with Site.open("s", config) as site, open_ledger(config, clock) as ledger:
        queue(record, "first")
        busy = [Reply(429, outcome("throttled"), {"Retry-After": "5"})]
        server.misbehave = lambda request: busy.pop() if busy and b'"PUT"' in request.body else None

        def die_once_it_was_taken(point: str) -> None:
            if not busy and observations(server):
                die(point)

        with pytest.raises(Died):
            deliver(die_once_it_was_taken)
        clock.sleep(61)
        deliver()
        conflict(server)
        queue(record | CORRECTED, "second")
        deliver()

    events = said("explain", "vital_sign/v1")
    assert [one["at"] for one in events] == sorted(one["at"] for one in events)
    story = [(one["event"], one.get("reason", ""), one.get("after", "")) for one in events]
    throttled = next(place for place, one in enumerate(story) if one[1] == "throttled")
    died = next(place for place, one in enumerate(story) if one[2] == "unknown")
    found = next(place for place, one in enumerate(story) if one[2] == "acked")
    clashed = next(place for place, one in enumerate(story) if one[1] == "conflict.changed")
    assert story[0][0] == "enqueue"
    assert 0 < throttled < died < found < clashed == len(story) - 1
    assert events[-1]["clashes"][0]["path"] == "valueQuantity.value"
    shown = run("explain", "v1", "--site", "s")
    everything = shown.output + json.dumps(events)
    assert not any(one in everything for one in (CANARY, "P-1", "/min"))
    assert len(observations(server)) == 1


@pytest.mark.parametrize("command", ["status", "plan", "explain", "failed", "failed list", "failed show", "sync"])
def test_the_help_has_two_examples(command: str) -> None:
    found = run(*command.split(), "--help")
    assert found.exit_code == 0
    assert found.stdout.count(f"  fhirbridge {command}") >= 2
