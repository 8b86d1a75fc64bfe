"""Adverse events: worked examples, golden files, HL7's examples, and what an edit does to a foreign resource."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.binding import Binding, Overlay, Release
from fhirbridge.errors import NotExpressible, RecordRefused, ResourceRefused
from fhirbridge.fhir.json import canonical, dump, parse, parse_object
from fhirbridge.mapping import Mappings
from fhirbridge.records import AdverseEvent, to_json
from fhirbridge.records import parse as parse_record
from fhirbridge.residue import Entry
from mappings.adverse_event import KIND
from tests.kinds import CLINIC
from tests.strategies import adverse_event as strategy

Tree = dict[str, Any]
GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "adverse_event"
RELEASES = pytest.mark.parametrize("release", list(Release), ids=str)
R4_RELEASES = pytest.mark.parametrize("release", [Release.R4, Release.R4B], ids=str)
CORE = Overlay(r4_core_ae_codes=True, single_coding_required_bindings=True)
MAPPINGS = {
    (release, overlay): Mappings(Binding(CLINIC, release, overlay), {"adverse_event": KIND})
    for release in Release
    for overlay in (Overlay(), CORE)
}
EXAMPLE: Tree = {
    "id": "77",
    "revision": 1,
    "patient": {
        "type": "Patient",
        "identifier": {"system": "https://clinic.example/sid/patient", "value": "P-1001"},
    },
    "source": "https://clinic.example/fhirbridge",
    "notes": [{"text": "BP 182/104 at 40 min, settled without medication."}],
    "record_status": "completed",
    "actuality": "actual",
    "verbatim": "blood pressure increased",
    "term": "blood_pressure_increased",
    "onset": "2026-11-20T10:41:00-05:00",
    "resolved_at": "2026-11-20T11:30:00-05:00",
    "detected_at": "2026-11-20T10:41:00-05:00",
    "recorded_at": "2026-11-20T12:10:00-05:00",
    "recorded_by": {
        "type": "Practitioner",
        "identifier": {"system": "https://clinic.example/sid/practitioner", "value": "RN-7"},
    },
    "serious": True,
    "seriousness_criteria": ["other_important"],
    "severity": "moderate",
    "grade": 2,
    "outcome": "resolved",
    "suspects": [
        {
            "instance": {
                "type": "Procedure",
                "identifier": {"system": "https://clinic.example/sid/treatment-session", "value": "6f2c1d0e"},
            },
            "causality": [
                {
                    "assessment": "probable",
                    "relatedness": "related",
                    "author": {
                        "type": "Practitioner",
                        "identifier": {"system": "https://clinic.example/sid/practitioner", "value": "MD-2"},
                    },
                }
            ],
        }
    ],
    "expectedness": {"value": "expected", "reference": "US label"},
    "actions": [{"taken": "drug_interrupted", "text": "Infusion paused 10 min"}],
}


def mappings_of(release: Release, overlay: Overlay | None = None) -> Mappings:
    return MAPPINGS[release, overlay or Overlay()]


def record_of(tree: Tree) -> AdverseEvent:
    return parse_record(AdverseEvent, {name: value for name, value in tree.items() if name != "kind"})


def resource_of(record: AdverseEvent, release: Release, overlay: Overlay | None = None) -> Tree:
    return parse_object(dump(mappings_of(release, overlay).to_fhir(record).parts[0].resource))


def read(resource: Tree, release: Release, overlay: Overlay | None = None) -> tuple[AdverseEvent, tuple[Entry, ...]]:
    reading = mappings_of(release, overlay).from_fhir(resource)
    assert isinstance(reading.record, AdverseEvent)
    return reading.record, reading.residue


def content(record: AdverseEvent) -> bytes:
    return canonical({name: value for name, value in to_json(record).items() if name not in ("id", "revision")})


def minimal(release: Release, **elements: Any) -> Tree:
    """A small foreign resource."""
    base: Tree = {
        "resourceType": "AdverseEvent",
        "id": "example",
        "actuality": "actual",
        "subject": {"reference": "Patient/1"},
    }
    if release.is_r5:
        return base | {"status": "completed", "code": {"text": "rash"}} | elements
    return base | {"event": {"text": "rash"}} | elements


def assert_laid_back(resource: Tree, release: Release) -> AdverseEvent:
    """A resource is read, and record and residue give it back; the record is returned."""
    record, residue = read(parse(dump(resource)), release)
    entries = [Entry.from_json(parse(dump(entry.as_json()))) for entry in residue]
    written = mappings_of(release).to_fhir(record, entries)
    assert written.dropped == ()
    assert canonical(written.parts[0].resource) == canonical(resource)
    return record


def refused(resource: Tree, release: Release) -> dict[str, str]:
    """The faults of a resource that is refused, code by path."""
    with pytest.raises(ResourceRefused) as caught:
        mappings_of(release).from_fhir(resource)
    return {fault.path: fault.code for fault in caught.value.faults}


# ------------------------------------------------------------------------------------------ examples
def _comparable(node: Any) -> Any:
    """Without what the worked examples leave open: literal references, and labels beside codings."""
    if isinstance(node, list):
        return [_comparable(item) for item in node]
    if not isinstance(node, dict):
        return node
    left_out = {"reference"} | ({"text"} if "coding" in node else set())
    members = {name: _comparable(member) for name, member in node.items() if name not in left_out}
    if "extension" in members:
        members["extension"] = sorted(members["extension"], key=canonical)
    return members


@RELEASES
def test_the_worked_example_is_reproduced_from_a_record(shared: Path, release: Release) -> None:
    """But for id, literal references, meta, the order of extensions, and labels beside codings. The two texts that the
    record holds beside codings, the verbatim term and the action in words, are compared by reading."""
    example = parse_object((shared / f"spec/examples/{'R5' if release.is_r5 else 'R4'}-AdverseEvent.json").read_bytes())
    written = resource_of(record_of(EXAMPLE), release)
    for resource in (example, written):
        del resource["id"], resource["meta"]
    assert canonical(_comparable(written)) == canonical(_comparable(example))


@RELEASES
def test_the_worked_example_leaves_only_labels_and_addresses_as_residue(shared: Path, release: Release) -> None:
    example = parse_object((shared / f"spec/examples/{'R5' if release.is_r5 else 'R4'}-AdverseEvent.json").read_bytes())
    record, residue = read(example, release)
    said = {name: value for name, value in EXAMPLE.items() if name != "source"}
    assert content(record) == content(record_of(said))
    left = [entry for entry in residue if not entry.path.endswith((".text", ".reference"))]
    assert all(entry.path == "id" or entry.path.startswith("meta.") or entry.op == "order" for entry in left)


@pytest.mark.parametrize("name", ["hypertensive_reaction", "near_miss", "entered_in_error"])
@pytest.mark.parametrize("release", [Release.R4, Release.R4B, Release.R5], ids=str)
def test_golden_files_are_written_byte_for_byte_and_read_back(name: str, release: Release) -> None:
    source = parse_object((GOLDEN / f"{name}.json").read_bytes())
    golden = parse_object((GOLDEN / f"{name}.{'r5' if release.is_r5 else 'r4'}.json").read_bytes())
    record = record_of(source)
    assert canonical(resource_of(record, release)) == canonical(golden)
    back, residue = read(golden, release)
    assert canonical(to_json(back)) == canonical(to_json(record))
    assert residue == ()


@R4_RELEASES
def test_hl7s_own_example_is_read_and_laid_back(shared: Path, release: Release) -> None:
    """It spells seriousness and category as the R4 core does (trap T5), which the reader takes for the same words."""
    example = parse_object((shared / "corpora/hl7-examples/R4/AdverseEvent/adverseevent-example.json").read_bytes())
    record = assert_laid_back(example, release)
    assert record.serious is False
    assert record.categories == ("product_use_error",)
    assert record.record_status == "unknown"
    assert [one.value for one in record.additional_identifiers] == ["49476534"]


# ---------------------------------------------------------------------------- other ways to say the same
BACKPORT = "http://hl7.org/fhir/uv/ae-research-backport-ig/StructureDefinition"


def research_event() -> Tree:
    """What the R4 guide's profile looks like: a state as modifier, suspects and effects in extensions."""
    ncit = "http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl"
    related = {"coding": [{"system": ncit, "code": "C53258", "display": "Possibly Related"}]}
    return minimal(
        Release.R4,
        modifierExtension=[{"url": f"{BACKPORT}/status", "valueCode": "completed"}],
        extension=[
            {
                "url": f"{BACKPORT}/suspect-entity",
                "extension": [
                    {"url": "instance", "valueReference": {"reference": "MedicationAdministration/abc"}},
                    {"url": "causality", "extension": [{"url": "entityRelatedness", "valueCodeableConcept": related}]},
                ],
            },
            {"url": f"{BACKPORT}/resultingEffect", "valueReference": {"reference": "Condition/bleed"}},
            {"url": f"{BACKPORT}/resultingEffect", "valueReference": {"reference": "Observation/hb"}},
            {"url": f"{BACKPORT}/resolve-date", "valueDateTime": "2021-12-09"},
            {
                "url": f"{BACKPORT}/mitigating-action",
                "extension": [{"url": "item", "valueReference": {"reference": "Procedure/endoscopy"}}],
            },
            {"url": f"{BACKPORT}/participant", "extension": [{"url": "actor", "valueReference": {"display": "site"}}]},
            {"url": f"{BACKPORT}/research-subject-ref", "valueReference": {"reference": "ResearchSubject/1"}},
        ],
        date="2021-12-02",
    )


