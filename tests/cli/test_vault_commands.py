"""``fhirbridge vault`` and ``purge``: what they print and do, and that no identifier is taken from a command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fhirbridge.config import DEMO_VAULT_KEY
from tests.cli.test_commands import RATE, ndjson, run
from tests.client.server import FakeServer

NEW = '[vault]\nactive = "2027"\n[vault.key.2027]\nenv = "NEW"\n'
BOTH = NEW + '[vault.key.demo]\nenv = "OLD"\n'
WHO = "https://clinic.example/sid/patient|P-1"


@pytest.fixture
def pushed(server: FakeServer) -> FakeServer:
    Path("in.ndjson").write_bytes(ndjson(RATE))
    assert run("push", "in.ndjson", "--site", "s", "--patience", "0").exit_code == 0
    return server


def configured(more: str) -> None:
    text = Path("fhirbridge.toml").read_text().partition("[vault]")[0]
    Path("fhirbridge.toml").write_text(text + more)


def said(*arguments: str, **more: Any) -> Any:
    found = run(*arguments, "--json", **more)
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_a_key_is_rotated_by_the_command_and_the_old_one_dropped(
    pushed: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLD", DEMO_VAULT_KEY.decode())
    monkeypatch.setenv("NEW", "a new vault key of thirty-two bytes and more")
    count = said("vault", "status")["keys"]["demo"]["values"]
    assert count > 0
    configured(BOTH)
    assert said("vault", "status") == {
        "active": "2027",
        "keys": {"2027": {"values": 0, "in_ring": True}, "demo": {"values": count, "in_ring": True}},
    }
    assert said("vault", "rekey") == {"sealed": count, "left": {}}
    configured(NEW)
    assert said("vault", "status")["keys"] == {"2027": {"values": count, "in_ring": True}}
    assert run("explain", "vital_sign/v1").exit_code == 0
    configured('[vault]\nactive = "x"\n[vault.key.x]\nenv = "OLD"\n')
    assert said("vault", "status")["keys"]["2027"] == {"values": count, "in_ring": False}
    found = run("failed", "list")
    assert "2027" in run("explain", "vital_sign/v1").stderr
    assert found.exit_code == 0


@pytest.mark.parametrize("place", ["-", "patients.txt", "ask"])
def test_a_patient_is_purged_by_a_name_that_is_on_no_command_line(pushed: FakeServer, place: str) -> None:
    Path("patients.txt").write_text(f"{WHO}\n|nobody\n")
    given = {} if place == "patients.txt" else {"given": (f"{WHO}\n" + ("|nobody\n" if place == "-" else "")).encode()}
    unknown = 0 if place == "ask" else 1
    counts = {"unknown": unknown, "bodies": 1, "subjects": 0, "papers": 0, "needed": 0}
    assert said("purge", "--patient", place, **given) == {"deleted": False, **counts}
    assert said("purge", "--patient", place, "--yes", **given) == {"deleted": True, **counts}
    assert said("purge", "--patient", place, "--yes", **given)["bodies"] == 0
    assert "P-1" not in run("purge", "--patient", place, **given).output


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--patient", "-", "--older-than", "9d"),
        ("--patient", WHO),
        ("--patient", "nowhere.txt"),
        ("--patient", "-", "--site", "s"),
        ("--older-than", "soon"),
        ("--older-than", "-1d"),
    ],
)
def test_wrong_use_is_told_and_quotes_nobody(server: FakeServer, arguments: tuple[str, ...]) -> None:
    found = run("purge", *arguments, given=b"a line without a bar\n")
    assert found.exit_code == 2
    assert "P-1" not in found.output


def test_a_purge_by_age_tells_what_it_would_do(pushed: FakeServer) -> None:
    found = run("purge", "--older-than", "0d", "--site", "s")
    assert found.exit_code == 0
    assert "--yes does it" in found.stderr
    assert said("purge", "--older-than", "90d") == {
        "deleted": False,
        "unknown": 0,
        "bodies": 0,
        "subjects": 0,
        "papers": 0,
        "needed": 1,
    }


@pytest.mark.parametrize("command", ["vault status", "vault rekey", "purge"])
def test_every_command_has_a_help_with_an_example(command: str) -> None:
    found = run(*command.split(), "--help")
    assert found.exit_code == 0
    assert f"fhirbridge {command}" in found.stdout.partition("\n")[2]
