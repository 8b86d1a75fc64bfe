"""The command line runs on the installed record kinds, in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fhirbridge.mapping import kinds
from tests.client.server import FakeServer, serving


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if not kinds():
        pytest.skip("no record kinds are installed: install the package (pip install -e .) to test the command line")
    monkeypatch.chdir(tmp_path)
    for name in ("FHIRBRIDGE_CONFIG", "FHIRBRIDGE_ID_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[FakeServer]:
    """A hospital where patient P-1 is known, named ``s`` in the configuration."""
    with serving(FakeServer()) as running:
        identifier = {"system": "https://clinic.example/sid/patient", "value": "P-1"}
        running.put({"resourceType": "Patient", "id": "p1", "identifier": [identifier]})
        # These tests are about delivery: nothing has to be permitted first.
        site = f'[site.s]\nbase_url = "{running.base}"\nconsent = {{act = "store"}}\n'
        (folder / "fhirbridge.toml").write_text(f"[clinic]\ndemo = true\n{site}")
        yield running