@R4_RELEASES
def test_a_resource_of_the_research_guide_is_read_and_laid_back(release: Release) -> None:
    record = assert_laid_back(research_event(), release)
    assert record.record_status == "completed"
    assert record.suspects[0].causality[0].relatedness == "possibly_related"
    assert [ref.literal for ref in record.resulting_conditions] == ["Condition/bleed"]
    assert [ref.literal for ref in record.resulting_findings] == ["Observation/hb"]
    assert [ref.display for ref in record.contributors] == ["site"]
    assert (record.onset, record.resolved_at) == ("2021-12-02", "2021-12-09")


OTHER_WAYS: list[tuple[Release, Tree]] = [
    (Release.R4, research_event()),
    (Release.R5, minimal(Release.R5, occurrenceDateTime="2026-11-20")),
    (Release.R5, minimal(Release.R5, occurrenceTiming={"event": ["2026-11-20"]})),
    (
        Release.R4B,
        minimal(
            Release.R4B,
            extension=[
                {
                    "url": "http://hl7.org/fhir/5.0/StructureDefinition/extension-AdverseEvent.occurrence",
                    "valuePeriod": {"start": "2026-11-20", "end": "2026-11-21"},
                }
            ],
        ),
    ),
    (
        Release.R4,
        minimal(
            Release.R4,
            contained=[{"resourceType": "Medication", "id": "m", "code": {"text": "ketamine"}, "status": "active"}],
            suspectEntity=[{"instance": {"reference": "#m"}}],
        ),
    ),
]


