"""``fhirbridge probe`` for the person who runs it: a table or JSON, an exit code, and what was left behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fhirbridge.cli.main import app
from fhirbridge.client.proof import ABILITIES, Proof
from fhirbridge.client.rest import Client
from fhirbridge.config import load
from fhirbridge.sync.opening import open_ledger
from fhirbridge.sync.ways import kept_proof
from tests.client.server import FakeServer, Reply, Request
from tests.faults.personalities import PERSONALITIES, Lie, Personality
from tests.faults.server import FaultServer, serving

TYPES = {"Consent", "Procedure", "MedicationAdministration", "Observation", "AdverseEvent"}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["probe", *arguments], prog_name="fhirbridge")


@contextmanager
def hospital(folder: Path, ways: Personality, lie: Lie = "", **more: str) -> Iterator[FaultServer]:
    """A server of that personality, named ``h`` in the configuration."""
    with serving(FaultServer(folder / "log", ways, lie=lie)) as server:
        lines = [f"{name} = {value}" for name, value in more.items()]
        text = "\n".join(["[clinic]", "demo = true", "[site.h]", f'base_url = "{server.base}"', *lines])
        (folder / "fhirbridge.toml").write_text(text, "utf-8")
        yield server


def observations(server: FaultServer) -> list[tuple[str, str]]:
    return [address for address in server.store.of_type("Observation") if server.store.holds(address)]


def test_without_write_nothing_is_written_and_that_is_said(folder: Path) -> None:
    with hospital(folder, PERSONALITIES["strict"]) as server:
        found = run("h")
        assert {one.method for one in server.requests} == {"GET"}
    assert found.exit_code == 0
    assert "nothing was tried" in found.stderr
    assert found.stdout == ""


def test_with_write_the_proof_and_the_ways_are_json(folder: Path) -> None:
    with hospital(folder, PERSONALITIES["healthlake"], bundle_entries="200") as server:
        found = run("h", "--write", "--json")
        assert observations(server) == []
    assert found.exit_code == 0, found.stderr
    tree: dict[str, Any] = json.loads(found.stdout)
    proof = Proof.from_json(tree["proof"])
    assert proof is not None
    assert proof.proven("idempotency_key") is True
    assert tree["strategies"].keys() >= TYPES
    assert {one["write"] for one in tree["strategies"].values()} == {"idempotency-key"}
    assert (tree["form"], tree["bundle_entries"]) == ("transaction", 160)


def test_what_was_proven_is_kept_and_a_look_without_trial_does_not_replace_it(folder: Path) -> None:
    with hospital(folder, PERSONALITIES["strict"], "modest"):
        assert run("h").exit_code == 0
        config = load(None, {}, folder)
        with open_ledger(config) as ledger:
            assert kept_proof(ledger, "h") is None
        assert run("h", "--write").exit_code == 0
        assert run("h").exit_code == 0
        with open_ledger(config) as ledger:
            kept = kept_proof(ledger, "h")
    assert kept is not None
    assert kept.proven("update_create") is True


def test_the_table_shows_claims_beside_proofs(folder: Path) -> None:
    with hospital(folder, PERSONALITIES["strict"], "modest"):
        found = run("h", "--write")
    assert found.exit_code == 0, found.stderr
    rows = {line.split()[1]: line.split() for line in found.stderr.splitlines() if line.startswith(("│ ", "| "))}
    assert set(ABILITIES) <= rows.keys()
    assert (rows["update_create"][3], rows["update_create"][5]) == ("no", "yes")
    assert rows["Observation"][3] == "client-id"


def test_a_server_that_ignores_if_match_is_refused_with_the_reason(folder: Path) -> None:
    with hospital(folder, replace(PERSONALITIES["strict"], if_match="ignored")):
        found = run("h", "--write", "--json")
    assert found.exit_code == 1
    ways = json.loads(found.stdout)["strategies"]
    assert {one["refused"] for one in ways.values()} == {"if-match-ignored"}
    assert "can.if_match" in ways["Observation"]["hint"]


def test_what_cannot_be_removed_is_listed_and_is_no_success(folder: Path) -> None:
    with hospital(folder, PERSONALITIES["oracle"]) as server:
        found = run("h", "--write")
        left = observations(server)
    assert found.exit_code == 1
    assert left
    for address in left:
        assert f"left behind, please remove: {'/'.join(address)}" in found.stderr


def test_ctrl_c_removes_what_was_made_and_ends_with_130(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0
    ask = Client.ask

    def interrupted(self: Client, *arguments: Any, **more: Any) -> Any:
        nonlocal count
        count += 1
        answer = ask(self, *arguments, **more)
        if count == 15:
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(Client, "ask", interrupted)
    with hospital(folder, PERSONALITIES["strict"]) as server:
        found = run("h", "--write")
        assert observations(server) == []
    assert found.exit_code == 130


def test_a_page_at_the_address_is_said_to_be_one(server: FakeServer) -> None:
    server.misbehave = lambda request: Reply(body=b"<html>Zebulon Canary", content_type="text/html")
    found = run("s", "--write")
    assert found.exit_code == 1
    assert "site.not_json" in found.stderr
    assert "Canary" not in found.stderr


def test_a_server_that_cannot_be_reached_is_exit_code_3(folder: Path) -> None:
    with hospital(folder, PERSONALITIES["strict"]):
        pass
    assert run("h").exit_code == 3


def test_a_token_is_sent_and_never_shown(server: FakeServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "canary-token")
    with (folder / "fhirbridge.toml").open("a") as file:
        file.write('[site.s.auth]\nkind = "bearer"\ntoken = { env = "TOKEN" }\n')
    heard: list[Request] = []

    def hear(request: Request) -> None:
        heard.append(request)

    server.misbehave = hear
    found = run("s", "--json")
    assert heard
    assert all(one.headers["authorization"] == "Bearer canary-token" for one in heard)
    assert "canary-token" not in found.stdout + found.stderr


def test_the_help_has_an_example() -> None:
    assert "fhirbridge probe hospital --write" in run("--help").stdout
