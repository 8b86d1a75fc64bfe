"""Projections: what is written beside the primary resource says the same as it, in every release."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.binding import Binding, Overlay, Release
from fhirbridge.errors import NotExpressible
from fhirbridge.fhir.json import canonical, dump, parse
from fhirbridge.mapping import Mappings
from fhirbridge.records import parse as parse_record
from tests.kinds import CASES, CLINIC, KINDS
from tests.mappings.examples import NURSE, PATIENT, SESSION, ref
from tests.mappings.test_worked_examples import with_numbers

releases = pytest.mark.parametrize("release", list(Release))
PLAIN, US = Overlay(), Overlay(us_core=True)
GIVEN = SESSION["administrations"][0]
ADMINISTRATION = "administration/1"


def parts(kind: str, tree: dict[str, Any], release: Release, overlay: Overlay = PLAIN) -> dict[str, Any]:
    record = parse_record(KINDS[kind].record, with_numbers(tree))
    written = Mappings(Binding(CLINIC, release, overlay), KINDS).to_fhir(record)
    return {part.role: parse(dump(part.resource)) for part in written.parts}


def administration(release: Release, given_: dict[str, Any], **session: Any) -> Any:
    """The MedicationAdministration of the worked example's session with other values; ``None`` takes one away."""
    one = {name: value for name, value in (GIVEN | given_).items() if value is not None}
    tree = {name: value for name, value in (SESSION | session).items() if value is not None}
    return parts("session", tree | {"administrations": [one]}, release)[ADMINISTRATION]


@pytest.mark.parametrize("kind", ["session", "vital_sign", "assessment"])
@pytest.mark.parametrize("release", [Release.R4, Release.R5])
@given(data=st.data())
def test_a_projection_is_about_the_same_patient_visit_and_secret(
    kind: str, release: Release, data: st.DataObject
) -> None:
    """Subject, encounter, labels and source are those of the primary; its own are the role, the key and the id."""
    record = parse_record(KINDS[kind].record, data.draw(CASES[kind].trees))
    try:
        written = Mappings(Binding(CLINIC, release, US), KINDS).to_fhir(record).parts
    except NotExpressible:
        return
    primary = written[0].resource
    for part in written[1:]:
        node, is_r4_drug = part.resource, part.resource_type == "MedicationAdministration" and not release.is_r5
        assert canonical(node["subject"]) == canonical(primary["subject"])
        assert node.get("context" if is_r4_drug else "encounter") == primary.get("encounter")
        assert node["meta"]["security"] == primary["meta"]["security"]
        assert node["meta"]["source"] == primary["meta"]["source"]
    roles = [
        [tag["code"] for tag in part.resource["meta"]["tag"] if tag["system"].endswith("/role")] for part in written
    ]
    assert roles == [[], *([part.role] for part in written[1:])]
    assert len({part.id for part in written}) == len(written)
    assert len({canonical(part.resource["meta"]["tag"]) for part in written}) == len(written)


@releases
def test_a_part_of_a_session_points_to_it(release: Release) -> None:
    found = parts("session", SESSION | {"modality": "kap"}, release)
    assert found.keys() == {"primary", ADMINISTRATION, "psychotherapy"}
    for role in (ADMINISTRATION, "psychotherapy"):
        (session,) = found[role]["partOf"]
        assert session["type"] == "Procedure"
        assert session["identifier"] == found["primary"]["identifier"][0]


@releases
@pytest.mark.parametrize(
    ("session", "own", "expected"),
    [
        ("completed", None, "completed"),
        ("in_progress", None, "in-progress"),
        ("stopped", None, "completed"),
        ("completed", "not_done", "not-done"),
        ("completed", "on_hold", "on-hold"),
        ("in_progress", "stopped", "stopped"),
        ("completed", "unknown", "unknown"),
        ("entered_in_error", None, "entered-in-error"),
        ("entered_in_error", "completed", "entered-in-error"),
    ],
)
def test_an_administration_has_its_own_status_unless_the_session_is_void(
    session: str, own: str | None, expected: str, release: Release
) -> None:
    assert administration(release, {"status": own}, status=session)["status"] == expected


