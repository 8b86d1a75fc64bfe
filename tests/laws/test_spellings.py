"""What is spelled under another base of ours is read as ours, and written back as it was spelled (design §5)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.binding import Binding, Release
from fhirbridge.errors import NotExpressible
from fhirbridge.fhir.json import canonical, dump, parse
from fhirbridge.mapping import Mappings
from fhirbridge.records import parse as parse_record
from fhirbridge.records import to_json
from tests.kinds import CASES, CLINIC, KINDS, Case

OLD = "https://fhirbridge.example/fhir"
NEW = replace(CLINIC, base="https://clinic.example/fhir", other_bases=(OLD,))


@pytest.mark.parametrize("release", [Release.R4, Release.R5])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@given(data=st.data())
def test_a_moved_base_reads_what_was_written_before(case: Case, release: Release, data: st.DataObject) -> None:
    """After the clinic moved its canonical base, its older resources are the same records."""
    before, after = Mappings(Binding(CLINIC, release), KINDS), Mappings(Binding(NEW, release), KINDS)
    record = parse_record(case.kind.record, data.draw(case.trees))
    try:
        source = parse(dump(before.to_fhir(record).parts[0].resource))
    except NotExpressible:
        return
    reading = after.from_fhir(source)
    assert canonical(to_json(reading.record)) == canonical(to_json(record))
    assert {entry.path.rpartition(".")[2] for entry in reading.residue} <= {"url", "system"}
    again = after.to_fhir(reading.record, reading.residue)
    assert canonical(again.parts[0].resource) == canonical(source)


def test_the_cross_version_url_of_a_recording_time_is_read(clinic_r4: Mappings) -> None:
    """Trap T20: ``extension-Procedure.recorded`` means X:recorded-at; ours is what we write."""
    source = parse(dump(clinic_r4.to_fhir(parse_record(KINDS["session"].record, SESSION)).parts[0].resource))
    (extension,) = [one for one in source["extension"] if one["url"].endswith("/recorded-at")]
    extension["url"] = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Procedure.recorded"
    reading = clinic_r4.from_fhir(source)
    assert to_json(reading.record)["recorded_at"] == "2026-11-20T12:10:00-05:00"
    assert canonical(clinic_r4.to_fhir(reading.record, reading.residue).parts[0].resource) == canonical(source)


@pytest.fixture
def clinic_r4() -> Mappings:
    return Mappings(Binding(CLINIC, Release.R4), KINDS)


SESSION = {
    "id": "s1",
    "revision": 1,
    "patient": {"type": "Patient", "identifier": {"system": "https://clinic.example/sid/patient", "value": "P-1"}},
    "modality": "other",
    "code": {"text": "visit"},
    "status": "completed",
    "started_at": "2026-11-20",
    "recorded_at": "2026-11-20T12:10:00-05:00",
}
