"""``fhirbridge consent``: what is signed, why something does not go, and what a change would mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_commands import CANARY, RATE, ndjson, run
from tests.client.server import FakeServer
from tests.sync.consenting import HOSPITAL, signed, to_one, withdrawn

RULES: dict[str, Any] = {"decision": "deny", "provisions": [to_one(HOSPITAL, purposes=["payment"])]}


@pytest.fixture(autouse=True)
def sharing(server: FakeServer) -> None:
    """The site of these tests is one that data are shared with."""
    site = f'[site.s]\nbase_url = "{server.base}"\n[site.s.consent]\nrecipients = ["{HOSPITAL}"]\n'
    Path("fhirbridge.toml").write_text(f"[clinic]\ndemo = true\n{site}")


def push(*trees: dict[str, Any]) -> dict[str, Any]:
    Path("in.ndjson").write_bytes(ndjson(*trees))
    found = run("push", "in.ndjson", "--site", "s", "--json", "--patience", "0")
    assert found.exit_code == 0, found.output
    told: dict[str, Any] = json.loads(found.stdout)
    return told


def said(*arguments: str) -> Any:
    found = run("consent", *arguments, "--json")
    assert found.exit_code == 0, found.output
    return [json.loads(line) for line in found.stdout.splitlines()]


@pytest.mark.parametrize("command", ["show", "explain", "simulate"])
def test_every_command_has_a_help_with_an_example(command: str) -> None:
    found = run("consent", command, "--help")
    assert found.exit_code == 0
    assert f"fhirbridge consent {command}" in found.stdout.partition("\n")[2]


def test_what_is_blocked_is_counted_told_and_no_failure() -> None:
    told = push(RATE)
    assert {name: count for name, count in told["totals"].items() if count} == {"blocked": 1}
    status = run("status", "--json")
    assert json.loads(status.stdout)["sites"]["s"]["vital_sign"] == {"blocked": 1}
    plan = run("plan", "in.ndjson", "--site", "s", "--json")
    assert plan.exit_code == 0
    assert json.loads(plan.stdout)["blocked_by_consent"] == 1
    assert "P-1" not in plan.output + status.output


def test_a_site_that_is_the_clinics_own_is_pointed_out(server: FakeServer) -> None:
    text = f'[clinic]\ndemo = true\n[site.s]\nbase_url = "{server.base}"\nconsent = {{act = "store"}}\n'
    Path("fhirbridge.toml").write_text(text)
    Path("in.ndjson").write_bytes(ndjson(RATE))
    for command in ("plan", "push"):
        found = run(command, "in.ndjson", "--site", "s")
        assert found.stderr.count("site.s.consent.act is store") == 1


def test_the_consents_of_a_patient_are_a_tree_and_a_matrix() -> None:
    push(signed(**RULES))
    shown = run("consent", "show", "P-1")
    assert shown.exit_code == 0
    assert "privacy sharing consent c1, revision 1, active" in shown.stdout
    assert "permit to recipient Organization HOSPITAL-1; for payment" in shown.stdout
    assert "provisions[0]" in shown.stdout
    (told,) = said("show", "https://clinic.example/sid/patient|P-1")
    cells = {(one["kind"], one["purpose"]): one["effect"] for one in told["permits"]}
    assert cells["session", "payment"] == "permit"
    assert cells["session", "coordination_of_care"] == "deny"
    assert told["effective"]


def test_another_day_is_another_answer() -> None:
    push(signed(period={"start": "2026-11-01", "end": "2026-12-31"}))
    for day, effect in (("2026-10-01", "deny"), ("2026-12-31", "permit"), ("2027-01-01", "deny")):
        (told,) = said("show", "P-1", "--at", day)
        assert {one["effect"] for one in told["permits"] if one["purpose"] == "treatment"} == {effect}, day
    assert run("consent", "show", "P-1", "--at", "yesterday").exit_code == 2


def test_nobody_is_shown_where_nothing_is_known() -> None:
    found = run("consent", "show", CANARY)
    assert found.exit_code == 1
    assert CANARY not in found.output
    assert run("consent", "explain", CANARY).exit_code == 1


def test_the_trail_of_a_record_names_the_rule_of_the_consent() -> None:
    push(signed(**RULES), RATE)
    (told,) = said("explain", f"vital_sign/{RATE['id']}")
    assert (told["effect"], told["state"], told["consents"]) == ("deny", "blocked", "c1@1")
    assert told["trail"][0][:2] == ["c1", "1"]
    shown = run("consent", "explain", f"vital_sign/{RATE['id']}")
    assert told["reason"] in shown.output
    assert "P-1" not in shown.output
    events = run("explain", f"vital_sign/{RATE['id']}", "--json")
    assert [json.loads(line).get("decision") for line in events.stdout.splitlines()][-1] == told["decision"]


def test_how_a_patients_records_stand_is_told_until_the_withdrawal_is_proven() -> None:
    push(signed(), RATE)
    assert push(withdrawn(data_handling="retract"))["taken_back"] == 1
    rows = {one["kind"]: one for one in said("explain", "P-1")}
    assert (rows["vital_sign"]["server"], rows["vital_sign"]["withdrawn"]) == ("retracted", True)
    shown = run("consent", "explain", "P-1")
    assert "effective 20" in shown.output


def test_what_a_change_would_block_or_release_is_told_before_it_is_signed() -> None:
    push(signed(), RATE)
    Path("changed.ndjson").write_bytes(ndjson(signed(revision=2, decision="deny")))
    (told,) = said("simulate", "changed.ndjson")
    assert [(one["id"], one["outcome"], one["after"]) for one in told["changes"]] == [
        (RATE["id"], "blocked", "denied-by-decision")
    ]
    (shown,) = said("show", "P-1")
    assert [one["revision"] for one in shown["consents"]] == [1], "nothing of it is kept"
    Path("changed.ndjson").write_bytes(ndjson(RATE))
    assert run("consent", "simulate", "changed.ndjson").exit_code == 2
