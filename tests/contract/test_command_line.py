"""The same contract through the commands that an integrator runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from fhirbridge.fhir.json import parse_object
from tests.contract.hospital import Hospital, key


def run(hospital: Hospital, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run ``fhirbridge`` in the test's folder."""
    command = [sys.executable, "-c", "from fhirbridge.cli.main import main; main()"]
    config = ["--config", str(hospital.configuration())]
    return subprocess.run(
        [*command, *config, *map(str, arguments)], check=False, cwd=hospital.folder, capture_output=True
    )


def test_push_then_pull_gives_the_same_file(hospital: Hospital) -> None:
    file = hospital.file(hospital.records)
    pushed = run(hospital, "push", file, "--site", "hospital", "--json")
    assert pushed.returncode == 0, pushed.stderr
    assert json.loads(pushed.stdout)["totals"]["created"] == len(hospital.records)
    outcomes = (hospital.folder / "fhirbridge-outcomes.ndjson").read_text("utf-8").splitlines()
    assert {(one["kind"], one["id"]) for one in map(json.loads, outcomes)} == {key(tree) for tree in hospital.records}

    pulled = run(hospital, "pull", "--site", "hospital", "-o", "back.ndjson", "--json")
    # Other clinics' records are on the server too, so only ours are looked at.
    assert pulled.returncode in (0, 1), pulled.stderr
    back = {}
    for line in (hospital.folder / "back.ndjson").read_bytes().splitlines():
        tree = parse_object(line)
        record = {"kind": tree["kind"], **tree["record"]} if "record" in tree else tree
        back[key(record)] = hospital.text(record)
    for tree in hospital.records:
        assert back[key(tree)] == hospital.text(tree), tree["kind"]


def test_pushing_a_file_again_reports_that_nothing_changed(hospital: Hospital) -> None:
    file = hospital.file(hospital.records)
    assert run(hospital, "push", file, "--site", "hospital").returncode == 0
    again = run(hospital, "push", file, "--site", "hospital", "--json")
    assert again.returncode == 0, again.stderr
    totals = json.loads(again.stdout)["totals"]
    assert {state: count for state, count in totals.items() if count} == {"unchanged": len(hospital.records)}
