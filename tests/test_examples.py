"""The examples work: scripts, the CSV source, and a sixth kind of record in a package of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fhirbridge.binding import Binding, Clinic, Overlay, Release
from fhirbridge.fhir.json import canonical, dump, parse_object
from fhirbridge.mapping import Kind, Mappings, kinds
from fhirbridge.records import parse

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
PACKAGE = EXAMPLES / "sleep_diary"
CLINIC = Clinic("clinic.example", b"a key for tests, the same in every run")
NIGHT = parse_object(json.dumps({
    "kind": "sleep_diary",
    "id": "n1",
    "revision": 1,
    "patient": {"type": "Patient", "identifier": {"system": "https://clinic.example/sid/patient", "value": "P-1"}},
    "status": "final",
    "went_to_bed": "2026-11-20T23:10:00-05:00",
    "got_up": "2026-11-21T06:45:00-05:00",
    "asleep": {"value": 6.5, "unit": "h"},
    "quality": "fair",
    "sleep_aid": False,
}).encode())  # fmt: skip
FIELDS = {name: value for name, value in NIGHT.items() if name != "kind"}


def run(*arguments: str, given: bytes = b"", path: tuple[Path, ...] = (), folder: Path = ROOT) -> bytes:
    """What a Python program writes to standard output; it must end well."""
    roots = [*path, *([ROOT] if (ROOT / "fhirbridge").is_dir() else [])]
    python_path = os.pathsep.join([*map(str, roots), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, *arguments]
    environment = {**os.environ, "PYTHONPATH": python_path}
    done = subprocess.run(command, check=False, input=given, capture_output=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    return done.stdout


def fhirbridge(*arguments: str, **more: Any) -> bytes:
    return run("-c", "from fhirbridge.cli.main import main; main()", *arguments, **more)


@pytest.fixture
def sleep_diary(monkeypatch: pytest.MonkeyPatch) -> Kind:
    """The example's kind, from its folder: nothing is installed."""
    monkeypatch.syspath_prepend(str(PACKAGE))
    from sleep_diary.mapping import KIND  # type: ignore[import-not-found]

    kind: Kind = KIND
    return kind


# Takes a dataset: tests/research/dataset/test_question.py runs it.
_ASKS = EXAMPLES / "question.py"


@pytest.mark.parametrize("script", sorted({*EXAMPLES.glob("*.py")} - {_ASKS}), ids=lambda path: path.name)
def test_the_scripts_run(script: Path, tmp_path: Path) -> None:
    assert run(str(script), folder=tmp_path)


def test_the_csv_source_becomes_blood_pressures(tmp_path: Path) -> None:
    config = str(EXAMPLES / "monitor.toml")
    lines = fhirbridge("--config", config, "convert", "--to", "r4", "--source", "monitor", folder=tmp_path).splitlines()
    resources = [json.loads(line) for line in lines]
    pressures = [[part["valueQuantity"]["value"] for part in one["component"]] for one in resources]
    assert pressures == [[128, 82], [151, 94], [117, 76]]
    assert [("partOf" in one) for one in resources] == [True, True, False]


@pytest.mark.slow
def test_the_sixth_kind_keeps_the_laws(tmp_path: Path) -> None:
    """The example's own tests, as its author runs them."""
    copy = shutil.copytree(PACKAGE, tmp_path / "sleep_diary", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    said = run("-m", "pytest", "-q", "-p", "no:cacheprovider", folder=copy)
    assert b" passed" in said
    assert b"skipped" not in said


@pytest.mark.parametrize("release", Release)
@pytest.mark.parametrize("overlay", [Overlay(), Overlay(us_core=True, secondary_codes=True)], ids=["plain", "us"])
def test_the_sixth_kind_lives_beside_the_others(sleep_diary: Kind, release: Release, overlay: Overlay) -> None:
    """No other kind claims its resources, and it claims none of theirs."""
    mappings = Mappings(Binding(CLINIC, release, overlay), {**kinds(), sleep_diary.name: sleep_diary})
    record = parse(sleep_diary.record, FIELDS)
    body = dump(mappings.to_fhir(record).parts[0].resource)
    reading = mappings.read(body)
    assert reading.record == record
    assert reading.residue == ()


@pytest.mark.parametrize("release", ["R4B", "R5"])
def test_typed_models_of_fhir_accept_the_sixth_kind(sleep_diary: Kind, release: str) -> None:
    """A second opinion on names, types and cardinalities."""
    models = pytest.importorskip("fhir.resources" + (".R4B" if release == "R4B" else ""))
    mappings = Mappings(Binding(CLINIC, Release[release]), {sleep_diary.name: sleep_diary})
    record = parse(sleep_diary.record, FIELDS)
    for part in mappings.to_fhir(record).parts:
        model = models.get_fhir_model_class(part.resource_type)
        assert model.model_validate_json(dump(part.resource)).id == part.id


@pytest.mark.slow
def test_an_installed_sixth_kind_is_found_by_every_command(tmp_path: Path) -> None:
    """Through its entry points alone: schema, convert in both directions, conformance."""
    source = shutil.copytree(PACKAGE, tmp_path / "source", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    site = tmp_path / "site"
    pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    run(*pip, "--no-index", "--target", str(site), str(source))
    more: dict[str, Any] = {"path": (site,), "folder": tmp_path}
    assert json.loads(fhirbridge("version", "--json", **more))["kinds"] == sorted({*kinds(), "sleep_diary"})
    assert "went_to_bed" in json.loads(fhirbridge("schema", "sleep_diary", **more))["$defs"]["SleepNight"]["properties"]
    there = fhirbridge("convert", "--to", "r4", "-", given=dump(NIGHT), **more)
    assert len(there.splitlines()) == 2
    back = fhirbridge("convert", "--from", "r4", "-", given=there, **more)
    assert canonical(parse_object(back)) == canonical(NIGHT)
    fhirbridge("conformance", "-o", "conformance", **more)
    assert (tmp_path / "conformance" / "StructureDefinition-after-session.json").is_file()
