"""What all tests share: Hypothesis profiles, the neighbouring specification folder, bindings, real servers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from fhirbridge.binding import Binding, Clinic, Release
from fhirbridge.demo.server import Server, sekmet_server

collect_ignore = ["harness"]
ROOT = Path(__file__).resolve().parent.parent
# No deadline anywhere: nothing is timed in a test, and a slow machine is no fault. CI repeats the same examples.
settings.register_profile("dev", deadline=None, max_examples=10, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True, max_examples=10, print_blob=True)
# Finds a failure and does not look for a smaller one: quick while something is known to be wrong.
settings.register_profile("first", settings.get_profile("dev"), phases=[Phase.explicit, Phase.generate])
settings.register_profile("long", settings.get_profile("dev"), max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--acceptance", action="store_true", help="also run what needs Java 17 and Maven")
    parser.addoption("--patients", type=int, default=10, help="patients of the clinic that the validator judges")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        # One server serves all tests of a run.
        if "sekmet" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.sekmet)
            item.add_marker(pytest.mark.xdist_group("sekmet"))
    if config.getoption("--acceptance"):
        return
    chosen = [item for item in items if item.get_closest_marker("acceptance") is None]
    if len(chosen) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the specification and the corpora, which lies beside a developer's checkout."""
    folder = ROOT.parent / "shared"
    if not (folder / "spec").is_dir():
        pytest.skip("the specification and corpora (../shared) are not here; they are not part of the package")
    return folder


@pytest.fixture(scope="session")
def clinic() -> Clinic:
    """A clinic with a fixed id key, so that ids are the same in every run."""
    return Clinic(domain="clinic.example", id_key=b"a key for tests, the same in every run")


@pytest.fixture
def r4(clinic: Clinic) -> Binding:
    return Binding(clinic, Release.R4)


@pytest.fixture
def r4b(clinic: Clinic) -> Binding:
    return Binding(clinic, Release.R4B)


@pytest.fixture
def r5(clinic: Clinic) -> Binding:
    return Binding(clinic, Release.R5)


@pytest.fixture(scope="session")
def sekmet() -> Iterator[Server]:
    """A real FHIR R4 server on a free loopback port, empty at first, gone afterwards."""
    with sekmet_server() as server:
        yield server
