"""The reference validator finds no error in the events of the audit trail, of every sort and in every release."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhirbridge.audit.events import events
from fhirbridge.binding import Release
from fhirbridge.fhir.json import dump
from tests.acceptance.conftest import Validate
from tests.audit.trails import KEYS, audit_in, everything

pytestmark = pytest.mark.acceptance


@pytest.mark.parametrize(
    "release", [pytest.param(one, marks=pytest.mark.xdist_group(f"validator-{one}")) for one in Release]
)
def test_every_sort_of_event_is_valid(tmp_path: Path, validate: Validate, release: Release) -> None:
    everything(audit_in(tmp_path / "trail", release))
    found = list(events(tmp_path / "trail", KEYS))
    together = tmp_path / "events.ndjson"
    together.write_bytes(b"".join(dump(one) + b"\n" for one in found))
    verdict = validate(release.value, together)
    assert not verdict.errors, "\n".join(verdict.errors[:20])
    assert verdict.resources == len(found) > 30
