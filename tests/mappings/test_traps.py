"""The traps of the specification that concern sessions, vital signs and scales, each by its number.

Those of consents and adverse events stand beside their mappings.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.binding import Binding, Overlay, Release
from fhirbridge.errors import NotExpressible, RecordRefused
from fhirbridge.fhir.json import dump, parse
from fhirbridge.mapping import Mappings
from fhirbridge.records import parse as parse_record
from fhirbridge.records import to_json
from mappings import published, terms
from mappings.extensions import EXTENSIONS
from tests.kinds import CASES, CLINIC, KINDS, Case
from tests.laws.trees import places
from tests.mappings.examples import BLOOD_PRESSURE, PATIENT, SESSION
from tests.mappings.test_worked_examples import with_numbers

releases = pytest.mark.parametrize("release", list(Release))
SATURATION: dict[str, Any] = {
    "id": "v-2",
    "revision": 1,
    "patient": PATIENT,
    "sign": "oxygen_saturation",
    "status": "final",
    "measured_at": "2026-11-20T10:41:00-05:00",
    "readings": [{"name": "value", "value": 96, "unit": "%"}],
    "oxygen": {"delivery": "nasal_cannula", "flow": {"value": 2, "unit": "L/min"}, "fio2": {"value": 28, "unit": "%"}},
}


def parts(kind: str, tree: dict[str, Any], release: Release, overlay: Overlay = Overlay()) -> dict[str, Any]:  # noqa: B008
    record = parse_record(KINDS[kind].record, with_numbers(tree))
    written = Mappings(Binding(CLINIC, release, overlay), KINDS).to_fhir(record)
    return {part.role: parse(dump(part.resource)) for part in written.parts}


def codes(components: list[dict[str, Any]]) -> list[str]:
    return [component["code"]["coding"][0]["code"] for component in components]


@releases
def test_t8_oxygen_flow_is_an_observation_of_its_own(release: Release) -> None:
    """``L/min`` is no unit of a vital sign: the flow is an Observation of category procedure, and rides along as
    ours.
    """
    found = parts("vital_sign", SATURATION, release)
    assert codes(found["primary"]["component"]) == ["3150-0"]
    assert [one["code"] for one in found["primary"]["code"]["coding"]] == ["2708-6", "59408-5"]
    flow = found["o2-flow"]
    assert flow["code"]["coding"][0]["code"] == "3151-8"
    assert flow["category"][0]["coding"][0]["code"] == "procedure"
    assert flow["valueQuantity"]["code"] == "L/min"
    assert "profile" not in flow["meta"]


def test_t8_a_us_server_gets_the_flow_as_a_component_but_not_in_r5() -> None:
    """The US Core shape is an error in R5, so the wish is followed in R4 and R4B only."""
    wish = Overlay(us_core_o2_flow_component=True)
    for release, expected in (
        (Release.R4, ["3151-8", "3150-0"]),
        (Release.R4B, ["3151-8", "3150-0"]),
        (Release.R5, ["3150-0"]),
    ):
        assert codes(parts("vital_sign", SATURATION, release, wish)["primary"]["component"]) == expected


@releases
def test_t8_blood_pressure_is_one_observation(release: Release) -> None:
    """85354-9 with components and no value of its own: 8480-6 alone is an error."""
    primary = parts("vital_sign", BLOOD_PRESSURE, release)["primary"]
    assert primary["code"]["coding"][0]["code"] == "85354-9"
    assert codes(primary["component"]) == ["8480-6", "8462-4", "8478-0"]
    assert not any(name.startswith("value") for name in primary)
    assert primary["meta"]["profile"] == ["http://hl7.org/fhir/StructureDefinition/bp"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"measured_at": "2026-11"}, "coarser than a day"),
        ({"readings": []}, "neither value nor reason"),
        ({"readings": [{"name": "systolic", "value": 138, "unit": "mm[Hg]"}]}, "a part is missing"),
        ({"readings": [{"name": "value", "value": 138, "unit": "mmHg"}]}, "not UCUM"),
        ({"sign": "heart_rate", "readings": [{"name": "value", "value": 72, "unit": "{beats}/min"}]}, "another unit"),
        ({"sign": "bmi", "readings": [], "absent_reason": "unknown"}, "a body mass index without a value"),
    ],
)
def test_t8_what_the_profiles_refuse_is_no_record(change: dict[str, Any], why: str) -> None:
    """Each of these is an error of the reference validator in one release or another."""
    with pytest.raises(RecordRefused):
        parse_record(KINDS["vital_sign"].record, with_numbers(BLOOD_PRESSURE | change))


def test_t9_r5_spells_occurence_with_one_r() -> None:
    """MedicationAdministration in R5: ``occurencePeriod``, ``medication.concept``, ``encounter``,
    ``performer.actor``.
    """
    session = SESSION | {"performers": [{"actor": SESSION["recorded_by"], "function": "administering"}]}
    found = parts("session", session, Release.R5)["administration/1"]
    assert {"occurencePeriod", "medication", "encounter"} <= found.keys()
    assert not {"occurrencePeriod", "effectivePeriod", "medicationCodeableConcept", "context"} & found.keys()
    assert found["performer"][0]["actor"].keys() == {"reference"}


@releases
def test_t9_a_dosage_has_a_dose_or_a_rate(release: Release) -> None:
    """Invariant mad-1 of R4: a route alone makes no dosage."""
    session = SESSION | {"administrations": [{"medication": "ketamine", "route": "intramuscular"}]}
    assert "dosage" not in parts("session", session, release)["administration/1"]


def test_t14_a_session_names_its_adverse_events_in_an_extension() -> None:
    """``complicationDetail`` takes Conditions only."""
    event = {
        "type": "AdverseEvent",
        "identifier": {"system": "https://clinic.example/sid/adverse-event", "value": "77"},
    }
    primary = parts("session", SESSION | {"adverse_events": [event]}, Release.R4)["primary"]
    assert "complicationDetail" not in primary
    assert [
        one["valueReference"]["type"] for one in primary["extension"] if one["url"].endswith("adverse-event-ref")
    ] == ["AdverseEvent"]


def test_t15_no_look_alike_code_is_written() -> None:
    """Panels are not scores, PCL-C is not PCL-5, a disease is not a finding."""
    scores = {coded.code for table in (terms.SCALE_LOINC, terms.SECONDARY_SCALE) for coded in table.table.values()}
    assert not scores & {"70221-7", "44249-1", "69737-5", "54632-5"}
    assert terms.VITAL.table["etco2"].code == "19891-1"
    assert terms.VITAL.table["etco2_fraction"].code == "19889-5"
    events = {coded.code for coded in terms.EVENT.table.values()}
    assert not events & {"44376007", "38341003"}
    assert "1153575004" not in {coded.code for coded in terms.INDICATION.table.values()}


@pytest.mark.parametrize("digits", ["0.50", "70.0", "1e1", "1E1", "35", "35.000", "0.1234567890123456789"])
@releases
def test_t16_numbers_keep_their_digits(digits: str, release: Release) -> None:
    """What the clinic wrote is what stands in the bytes, and what comes back."""
    given_ = SESSION["administrations"][0] | {"dose": {"value": digits, "unit": "mg"}}
    record = parse_record(KINDS["session"].record, with_numbers(SESSION | {"administrations": [given_]}))
    mappings = Mappings(Binding(CLINIC, release), KINDS)
    body = dump(mappings.to_fhir(record).parts[0].resource)
    assert f'"value":{digits},"unit":"mg"'.encode() in body
    assert str(to_json(mappings.read(body).record)["administrations"][0]["dose"]["value"]) == digits


@pytest.mark.parametrize(
    "time", ["2026-11-20", "2026-11-20T10:41:00.120-05:00", "2026-11-20T10:41:00+00:00", "2026-11-20T15:41:00Z"]
)
def test_t16_times_keep_their_text(time: str) -> None:
    """Fractions, offsets and partial dates are text."""
    primary = parts("vital_sign", BLOOD_PRESSURE | {"measured_at": time}, Release.R4)["primary"]
    assert primary["effectiveDateTime"] == time


def test_t16_a_time_without_an_offset_is_refused() -> None:
    """It names no moment."""
    with pytest.raises(RecordRefused, match="offset"):
        parse_record(KINDS["vital_sign"].record, with_numbers(BLOOD_PRESSURE | {"measured_at": "2026-11-20T10:41:00"}))


def test_t17_no_display_carries_a_semantic_tag() -> None:
    """SNOMED's fully specified name is not a display."""
    tables = [
        value for value in vars(terms).values() if isinstance(value, terms.Vocabulary) and value.system == terms.SNOMED
    ]
    assert len(tables) >= 6
    for table in tables:
        for coded in table.table.values():
            assert not coded.display.endswith(")"), coded.code