@releases
def test_an_administration_without_a_time_takes_that_of_the_session(release: Release) -> None:
    stem = "occurence" if release.is_r5 else "effective"
    span = {"start": SESSION["started_at"], "end": SESSION["ended_at"]}
    assert administration(release, {"period": None})[f"{stem}Period"] == span
    node = administration(release, {"period": None}, ended_at=None)
    assert node[f"{stem}DateTime"] == SESSION["started_at"]
    assert f"{stem}Period" not in node


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ("35", "mg", "40", "min")),
        ({"period": {"start": "2026-11-20T10:00:00-05:00", "end": "2026-11-20T16:00:00Z"}}, ("35", "mg", "60", "min")),
        ({"period": {"start": "2026-11-20T10:00:00Z", "end": "2026-11-20T10:00:45Z"}}, ("35", "mg", "0.75", "min")),
        ({"period": {"start": "2026-11-20", "end": "2026-11-21"}}, None),
        ({"period": {"start": "2026-11-20T10:00:00Z"}}, None),
        ({"route": "intramuscular"}, None),
        ({"rate": {"value": 52, "unit": "mg/h"}}, None),
    ],
)
@releases
def test_the_rate_of_an_infusion_is_its_dose_over_its_minutes(
    change: dict[str, Any], expected: tuple[str, ...] | None, release: Release
) -> None:
    """Only where both times are known to the minute; a rate that the record gives stands as it is."""
    dosage = administration(release, change)["dosage"]
    if expected is None:
        assert "rateRatio" not in dosage
        assert ("rateQuantity" in dosage) == ("rate" in change)
    else:
        ratio = dosage["rateRatio"]
        found = [(str(one["value"]), one["code"]) for one in (ratio["numerator"], ratio["denominator"])]
        assert found == [expected[:2], expected[2:]]


@releases
def test_who_gave_the_drug_is_the_performer_of_the_administration(release: Release) -> None:
    performers = [{"actor": NURSE, "function": "administering"}, *SESSION["performers"]]
    node = administration(release, {}, performers=performers)
    actor = {"reference": NURSE} if release.is_r5 else NURSE
    assert node["performer"] == [{"actor": actor}]
    assert "performer" not in administration(release, {})


@releases
def test_a_profile_of_us_core_is_claimed_where_a_site_wants_it_and_r5_has_none(release: Release) -> None:
    """Profiles follow from the content (decision D4); US Core is for R4."""
    plain, wanted = (parts("session", SESSION, release, one)["primary"]["meta"] for one in (PLAIN, US))
    assert "profile" not in plain
    expected = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-procedure"
    assert wanted.get("profile") == (None if release.is_r5 else [expected])


SCORE: dict[str, Any] = {
    "id": "SC-1",
    "revision": 1,
    "patient": PATIENT,
    "encounter": ref("Encounter", "encounter", "E-55"),
    "scale": "gad7",
    "status": "final",
    "measured_at": "2026-11-20",
    "score": 7,
    "items": [{"item": "gad7-1", "value": 2}, {"item": "ours-1", "value": 1}, {"item": "gad7-7", "value": 3}],
}


@releases
def test_a_us_server_gets_a_panel_of_the_total_and_the_items_it_has_codes_for(release: Release) -> None:
    assert parts("assessment", SCORE, release).keys() == {"primary"}
    found = parts("assessment", SCORE, release, US)
    assert found.keys() == {"primary", "item/gad7-1", "item/gad7-7", "panel"}
    system = found["primary"]["identifier"][0]["system"]
    members = [one["identifier"] for one in found["panel"]["hasMember"]]
    assert members == [found[role]["identifier"][0] for role in ("primary", "item/gad7-1", "item/gad7-7")]
    assert {one["system"] for one in members} == {system}
    codes = [found[role]["code"]["coding"][0]["code"] for role in ("panel", "primary", "item/gad7-1", "item/gad7-7")]
    assert codes == ["69737-5", "70274-6", "69725-0", "69736-7"]


@releases
@pytest.mark.parametrize("change", [{"items": []}, {"scale": "madrs"}])
def test_there_is_no_panel_without_items_or_a_code_for_it(change: dict[str, Any], release: Release) -> None:
    assert parts("assessment", SCORE | change, release, US).keys() == {"primary"}
