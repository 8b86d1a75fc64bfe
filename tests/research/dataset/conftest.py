"""One small clinic, and one dataset of it, for all tests that only look."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhirbridge.research.dataset import Built
from fhirbridge.synth import Options
from tests.research.dataset.builds import built
from tests.research.dataset.clinics import resources, write_source

OPTIONS = Options(4, seed=7, consent="all-permit", sessions=1, vitals="rems")


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small clinic as a folder of NDJSON."""
    return write_source(tmp_path_factory.mktemp("source"), resources(OPTIONS))


@pytest.fixture(scope="session")
def dataset(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Its dataset, with the de-identified resources."""
    return built(source, tmp_path_factory.mktemp("built") / "out", resources=True)
