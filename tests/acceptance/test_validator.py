"""The reference validator finds no error in what fhirbridge writes, in any kind and any release."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from fhirbridge.binding import Release
from fhirbridge.fhir.json import canonical, parse_object
from fhirbridge.mapping import kinds
from tests.acceptance.conftest import Validate

GOLDENS = Path(__file__).resolve().parent.parent / "golden"

pytestmark = pytest.mark.acceptance
each_release = pytest.mark.parametrize(
    "release", [pytest.param(one.value, marks=pytest.mark.xdist_group(f"validator-{one}")) for one in Release]
)


def fhirbridge(folder: Path, *arguments: str | Path) -> None:
    """Run a command; it must find nothing to refuse."""
    command = [sys.executable, "-c", "from fhirbridge.cli.main import main; main()"]
    run = subprocess.run([*command, *arguments], check=False, cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def newest(path: Path) -> dict[tuple[str, str, str], bytes]:
    """The canonical text of each record and revision."""
    trees = map(parse_object, lines(path))
    return {(tree["kind"], tree["id"], str(tree["revision"])): canonical(tree) for tree in trees}


@each_release
def test_a_synthetic_clinic_is_valid_and_comes_back_the_same(
    release: str, tmp_path: Path, validate: Validate, pytestconfig: pytest.Config
) -> None:
    """synth → convert --to gives 0 errors in every kind; convert --from gives the same lines in canonical JSON."""
    patients = str(pytestconfig.getoption("--patients"))
    records, resources, back = (tmp_path / f"{name}.ndjson" for name in ("records", "resources", "back"))
    fhirbridge(tmp_path, "synth", "--patients", patients, "--seed", "7", "-o", records)
    fhirbridge(tmp_path, "convert", "--to", release, records, "-o", resources)
    assert Counter(json.loads(line)["kind"] for line in lines(records)).keys() == kinds().keys()

    verdict = validate(release, resources)
    assert not verdict.errors, "\n".join(verdict.errors[:20])
    assert verdict.resources == len(lines(resources)) > len(lines(records))

    fhirbridge(tmp_path, "convert", "--from", release, resources, "-o", back)
    assert newest(back) == newest(records)
    assert len(lines(back)) == len(lines(records))


def golden_releases(file: Path) -> set[str]:
    """The releases of a golden resource by its name, ``case.r5.json``; what is R4 must be R4B too (decision D8)."""
    named = {part[1:] for part in file.suffixes} & {one.value for one in Release}
    return named | {"r4b"} if "r4" in named else named


@each_release
def test_the_golden_files_are_valid(release: str, tmp_path: Path, validate: Validate) -> None:
    """Laws alone agree with a shared mistake, so what the goldens say is judged by somebody else."""
    files = [file for file in sorted(GOLDENS.rglob("*.json")) if release in golden_releases(file)]
    assert files, "no golden files of this release"
    together = tmp_path / "goldens.ndjson"
    together.write_text("".join(json.dumps(json.loads(file.read_bytes())) + "\n" for file in files), "utf-8")
    verdict = validate(release, together)
    assert not verdict.errors, "\n".join(verdict.errors[:20])
    assert verdict.resources == len(files)


@each_release
def test_the_validator_itself_would_notice(release: str, tmp_path: Path, validate: Validate) -> None:
    """An unknown extension and a wrong code are found, so silence means something."""
    wrong = {
        "resourceType": "Observation",
        "status": "finished",
        "code": {"text": "x"},
        "extension": [{"url": "https://nobody.example/unknown", "valueBoolean": True}],
    }
    file = tmp_path / "wrong.ndjson"
    file.write_text(json.dumps(wrong) + "\n", "utf-8")
    errors = validate(release, file).errors
    assert any("Observation.status" in error for error in errors)
    assert any("https://nobody.example/unknown" in error for error in errors)
