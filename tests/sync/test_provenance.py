"""A Provenance says what was written out of which records, and is the same however often its bundle is tried."""

from __future__ import annotations

import pytest

from fhirbridge.binding import Binding, Clinic, Release
from fhirbridge.sync.provenance import Written, provenance, provenance_id

CLINIC = Clinic("clinic.example", b"an id key for tests, 32 bytes ok")
WRITTEN = [
    Written("Procedure/f1", "session", "s1", "2", "a" * 64, exists=False),
    Written("MedicationAdministration/f2", "session", "s1", "2", "b" * 64, exists=False),
    Written("Observation/f3", "vital_sign", "v1", "1", "c" * 64, exists=False),
]


@pytest.mark.parametrize("release", Release)
def test_it_names_every_target_without_version_and_every_record_once(release: Release) -> None:
    binding = Binding(CLINIC, release)
    tree = provenance(binding, "b1", WRITTEN, 1_800_000_000.25, "run-1")
    assert [one["reference"] for one in tree["target"]] == [one.reference for one in WRITTEN]
    assert "_history" not in str(tree)
    values = [one["what"]["identifier"]["value"] for one in tree["entity"]]
    assert values == ["session/s1@2#" + "a" * 32, "vital_sign/v1@1#" + "c" * 32]
    assert tree["recorded"] == "2027-01-15T08:00:00.250Z"
    assert {one["type"]["coding"][0]["code"] for one in tree["agent"]} == {"author", "assembler", "transmitter"}
    assert tree["id"] == provenance_id(binding, "b1") != provenance_id(binding, "b2")


def test_its_activity_tells_a_first_write_from_an_update_in_the_words_of_the_release() -> None:
    updated = [Written("Procedure/f1", "session", "s1", "2", "a", exists=True)]
    codes = {
        (release, provenance(Binding(CLINIC, release), "b", written, 0, "r")["activity"]["coding"][0]["code"])
        for release in (Release.R4, Release.R5)
        for written in (WRITTEN, updated)
    }
    assert codes == {
        (Release.R4, "CREATE"), (Release.R4, "UPDATE"), (Release.R5, "originate"), (Release.R5, "amend"),
    }  # fmt: skip
