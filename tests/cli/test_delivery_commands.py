"""What an integrator sees of deliveries: plan, status, explain, failed, replay, verify, retract, sync."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_commands import CANARY, RATE, ndjson, run, started
from tests.client.server import FakeServer, Reply, Request, outcome

CORRECTED = RATE | {"revision": 2, "readings": [{"name": "value", "value": 80, "unit": "/min"}]}
STRANGER = RATE | {"id": "v3", "patient": {"type": "Patient", "identifier": {"system": "s", "value": CANARY}}}


def push(*trees: dict[str, Any]) -> Any:
    Path("in.ndjson").write_bytes(ndjson(*trees))
    return run("push", "in.ndjson", "--site", "s", "--json", "--patience", "0")


def said(*arguments: str) -> Any:
    found = run(*arguments, "--json")
    return [json.loads(line) for line in found.stdout.splitlines()]


def planned(*trees: dict[str, Any]) -> dict[str, int]:
    Path("plan.ndjson").write_bytes(ndjson(*trees))
    (summary,) = said("plan", "plan.ndjson", "--site", "s")
    return {name: count for name, count in summary["totals"].items() if count}


def observations(server: FakeServer) -> list[dict[str, Any]]:
    return [found[-1] for address, found in server.resources.items() if address.startswith("Observation/")]


COMMANDS = ["plan", "status", "explain", "failed list", "failed show", "replay", "verify", "retract", "sync"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_with_an_example(command: str) -> None:
    found = run(*command.split(), "--help")
    assert found.exit_code == 0
    assert f"fhirbridge {command}" in found.stdout.partition("\n")[2]


def test_a_plan_says_what_would_be_sent_and_sends_nothing(server: FakeServer) -> None:
    """Before anything: one creation. Unchanged: nothing. One corrected dose: one update."""
    assert planned(RATE) == {"create": 1}
    assert not observations(server)
    assert push(RATE).exit_code == 0
    writes = len(server.requests)
    assert planned(RATE) == {"unchanged": 1}
    assert planned(CORRECTED) == {"update": 1}
    assert planned(RATE | {"status": "amended"}) == {"conflict": 1}
    assert planned(RATE, STRANGER) == {"unchanged": 1, "blocked": 1}
    assert not [one for one in server.requests[writes:] if b'"PUT"' in one.body]


def test_a_plan_shows_changed_paths_without_values(server: FakeServer) -> None:
    push(RATE)
    Path("plan.ndjson").write_bytes(ndjson(CORRECTED | {"notes": [{"text": CANARY}]}))
    found = run("plan", "plan.ndjson", "--site", "s", "--diff", "--patients")
    assert found.exit_code == 0
    assert "valueQuantity.value" in found.stderr
    assert "note" in found.stderr
    assert CANARY not in found.output
    assert "P-1" not in found.output


def test_the_status_counts_and_an_adverse_event_that_waits_too_long_rings(server: FakeServer) -> None:
    event = {
        "kind": "adverse_event", "id": "e1", "revision": 1, "patient": RATE["patient"], "record_status": "completed",
        "actuality": "actual", "verbatim": "nausea", "onset": "2026-11-20T10:41:00-05:00",
    }  # fmt: skip
    server.refuses = lambda resource: resource.get("resourceType") == "AdverseEvent"
    assert push(RATE, event).exit_code == 1
    found = run("status", "--json")
    assert found.exit_code == 0
    standing = json.loads(found.stdout)
    assert standing["sites"]["s"] == {"vital_sign": {"acked": 1}, "adverse_event": {"rejected": 1}}
    metrics = run("status", "--metrics").stdout
    assert 'fhirbridge_deliveries{site="s",kind="vital_sign",state="acked"} 1' in metrics
    assert metrics.endswith("# EOF\n")
    with Path("fhirbridge.toml").open("a") as file:
        file.write("[ledger]\nadverse_event_limit = 0.001\n")
    late = run("status")
    assert late.exit_code == 4
    assert "alarm" in late.stderr


def test_explain_tells_the_story_of_a_record_without_the_patient(server: FakeServer) -> None:
    server.misbehave = lambda request: Reply(429, outcome("throttled")) if b'"PUT"' in request.body else None
    push(RATE)
    server.misbehave = lambda request: None
    assert run("push", "in.ndjson", "--site", "s").exit_code == 0
    push(CORRECTED)
    events = said("explain", "vital_sign/v1")
    assert [one["event"] for one in events].count("enqueue") == 2
    assert "throttled" in {one.get("reason") for one in events}
    assert [one["at"] for one in events] == sorted(one["at"] for one in events)
    assert said("explain", "v1") == events
    shown = run("explain", "vital_sign/v1", "--site", "s")
    assert shown.exit_code == 0
    assert "P-1" not in shown.output
    assert run("explain", "nobody").exit_code == 1


def test_what_was_set_aside_is_listed_shown_and_replayed(server: FakeServer) -> None:
    push(RATE, STRANGER)
    (one,) = said("failed", "list", "--site", "s")
    assert (one["id"], one["state"], one["reason"]) == ("v3", "parked", "patient.not_found")
    assert not said("failed", "list", "--where", "reason=conflict")
    (shown,) = said("failed", "show", str(one["number"]))
    assert shown["events"]
    assert CANARY not in json.dumps(shown)
    assert run("failed", "show", "999").exit_code == 1
    server.put({"resourceType": "Patient", "id": "p3", "identifier": [STRANGER["patient"]["identifier"]]})
    assert said("replay", "--site", "s", "--where", "reason=patient") == [{"site": "s", "queued": 1}]
    Path("empty.ndjson").write_bytes(b"")
    with Path("fhirbridge.toml").open("a") as file:
        file.write('[source.nothing]\npath = "empty.ndjson"\n')
    assert run("sync", "--site", "s").exit_code == 0
    assert len(observations(server)) == 2
    assert not said("failed", "list")


@pytest.mark.parametrize(
    "arguments",
    [
        ["replay", "--site", "s"],
        ["replay", "--site", "s", "--where", "colour=red"],
        ["failed", "list", "--where", "state=acked"],
        ["retract", "--site", "s", "--run", "nothing"],
        ["sync", "--site", "s"],
        ["status", "--site", "nowhere"],
    ],
)
def test_wrong_use_is_exit_code_2(server: FakeServer, arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_verify_finds_what_the_site_lost_changed_or_deleted_and_mends_what_it_lost(server: FakeServer) -> None:
    push(RATE, *(RATE | {"id": f"v{number}"} for number in range(5, 9)))
    assert run("verify", "--site", "s").exit_code == 0
    stored = {one["identifier"][0]["value"]: f"Observation/{one['id']}" for one in observations(server)}
    del server.resources[stored["v1"]]
    server.put(server.resources[stored["v5"]][-1] | {"status": "amended"})
    deleted = stored["v6"]

    def gone(request: Request) -> Reply | None:
        if request.method == "POST" and request.path == "" and b'"GET"' in request.body:
            return Reply(400)
        return Reply(410, outcome("deleted")) if request.method == "GET" and request.path == deleted else None

    server.misbehave = gone
    found = run("verify", "--site", "s", "--json")
    assert found.exit_code == 1
    counted = {name: count for name, count in json.loads(found.stdout)["found"].items() if count}
    assert counted == {"intact": 2, "missing": 1, "changed": 1, "deleted": 1}
    (mended,) = said("verify", "--site", "s", "--repair")
    assert mended["repaired"] == {"acked": 1}
    assert stored["v1"] in server.resources
    (after,) = said("verify", "--site", "s")
    assert after["found"]["missing"] == 0


def test_a_run_is_taken_back_and_nothing_of_it_comes_again(server: FakeServer) -> None:
    summary = json.loads(push(RATE).stdout)
    push(RATE | {"id": "v9"})
    assert "would retract 1" in run("retract", "--site", "s", "--run", summary["run"]).stderr
    assert {one["status"] for one in observations(server)} == {"final"}
    (done,) = said("retract", "--site", "s", "--run", summary["run"], "--yes")
    assert done["retracted"] == {"acked": 1}
    assert sorted(one["status"] for one in observations(server)) == ["entered-in-error", "final"]
    refused = push(RATE)
    assert refused.exit_code == 1
    assert sorted(one["status"] for one in observations(server)) == ["entered-in-error", "final"]


def test_sync_reads_on_where_it_ended_and_leaves_a_line_that_is_still_being_written(
    server: FakeServer, folder: Path
) -> None:
    (folder / "feed").mkdir()
    file = folder / "feed" / "today.ndjson"
    with (folder / "fhirbridge.toml").open("a") as config:
        config.write('[source.feed]\npath = "feed"\n')
    file.write_bytes(ndjson(RATE) + ndjson(RATE | {"id": "v2"})[:-10])
    (first,) = said("sync", "--site", "s")
    assert (first["read"], first["new"]) == (1, 1)
    file.write_bytes(ndjson(RATE, RATE | {"id": "v2"}, {"kind": "vital_sign", "id": "bad"}))
    found = run("sync", "--site", "s", "--json")
    assert found.exit_code == 1
    second = json.loads(found.stdout)
    assert (second["read"], second["new"], second["refused"]) == (2, 1, 1)
    assert len(Path("rejects.ndjson").read_bytes().splitlines()) == 1
    (third,) = said("sync", "--site", "s")
    assert (third["read"], third["deliveries"]) == (0, {})
    assert len(observations(server)) == 2


def test_a_correction_that_a_restored_site_lost_is_not_taken_for_the_hospitals_change(server: FakeServer) -> None:
    push(RATE)
    push(CORRECTED)
    (address,) = [one for one in server.resources if one.startswith("Observation/")]
    del server.resources[address][1:]
    push(CORRECTED | {"revision": 3, "notes": [{"text": "a third revision"}]})
    assert observations(server)[0]["valueQuantity"]["value"] == 80


def test_a_service_delivers_what_comes_and_ends_in_order_when_it_is_told_to(server: FakeServer, folder: Path) -> None:
    file = folder / "feed.ndjson"
    file.write_bytes(ndjson(RATE))
    with (folder / "fhirbridge.toml").open("a") as config:
        config.write('[source.feed]\npath = "feed.ndjson"\n')
    process = started("sync", "--site", "s", "--watch", "--every", "0.1", "--json", stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["new"] == 1
    with file.open("ab") as feed:
        feed.write(ndjson(RATE | {"id": "v2"}))
    assert json.loads(process.stdout.readline())["new"] == 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 130
    for stream in (process.stdout, process.stderr):
        assert stream is not None
        stream.close()
    assert len(observations(server)) == 2


def test_the_ledger_lies_beside_the_configuration_and_another_id_key_is_refused(
    server: FakeServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(RATE)
    with sqlite3.connect(folder / "fhirbridge-ledger.db") as ledger:
        assert CANARY not in str(ledger.execute("select * from sqlite_master").fetchall())
    monkeypatch.setenv("FHIRBRIDGE_ID_KEY", "another id key of sixteen bytes and more")
    text = (folder / "fhirbridge.toml").read_text().replace("demo = true", 'id_key = {env = "FHIRBRIDGE_ID_KEY"}')
    (folder / "fhirbridge.toml").write_text(text)
    # Without a key to seal it with, nothing of a real clinic is kept.
    found = run("push", "in.ndjson", "--site", "s")
    assert (found.exit_code, "config.vault" in found.stderr, "keys secret" in found.stderr) == (2, True, True)
    monkeypatch.setenv("FHIRBRIDGE_VAULT_KEY", "a vault key of thirty-two bytes and more")
    text += '[vault]\nactive = "a"\n[vault.key.a]\nenv = "FHIRBRIDGE_VAULT_KEY"\n'
    (folder / "fhirbridge.toml").write_text(text)
    found = run("push", "in.ndjson", "--site", "s")
    assert found.exit_code == 2
    assert "ledger.key" in found.stderr
    assert os.environ["FHIRBRIDGE_ID_KEY"] not in found.output
