"""The servers that the contract is tried on, and a clinic of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fhirbridge.synth import Options
from tests.contract.hapi import hapi_server
from tests.contract.hospital import Hospital

SERVERS = {
    "sekmet": pytest.param("sekmet", id="sekmet", marks=[pytest.mark.sekmet, pytest.mark.xdist_group("sekmet")]),
    "hapi-r4": pytest.param("r4", id="hapi-r4", marks=[pytest.mark.acceptance, pytest.mark.xdist_group("hapi-r4")]),
    "hapi-r5": pytest.param("r5", id="hapi-r5", marks=[pytest.mark.acceptance, pytest.mark.xdist_group("hapi-r5")]),
}


@pytest.fixture(scope="session", params=SERVERS.values())
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, str, bool]]:
    """The base address of a server, its release, and whether it keeps the digits of numbers (SEKMET: 0.50 is 0.5)."""
    which: Any = request.param
    if which == "sekmet":
        yield request.getfixturevalue("sekmet").base, "r4", False
    else:
        with hapi_server(which) as base:
            yield base, which, True


@pytest.fixture
def hospital(server: tuple[str, str, bool], request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Hospital]:
    """A hospital where the patients of a small clinic are registered; each test has a clinic nobody else writes for."""
    base, release, keeps_digits = server
    words = request.node.originalname.removeprefix("test_").replace("_", "-")
    # Corrections are made by the tests themselves.
    options = Options(2, 7, f"{words[:60].strip('-')}.example", "all-permit", 0, sessions=1, vitals="rems")
    with Hospital(base, release, options, tmp_path, keeps_digits=keeps_digits) as made:
        made.register_patients()
        yield made