@pytest.mark.parametrize("way", range(len(OTHER_WAYS)))
@given(tree=strategy.adverse_events, data=st.data())
def test_after_an_edit_no_residue_contradicts_the_record(way: int, tree: Tree, data: st.DataObject) -> None:
    """Whatever fields are edited, the resource says what the record says now, and what had to go is reported."""
    release, source = OTHER_WAYS[way]
    record, residue = read(parse(dump(source)), release)
    fields = data.draw(st.lists(st.sampled_from([*sorted(tree), "onset", "suspects"]), min_size=1, max_size=3))
    edits = {name: tree.get(name) for name in fields if name not in ("id", "revision")}
    try:
        edited = record_of(to_json(record) | edits)
    except RecordRefused:
        return
    written = mappings_of(release).to_fhir(edited, residue)
    again, _ = read(parse(dump(written.parts[0].resource)), release)
    assert content(again) == content(edited)
    if content(edited) == content(record):
        assert written.dropped == ()


@R4_RELEASES
def test_an_edited_state_displaces_the_foreign_modifier(release: Release) -> None:
    record, residue = read(research_event(), release)
    void = record_of(to_json(record) | {"record_status": "entered_in_error"})
    written = mappings_of(release).to_fhir(void, residue)
    resource = written.parts[0].resource
    assert [one["valueCode"] for one in resource["modifierExtension"]] == ["entered-in-error"]
    assert any(path.startswith("modifierExtension") for path in written.dropped)
    assert any(one["url"].endswith("research-subject-ref") for one in resource["extension"])


