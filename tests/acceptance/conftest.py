"""The reference validator, with our own conformance resources loaded."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from fhirbridge.conformance import write

HARNESS = Path(__file__).resolve().parent.parent / "harness" / "validator"


class Verdict(NamedTuple):
    """What the validator said: how many resources it judged, and its errors."""

    resources: int
    errors: list[str]


Validate = Callable[[str, Path], Verdict]


@pytest.fixture(scope="session")
def conformance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our StructureDefinitions, CodeSystems and ValueSets, as a hospital would install them."""
    folder = tmp_path_factory.mktemp("conformance")
    write(folder)
    return folder


@pytest.fixture(scope="session")
def validate(conformance: Path) -> Validate:
    """Judge an NDJSON file or a folder of resources in one release; extensions nobody defined are errors."""

    def judge(release: str, resources: Path) -> Verdict:
        options = ["--fhir-version", release, "--definitions", str(conformance), "--severity", "error"]
        strict = ["--strict-extensions", "--extension-domain", "http://hl7.org/fhir/uv/"]
        run = subprocess.run(
            [str(HARNESS / "validate.sh"), *options, *strict, str(resources)],
            check=False,
            capture_output=True,
            text=True,
        )
        assert run.returncode in (0, 1), run.stderr
        said = [json.loads(line) for line in run.stdout.splitlines()]
        (summary,) = [one["summary"] for one in said if "summary" in one]
        errors = [
            f"line {one.get('line')}: {one['location']}: {one['message']}"
            for one in said
            if one.get("severity") in ("error", "fatal")
        ]
        assert len(errors) == summary["errors"]
        return Verdict(summary["resources"], errors)

    return judge