def test_t18_no_code_of_a_later_code_system_is_written() -> None:
    """``transmitter`` and ``transformer`` are unknown to R4 and to HL7 Terminology 5.1.0."""
    written = {
        coded.code
        for value in vars(terms).values()
        if isinstance(value, terms.Vocabulary)
        for coded in value.table.values()
    }
    assert not written & {"transmitter", "transformer"}


PUBLISHED = {
    "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
    *(value.url for value in vars(published).values() if hasattr(value, "url")),
    *(value for value in vars(published).values() if isinstance(value, str) and value.startswith("http")),
    *(definition.url for guide in (published.AE4, published.AE5) for definition in guide.values()),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("release", [Release.R4, Release.R5])
@given(data=st.data())
def test_t21_every_extension_we_write_is_defined(case: Case, release: Release, data: st.DataObject) -> None:
    """A receiver can look up each of ours in the conformance resources, in its context; the others are published."""
    base = CLINIC.base
    contexts = {f"{base}/StructureDefinition/{one.name}": set(one.contexts) for one in EXTENSIONS}
    try:
        written = Mappings(Binding(CLINIC, release), KINDS).to_fhir(
            parse_record(case.kind.record, data.draw(case.trees))
        )
    except NotExpressible:
        return
    for part in written.parts:
        for path, node in places(part.resource):
            if len(path) >= 2 and path[-2] == "extension" and node["url"].startswith(("http:", "https:")):
                names = [step for step in path[:-2] if isinstance(step, str)]
                # A provision may stand in a provision at any depth; two levels are what a context can say.
                element = ".".join([part.resource_type, *names]).replace(
                    ".provision.provision.provision", ".provision.provision"
                )
                if node["url"].startswith(base):
                    assert element in contexts[node["url"]], (element, node["url"])
                else:
                    assert node["url"] in PUBLISHED


@pytest.mark.parametrize("status", ["cancelled", "no_show", "not_done", "planned", "preparation"])
@releases
def test_what_was_not_given_is_not_said_to_be_given(status: str, release: Release) -> None:
    """A session that did not take place may list what was planned; no dose of it counts as given."""
    assert parts("session", SESSION | {"status": status}, release)["administration/1"]["status"] == "not-done"


@pytest.mark.parametrize(("release", "native"), [(Release.R4, False), (Release.R4B, False), (Release.R5, True)])
def test_supporting_records_have_an_element_in_r5_only(release: Release, native: bool) -> None:
    """HL7's workflow-supportingInfo is not allowed on an R4 Procedure (reference validator), so ours stands in."""
    vital = {"type": "Observation", "identifier": {"system": "https://clinic.example/sid/vital-sign", "value": "V-1"}}
    primary = parts("session", SESSION | {"supporting_records": [vital]}, release)["primary"]
    assert ("supportingInfo" in primary) is native
    assert any(one["url"].endswith("/supporting-record") for one in primary["extension"]) is not native