# ------------------------------------------------------------------------------------- what is refused
REFUSED_R4: dict[str, tuple[Tree, str]] = {
    "an unknown modifier": (
        {"modifierExtension": [{"url": "https://x.example/negated", "valueBoolean": True}]},
        "AdverseEvent.modifierExtension[0]",
    ),
    "a modifier inside": (
        {
            "suspectEntity": [
                {"instance": {"reference": "Device/1"}, "modifierExtension": [{"url": "https://x.example"}]}
            ]
        },
        "AdverseEvent.suspectEntity[0].modifierExtension[0]",
    ),
    "two states": (
        {
            "modifierExtension": [{"url": f"{BACKPORT}/status", "valueCode": "completed"}],
            "extension": [{"url": f"{BACKPORT}/status", "valueCode": "unknown"}],
        },
        "AdverseEvent.modifierExtension[0].valueCode",
    ),
    "an unknown state": ({"status": "finished"}, "AdverseEvent.status"),
    "an unknown severity": ({"severity": {"text": "awful"}}, "AdverseEvent.severity.coding"),
    "an outcome R4 does not know": ({"outcome": {"text": "better"}}, "AdverseEvent.outcome.coding"),
    "an unknown seriousness": ({"seriousness": {"text": "rather"}}, "AdverseEvent.seriousness.coding"),
    "a suspect without instance": ({"suspectEntity": [{}]}, "AdverseEvent.suspectEntity[0].instance"),
    "two outcomes in one concept": (
        {
            "outcome": {
                "coding": [
                    {"system": "http://terminology.hl7.org/CodeSystem/adverse-event-outcome", "code": "fatal"},
                    {"system": "http://terminology.hl7.org/CodeSystem/adverse-event-outcome", "code": "resolved"},
                ]
            }
        },
        "AdverseEvent.outcome.coding",
    ),
    "nothing that happened": ({"event": {}}, "AdverseEvent.event.text"),
    "the same suspect twice": (
        {"suspectEntity": [{"instance": {"reference": "Device/1"}}, {"instance": {"reference": "Device/1"}}]},
        "AdverseEvent",
    ),
    "two times": (
        {
            "date": "2026-11-19",
            "extension": [
                {
                    "url": "http://hl7.org/fhir/5.0/StructureDefinition/extension-AdverseEvent.occurrence",
                    "valuePeriod": {"start": "2026-11-20"},
                }
            ],
        },
        "AdverseEvent.extension[0].valuePeriod.start",
    ),
}


@pytest.mark.parametrize("why", REFUSED_R4)
def test_what_cannot_be_read_safely_is_refused_with_its_path(why: str) -> None:
    elements, path = REFUSED_R4[why]
    assert path in refused(minimal(Release.R4, **elements), Release.R4)


def test_all_faults_of_a_resource_are_told_at_once() -> None:
    faults = refused(
        minimal(Release.R4, actuality="maybe", severity={"text": "awful"}, date=5, suspectEntity=[{}, {}]), Release.R4
    )
    assert {
        "AdverseEvent.actuality",
        "AdverseEvent.severity.coding",
        "AdverseEvent.date",
        "AdverseEvent.suspectEntity[0].instance",
        "AdverseEvent.suspectEntity[1].instance",
    } <= faults.keys()


def test_r5_without_a_status_is_refused() -> None:
    resource = minimal(Release.R5)
    del resource["status"]
    assert refused(resource, Release.R5) == {"AdverseEvent.status": "resource.status"}


def test_r5_keeps_a_foreign_outcome_and_r4_refuses_to_write_it() -> None:
    """R4 requires one of six codes, so another outcome cannot be said there without changing it (trap T6)."""
    snomed = {"coding": [{"system": "http://snomed.info/sct", "code": "405532008"}]}
    record = assert_laid_back(minimal(Release.R5, outcome=[snomed]), Release.R5)
    with pytest.raises(NotExpressible) as caught:
        resource_of(record, Release.R4)
    assert [fault.path for fault in caught.value.faults] == ["outcome"]


WORDS_AS_CONCEPTS: dict[str, Tree] = {
    "categories": {"categories": [{"text": "wrong dose"}]},
    "codings[0]": {"codings": [{"system": "http://snomed.info/sct", "code": "422587007"}]},
    "expectedness.value": {"expectedness": {"value": {"text": "expected"}}},
    "participants.function": {"participants": [{"actor": {"display": "x"}, "function": {"text": "witness"}}]},
    "actions.treatment": {
        "actions": [
            {
                "treatment": {
                    "codings": [
                        {"system": "https://fhirbridge.example/fhir/CodeSystem/action-taken", "code": "unknown"}
                    ]
                }
            }
        ]
    },
}


@RELEASES
@pytest.mark.parametrize("path", WORDS_AS_CONCEPTS)
def test_a_concept_that_would_come_back_as_a_word_is_not_written(release: Release, path: str) -> None:
    tree = {name: value for name, value in EXAMPLE.items() if name != "term"} | WORDS_AS_CONCEPTS[path]
    with pytest.raises(NotExpressible) as caught:
        resource_of(record_of(tree), release)
    assert [(fault.path, fault.code) for fault in caught.value.faults] == [(path, "record.word")]
    assert all(fault.hint for fault in caught.value.faults)
