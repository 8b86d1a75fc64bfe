"""``fhirbridge audit``: what it prints, and its exit codes."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner, Result

from fhirbridge.audit import files
from fhirbridge.cli.main import app
from fhirbridge.mapping import kinds
from tests.client.pushing import rate, register
from tests.client.server import FakeServer, serving

TRAIL = Path("fhirbridge-audit")


def run(*arguments: str, given: bytes | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=given, prog_name="fhirbridge")


class Pushed(NamedTuple):
    """A folder in which one push was made, the hospital it went to, and the ids of its requests."""

    folder: Path
    base: str
    requests: list[str]


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushed]:
    """Made once: where patient P-1 is known."""
    if not kinds():
        pytest.skip("no record kinds are installed: install the package (pip install -e .) to test the command line")
    folder = tmp_path_factory.mktemp("pushed")
    with pytest.MonkeyPatch.context() as patched, serving(FakeServer()) as running:
        patched.chdir(folder)
        patched.delenv("FHIRBRIDGE_CONFIG", raising=False)
        register(running, "P-1")
        Path("fhirbridge.toml").write_text(
            f'[clinic]\ndemo = true\n[site.s]\nbase_url = "{running.base}"\nconsent = {{act = "store"}}\n'
        )
        Path("records.ndjson").write_text(json.dumps(rate("v1")) + "\n")
        found = run("push", "records.ndjson", "--site", "s")
        assert found.exit_code == 0, found.stderr
        yield Pushed(folder, running.base, [one.headers["x-request-id"] for one in running.requests])


@pytest.fixture
def server(pushed: Pushed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pushed:
    """A copy of that folder to work in."""
    shutil.copytree(pushed.folder, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delenv("FHIRBRIDGE_CONFIG", raising=False)
    return pushed


@pytest.mark.parametrize("command", ["show", "verify", "checkpoint", "export"])
def test_each_command_has_a_help_with_an_example(command: str) -> None:
    found = run("audit", command, "--help")
    assert found.exit_code == 0
    assert f"fhirbridge audit {command}" in found.stdout.partition("\n")[2]


def test_a_push_leaves_a_trail_that_is_closed_and_intact(server: Pushed) -> None:
    found = run("audit", "verify", "--json")
    assert found.exit_code == 0
    tree = json.loads(found.stdout)
    assert (tree["intact"], tree["files"], tree["findings"]) == (True, 1, [])
    assert tree["events"] == len(server.requests)
    assert "without a checkpoint" in run("audit", "verify").stderr


def test_a_changed_trail_ends_with_1_and_names_the_line(server: Pushed) -> None:
    (name,), _ = files.names_in(TRAIL)
    path = TRAIL / name
    path.write_bytes(path.read_bytes().replace(b'"outcome":{"of"', b'"outcome":{"0f"', 1))
    found = run("audit", "verify")
    assert found.exit_code == 1
    assert f"{name}:" in found.stderr
    assert "audit.edited" in found.stderr
    found = run("audit", "verify", "--json")
    assert found.exit_code == 1
    (fault,) = json.loads(found.stdout)["findings"]
    assert (fault["code"], fault["file"], fault["fault"]) == ("audit.edited", name, True)
    assert run("audit", "checkpoint").exit_code == 1, "what is not intact gets no checkpoint"


def test_a_checkpoint_that_was_kept_tells_of_a_removed_file(server: Pushed) -> None:
    assert run("audit", "checkpoint", "--out", "kept.ndjson").exit_code == 0
    Path("printed.ndjson").write_bytes(run("audit", "checkpoint").stdout_bytes)
    (name,), _ = files.names_in(TRAIL)
    (TRAIL / name).unlink()
    assert run("audit", "verify").exit_code == 0
    for kept in ("kept.ndjson", "printed.ndjson"):
        found = run("audit", "verify", "--checkpoint", kept)
        assert found.exit_code == 1
        assert f"{name}: the file is gone" in found.stderr
    assert run("audit", "verify", "--checkpoint", "kept.ndjson", "--archived", "kept.ndjson").exit_code == 0
    found = run("audit", "verify", "--checkpoint", "nowhere.ndjson")
    assert (found.exit_code, "audit.checkpoint" in found.stderr) == (1, True)


def test_show_lists_by_site_outcome_patient_and_time(server: Pushed) -> None:
    def shown(*options: str, given: bytes | None = None) -> list[str]:
        found = run("audit", "show", "--json", *options, given=given)
        assert found.exit_code == 0, found.stderr
        return [json.loads(line)["what"] for line in found.stdout.splitlines()]

    every = shown()
    assert every == ["capabilities", "search", "read", "create transaction"]
    assert shown("--site", "s") == every
    assert shown("--site", "t") == shown("--since", "2999-01-01") == shown("--until", "2000-01-01") == []
    assert shown("--outcome", "refused") == ["read"]
    assert shown("--patient", given=b"P-1\n") == every[1:]
    assert shown("--patient", given=b"P-2\n") == []
    assert "P-1" not in run("audit", "show").stdout
    assert run("audit", "show", "--outcome", "other").exit_code == 2
    assert run("audit", "show", "--since", "yesterday").exit_code == 2
    assert run("audit", "show", "--patient", given=b"\n").exit_code == 2


def test_export_is_one_audit_event_for_each_request(server: Pushed) -> None:
    assert run("audit", "export", "-o", "events.ndjson").exit_code == 0
    events = [json.loads(line) for line in Path("events.ndjson").read_bytes().splitlines()]
    assert [one["resourceType"] for one in events] == ["AuditEvent"] * len(server.requests)
    assert {one["id"] for one in events} == set(server.requests)
    assert run("audit", "export", "--until", "2000-01-01").stdout == ""


def test_a_checkpoint_is_added_at_the_end_of_each_run_where_one_is_configured(server: Pushed) -> None:
    text = Path("fhirbridge.toml").read_text()
    Path("fhirbridge.toml").write_text(f'{text}[audit]\ncheckpoint = "elsewhere.ndjson"\n')
    for _ in range(2):
        assert run("push", "records.ndjson", "--site", "s").exit_code == 0
    assert len(Path("elsewhere.ndjson").read_bytes().splitlines()) == 2
    assert run("audit", "verify", "--checkpoint", "elsewhere.ndjson").exit_code == 0


def test_a_key_of_its_own_takes_over_and_what_was_written_before_is_still_readable(
    server: Pushed, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = Path("fhirbridge.toml").read_text()
    monkeypatch.setenv("FIRST", "a first key, long enough")
    monkeypatch.setenv("SECOND", "a second key, long enough")
    Path("fhirbridge.toml").write_text(f'{text}[audit]\nkey = {{env = "FIRST"}}\n')
    assert run("push", "records.ndjson", "--site", "s").exit_code == 0
    assert run("audit", "verify").exit_code == 0
    Path("fhirbridge.toml").write_text(f'{text}[audit]\nkey = {{env = "SECOND"}}\n')
    found = run("audit", "verify")
    assert (found.exit_code, "audit.key" in found.stderr) == (1, True)
    old = 'old_keys = [{env = "FIRST"}]'
    Path("fhirbridge.toml").write_text(f'{text}[audit]\nkey = {{env = "SECOND"}}\n{old}\n')
    assert run("audit", "verify").exit_code == 0
    monkeypatch.setenv("SECOND", "short")
    found = run("audit", "verify")
    assert (found.exit_code, "config.audit_key" in found.stderr) == (2, True)


def test_a_checkpoint_in_the_folder_of_the_trail_is_no_use(server: Pushed) -> None:
    text = Path("fhirbridge.toml").read_text()
    Path("fhirbridge.toml").write_text(f'{text}[audit]\ncheckpoint = "fhirbridge-audit/x.ndjson"\n')
    found = run("push", "records.ndjson", "--site", "s")
    assert (found.exit_code, "config.audit_checkpoint" in found.stderr) == (2, True)


def test_where_it_is_turned_off_somebody_is_told(server: Pushed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FHIRBRIDGE_ID_KEY", "an id key that is long enough")
    text = Path("fhirbridge.toml").read_text().replace("demo = true", 'id_key = {env = "FHIRBRIDGE_ID_KEY"}')
    Path("fhirbridge.toml").write_text(f"{text}[audit]\nenabled = false\n")
    assert (
        "audit.enabled is false"
        in run("synth", "--patients", "1", "-o", "x.ndjson").stderr
        + run("convert", "--to", "r4", "records.ndjson", "-o", "y.ndjson").stderr
    )


def test_an_edited_row_of_the_ledger_is_found_with_it(server: Pushed) -> None:
    """The ledger has seals of its own; one command looks at both."""
    assert run("audit", "verify", "--ledger").exit_code == 0
    with sqlite3.connect("fhirbridge-ledger.db") as ledger:
        ledger.execute("UPDATE fhirbridge_resource SET resource_type = 'Procedure'")
    ledger.close()
    assert run("audit", "verify").exit_code == 0
    found = run("audit", "verify", "--ledger", "--json")
    assert found.exit_code == 1
    tree = json.loads(found.stdout)
    assert tree["intact"] is False
    assert {one["table"] for one in tree["ledger"]} == {"fhirbridge_resource"}
