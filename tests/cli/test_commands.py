"""What a user gets from each command: results on standard output, the rest on standard error, and an exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fhirbridge.cli.main import app
from fhirbridge.mapping import kinds
from tests.client.server import FakeServer, Reply, outcome

CANARY = "Zebulon Canary"
RATE: dict[str, Any] = {
    "kind": "vital_sign", "id": "v1", "revision": 1, "sign": "heart_rate", "status": "final",
    "patient": {"type": "Patient", "identifier": {"system": "https://clinic.example/sid/patient", "value": "P-1"}},
    "measured_at": "2026-11-20T10:00:00-05:00", "readings": [{"name": "value", "value": 72, "unit": "/min"}],
}  # fmt: skip
BAD = RATE | {"id": "v2", "status": CANARY}


def run(*arguments: str, given: bytes | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=given, prog_name="fhirbridge")


def started(*arguments: str, **more: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from fhirbridge.cli.main import main; main()", *arguments]
    root = str(Path(__file__).resolve().parent.parent.parent)
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    # A run in the background ignores Ctrl-C, and its children with it: a person's terminal does not.
    return subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 (no thread is running here)
        **more,
    )


def ndjson(*trees: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(tree).encode() + b"\n" for tree in trees)


@pytest.mark.parametrize("command", ["synth", "convert", "push", "pull", "schema", "conformance", "version"])
def test_every_command_has_a_help_with_an_example(command: str) -> None:
    found = run(command, "--help")
    assert found.exit_code == 0
    assert f"fhirbridge {command}" in found.stdout.partition("\n")[2]


@pytest.mark.parametrize("release", ["r4", "r4b", "r5"])
def test_a_clinic_goes_to_fhir_and_comes_back_byte_for_byte_without_any_configuration(release: str) -> None:
    made = run("synth", "--patients", "1", "--seed", "7", "--sessions", "1", "--consent", "all-permit").stdout_bytes
    there = run("convert", "--to", release, "-", given=made)
    assert there.exit_code == 0, there.stderr
    back = run("convert", "--from", release, "-", given=there.stdout_bytes)
    assert back.exit_code == 0, back.stderr
    assert back.stdout_bytes == made
    assert not Path("rejects.ndjson").exists()


def test_refused_records_are_listed_and_kept_while_good_ones_go_on() -> None:
    Path("in.ndjson").write_bytes(ndjson(BAD, RATE) + b"{broken\n")
    found = run("convert", "--to", "r4", "in.ndjson", "-o", "out.ndjson", "--json")
    assert found.exit_code == 1
    assert json.loads(found.stdout) == {"read": 3, "written": {"Observation": 1}, "refused": 2}
    assert len(Path("out.ndjson").read_bytes().splitlines()) == 1
    assert "in.ndjson:1: status:" in found.stderr
    assert "in.ndjson:3:" in found.stderr
    assert CANARY not in found.stderr
    rejects = [json.loads(line) for line in Path("rejects.ndjson").read_bytes().splitlines()]
    assert [(one["file"], one["line"]) for one in rejects] == [("in.ndjson", 1), ("in.ndjson", 3)]
    assert json.loads(rejects[0]["raw"]) == BAD


def test_a_corrected_reject_file_is_an_input_like_any_other() -> None:
    Path("in.ndjson").write_bytes(ndjson(BAD))
    run("convert", "--to", "r4", "in.ndjson", "-o", "out.ndjson")
    text = Path("rejects.ndjson").read_text().replace(CANARY, "final")
    Path("rejects.ndjson").write_text(text)
    found = run("convert", "--to", "r4", "rejects.ndjson", "-o", "out.ndjson")
    assert found.exit_code == 0, found.stderr
    assert len(Path("out.ndjson").read_bytes().splitlines()) == 1


def test_a_refused_resource_goes_to_the_reject_file_too() -> None:
    found = run("convert", "--from", "r4", "-", given=ndjson({"resourceType": "Basic", "id": "x"}) + b'{"a":1,"a":2}\n')
    assert found.exit_code == 1
    assert len(Path("rejects.ndjson").read_bytes().splitlines()) == 2
    again = run("convert", "--from", "r4", "rejects.ndjson", "--rejects", "still.ndjson")
    assert again.exit_code == 1
    assert "resource.no_mapping" in again.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["convert", "in.ndjson"],
        ["convert", "--to", "r4", "--from", "r4", "in.ndjson"],
        ["convert", "--to", "r9", "in.ndjson"],
        ["convert", "--to", "r4"],
        ["convert", "--to", "r4", "nowhere.ndjson"],
        ["convert", "--to", "r4", "binary"],
        ["convert", "--to", "r4", "in.ndjson", "-o", "no/such/folder/out"],
        ["convert", "--to", "r4", "--source", "nowhere"],
        ["push", "in.ndjson", "--site", "nowhere"],
        ["push", "in.ndjson"],
        ["pull", "--site", "nowhere"],
        ["schema", "sesion"],
        ["synth", "--patients", "-1"],
        ["synth", "--domain", "no domain"],
        ["--config", "nowhere.toml", "convert", "--to", "r4", "in.ndjson"],
        ["nonsense"],
    ],
)
def test_wrong_use_is_exit_code_2_and_nothing_is_written(arguments: list[str]) -> None:
    Path("in.ndjson").write_bytes(ndjson(RATE))
    Path("binary").write_bytes(b"PK\x03\x04" + bytes(100))
    found = run(*arguments)
    assert found.exit_code == 2, found.output
    assert found.stdout_bytes == b""
    assert sorted(one.name for one in Path().iterdir()) == ["binary", "in.ndjson"]


def test_push_tells_and_keeps_what_became_of_each_record(server: FakeServer) -> None:
    stranger = RATE | {"id": "v3", "patient": {"type": "Patient", "identifier": {"system": "s", "value": CANARY}}}
    Path("in.ndjson").write_bytes(ndjson(RATE, BAD, stranger))
    found = run("push", "in.ndjson", "--site", "s", "--json")
    assert found.exit_code == 1
    summary = json.loads(found.stdout)
    totals = {name: count for name, count in summary["totals"].items() if count}
    assert totals == {"created": 1, "refused": 2}
    assert summary["kinds"]["vital_sign"]["resources"] == {"created": 1, "refused": 1}
    outcomes = [json.loads(line) for line in Path("fhirbridge-outcomes.ndjson").read_bytes().splitlines()]
    assert {(one["line"], one["state"]) for one in outcomes} == {(1, "created"), (2, "refused"), (3, "refused")}
    assert CANARY not in found.stderr + json.dumps(outcomes)
    again = run("push", "in.ndjson", "--site", "s", "--json")
    assert json.loads(again.stdout)["totals"]["unchanged"] == 1


def test_the_servers_words_are_shown_only_on_request(server: FakeServer) -> None:
    server.misbehave = lambda request: Reply(400, outcome("invalid")) if b'"PUT"' in request.body else None
    Path("in.ndjson").write_bytes(ndjson(RATE))
    quiet = run("push", "in.ndjson", "--site", "s")
    assert "HAPI-0532" in quiet.stderr
    assert CANARY not in quiet.output
    assert CANARY in run("push", "in.ndjson", "--site", "s", "--show-server-text").stderr


def test_what_was_pushed_is_pulled(server: FakeServer) -> None:
    Path("in.ndjson").write_bytes(ndjson(RATE))
    assert run("push", "in.ndjson", "--site", "s").exit_code == 0
    server.put({"resourceType": "Observation", "id": "foreign", "status": CANARY})
    found = run("pull", "--site", "s", "-o", "back.ndjson", "--json")
    assert found.exit_code == 1
    assert json.loads(found.stdout) == {
        "site": "s", "kinds": {"vital_sign": {"records": 1, "with_residue": 0}}, "refused": 1,
        "left_out": {},
    }  # fmt: skip
    assert json.loads(Path("back.ndjson").read_bytes()) == RATE
    assert CANARY not in found.stderr


@pytest.mark.parametrize("command", [["push", "in.ndjson"], ["pull"]])
def test_a_site_that_cannot_be_reached_is_exit_code_3(server: FakeServer, command: list[str]) -> None:
    Path("in.ndjson").write_bytes(ndjson(RATE))
    Path("fhirbridge.toml").write_text('[clinic]\ndemo = true\n[site.s]\nbase_url = "http://127.0.0.1:1/fhir"\n')
    found = run(*command, "--site", "s")
    assert found.exit_code == 3, found.output


def test_a_csv_source_is_read_by_its_configuration(server: FakeServer, folder: Path) -> None:
    with (folder / "fhirbridge.toml").open("a") as file:
        file.write(
            '[source.monitor]\npath = "monitor.csv"\nformat = "csv"\nkind = "vital_sign"\nignore_columns = ["*"]\n'
            '[source.monitor.columns]\nid = "ID"\nmeasured_at = "At"\n"readings[0].value" = "HR"\n'
            '"patient.identifier.value" = "MRN"\n'
            '[source.monitor.constants]\nrevision = 1\nsign = "heart_rate"\nstatus = "final"\n'
            '"readings[0].name" = "value"\n"readings[0].unit" = "/min"\n"patient.type" = "Patient"\n'
            '"patient.identifier.system" = "https://clinic.example/sid/patient"\n'
        )
    Path("monitor.csv").write_text("ID,At,HR,MRN,Nurse\nv1,2026-11-20T10:00:00-05:00,72.0,P-1,x\n")
    found = run("push", "--source", "monitor", "--site", "s")
    assert found.exit_code == 0, found.stderr
    (stored,) = [found[-1] for address, found in server.resources.items() if address.startswith("Observation/")]
    assert stored["valueQuantity"]["value"] == 72.0


def test_the_schema_describes_every_field_with_an_example() -> None:
    schema = json.loads(run("schema").stdout)
    assert len(schema["oneOf"]) == len(kinds())
    for kind in kinds().values():
        definition = schema["$defs"][kind.record.__name__]
        assert definition["properties"]["kind"]["const"] == kind.name
        assert "kind" in definition["required"]
        for name, field in definition["properties"].items():
            if name != "kind":
                assert field["description"], name
                assert field["examples"], name


def test_the_reader_of_standard_output_may_go_away() -> None:
    process = started("synth", "--patients", "200", stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b'{"kind"')
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait() == 141
    process.stderr.close()


def test_ctrl_c_ends_with_130_leaves_no_half_output_and_keeps_the_rejects() -> None:
    process = started("convert", "--to", "r4", "-", "-o", "out.ndjson", stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(ndjson(BAD))
    process.stdin.flush()
    # The line is listed once it has been dealt with; then the command waits for more.
    while b"status" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    process.stdin.close()
    process.stderr.close()
    assert sorted(one.name for one in Path().iterdir()) == ["rejects.ndjson"]


def test_the_version_names_what_is_installed() -> None:
    assert set(json.loads(run("version", "--json").stdout)["kinds"]) == set(kinds())
    assert run("version").exit_code == 0


def test_conformance_resources_are_written() -> None:
    found = run("conformance", "-o", "conformance")
    assert found.exit_code == 0, found.stderr
    assert {json.loads(path.read_bytes())["resourceType"] for path in Path("conformance").iterdir()} >= {
        "StructureDefinition",
        "CodeSystem",
    }
