"""The demonstration says what is so, and notices when it is not."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from pathlib import Path

import pytest

from fhirbridge import config
from fhirbridge.demo.patients import seed_patients
from fhirbridge.demo.round_trip import RoundTrip
from fhirbridge.demo.server import Server, sekmet_server
from fhirbridge.fhir.bundle import Address
from fhirbridge.site import Site
from fhirbridge.sync.opening import open_ledger
from fhirbridge.synth import Options


@pytest.mark.sekmet
def test_it_ends_with_success_and_a_row_for_each_kind() -> None:
    command = [sys.executable, "-m", "fhirbridge.demo", "--patients", "2"]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    for kind in ("session", "vital_sign", "assessment", "consent", "adverse_event"):
        assert kind in run.stdout


@pytest.mark.sekmet
def test_a_server_that_changed_a_record_is_found_out(tmp_path: Path) -> None:
    """One time is altered behind our back: that record is not equal, all others are."""
    options = Options(1, 7, "tampered.example", "all-permit", 0, sessions=1, vitals="rems")
    with sekmet_server() as server:
        chosen = settings(server, options, tmp_path)
        with Site.open("demo", chosen) as site, open_ledger(chosen) as ledger:
            trip = RoundTrip(site, options, ledger)
            deque(seed_patients(site, options), maxlen=0)
            parts = [outcome.resources[0][0] for outcome in trip.first_push() if outcome.kind == "assessment"]
            part = next(one for one in parts if "effectiveDateTime" in one.resource)
            resource = site.client.read(Address(part.resource_type, part.id))
            assert resource is not None
            site.client.update(resource | {"effectiveDateTime": "2001-01-01T00:00:00Z"})
            deque(trip.read_back(), maxlen=0)
    assert not trip.succeeded
    assert trip.problems == ["assessment: came back different"]
    for kind, row in trip.rows.items():
        assert row.equal == row.records - (kind == "assessment"), kind


def settings(server: Server, options: Options, folder: Path) -> config.Config:
    tree = {"clinic": {"demo": True, "domain": options.domain}, "site": {"demo": {"base_url": server.base}}}
    return config.Config(config.parse(tree), folder, {})


@pytest.mark.sekmet
def test_the_server_ends_with_the_block() -> None:
    with sekmet_server() as server:
        assert server.process.poll() is None
    assert server.process.poll() is not None
