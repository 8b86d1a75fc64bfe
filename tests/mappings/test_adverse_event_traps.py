"""The traps of the specification that concern adverse events, each with a test that names it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given

from fhirbridge.binding import Release
from fhirbridge.fhir.json import canonical
from fhirbridge.records import adverse_event as model
from fhirbridge.records import to_json
from mappings import terms
from tests.mappings.test_adverse_event import (
    BACKPORT,
    CORE,
    EXAMPLE,
    R4_RELEASES,
    RELEASES,
    assert_laid_back,
    minimal,
    read,
    record_of,
    refused,
    resource_of,
)
from tests.strategies import adverse_event as strategy

Tree = dict[str, Any]
HL7 = "http://terminology.hl7.org/CodeSystem"
NCIT = "http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl"


def objects(node: Any) -> Iterator[Tree]:
    """Every object of a tree."""
    if isinstance(node, dict):
        yield node
    for member in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from objects(member)


def codes_in(node: Any) -> set[tuple[str, str]]:
    return {(one["system"], one["code"]) for one in objects(node) if "system" in one and "code" in one}


def test_t1_nothing_is_lost_or_crossed_between_r4_and_r5() -> None:
    """What HL7's own map drops (severity, documents, method, end, notes, actions) or crosses (assessment and method,
    the words of productRelatedness) stands in the right element of each release."""
    causality = {"assessment": "probable", "relatedness_text": "soon after", "method": "bayesian"}
    record = record_of(
        EXAMPLE
        | {
            "suspects": [EXAMPLE["suspects"][0] | {"causality": [causality]}],
            "documents": [{"type": "DocumentReference", "display": "label"}],
            "expected_in_study": True,
        }
    )
    r4, r5 = resource_of(record, Release.R4), resource_of(record, Release.R5)
    old, new = r4["suspectEntity"][0]["causality"][0], r5["suspectEntity"][0]["causality"]
    assert codes_in(old["assessment"]) == codes_in(new["entityRelatedness"])
    assert codes_in(old["method"]) == codes_in(new["assessmentMethod"])
    assert old["productRelatedness"] == new["entityRelatedness"]["text"]
    from_r5, _ = read(r5, Release.R5)
    assert canonical(resource_of(from_r5, Release.R4)) == canonical(r4)
    from_r4, _ = read(r4, Release.R4)
    assert canonical(resource_of(from_r4, Release.R5)) == canonical(r5)


@given(tree=strategy.adverse_events)
def test_t1_a_record_crosses_the_releases_unchanged(tree: Tree) -> None:
    """R4 → record → R5 → record is the record itself: no chain through somebody else's map (decision D1)."""
    record = record_of(tree)
    first, _ = read(resource_of(record, Release.R4), Release.R4)
    second, _ = read(resource_of(first, Release.R5), Release.R5)
    assert canonical(to_json(second)) == canonical(to_json(record))


SPELLINGS: list[tuple[str, str, str, Any]] = [
    *(
        ("categories", f"{HL7}/adverse-event-category", coded.code, (word,))
        for table in (terms.MISHAP, terms.MISHAP_R4_CORE)
        for word, coded in table.table.items()
    ),
    *(
        ("serious", f"{HL7}/adverse-event-seriousness", coded.code, word != "non_serious")
        for table in (terms.SERIOUSNESS, terms.SERIOUSNESS_R4_CORE, terms.SERIOUSNESS_REASON_R4_CORE)
        for word, coded in table.table.items()
    ),
]


@RELEASES
@pytest.mark.parametrize(("field", "system", "code", "value"), SPELLINGS)
def test_t5_every_spelling_is_read_in_every_release(
    release: Release, field: str, system: str, code: str, value: Any
) -> None:
    concept = {"coding": [{"system": system, "code": code}]}
    elements = {"category": [concept]} if field == "categories" else {"seriousness": concept}
    assert getattr(assert_laid_back(minimal(release, **elements), release), field) == value


CAUSES: list[tuple[str, str, str]] = [
    *(
        ("assessment", coded.code, word)
        for table in (terms.CAUSALITY, terms.CAUSALITY_R4_CORE)
        for word, coded in table.table.items()
    ),
    *(
        ("method", coded.code, word)
        for table in (terms.CAUSALITY_METHOD, terms.CAUSALITY_METHOD_R4_CORE)
        for word, coded in table.table.items()
    ),
]


@RELEASES
@pytest.mark.parametrize(("field", "code", "word"), CAUSES)
def test_t5_every_spelling_of_a_cause_is_read_in_every_release(
    release: Release, field: str, code: str, word: str
) -> None:
    system = f"{HL7}/adverse-event-causality-{'assess' if field == 'assessment' else 'method'}"
    concept = {"coding": [{"system": system, "code": code}]}
    name = {"assessment": "entityRelatedness", "method": "assessmentMethod"}[field] if release.is_r5 else field
    if release.is_r5:
        entity: Tree = {"instanceReference": {"reference": "Device/1"}, "causality": {name: concept}}
    else:
        entity = {"instance": {"reference": "Device/1"}, "causality": [{name: concept}]}
    record = assert_laid_back(minimal(release, suspectEntity=[entity]), release)
    assert getattr(record.suspects[0].causality[0], field) == word


@RELEASES
@given(tree=strategy.adverse_events)
def test_t5_only_the_flag_writes_the_core_spelling_and_never_in_r5(release: Release, tree: Tree) -> None:
    """THO's spelling by default; with the flag the R4 core's in R4 and R4B, and what that core lacks in words alone."""
    tho = {
        vocabulary.key(word)
        for vocabulary in (terms.SERIOUSNESS, terms.CAUSALITY, terms.CAUSALITY_METHOD, terms.MISHAP)
        for word in vocabulary.table
    }
    core = {
        vocabulary.key(word)
        for vocabulary in (
            terms.SERIOUSNESS_R4_CORE,
            terms.CAUSALITY_R4_CORE,
            terms.CAUSALITY_METHOD_R4_CORE,
            terms.MISHAP_R4_CORE,
        )
        for word in vocabulary.table
    }
    record = record_of(tree)
    assert not codes_in(resource_of(record, release)) & (core - tho)
    flagged = codes_in(resource_of(record, release, CORE))
    assert not flagged & ((core - tho) if release.is_r5 else (tho - core))


@RELEASES
@pytest.mark.parametrize("word", get_args(model.MishapCategory))
def test_t5_a_category_without_a_code_is_said_in_words_and_read_back(release: Release, word: str) -> None:
    for overlay in (None, CORE):
        record = record_of(EXAMPLE | {"categories": [word]})
        resource = resource_of(record, release, overlay)
        assert resource["category"][0]["text"] == word.replace("_", " ")
        back, residue = read(resource, release, overlay)
        assert (back.categories, residue) == ((word,), ())


@R4_RELEASES
@pytest.mark.parametrize("word", get_args(model.EventOutcome))
def test_t6_the_r4_outcome_has_one_coding_for_each_required_binding(release: Release, word: str) -> None:
    record = record_of(EXAMPLE | {"outcome": word})
    systems = [one["system"] for one in resource_of(record, release)["outcome"]["coding"]]
    assert systems == [f"{HL7}/adverse-event-outcome", *([] if word == "unknown" else [NCIT])]
    strict = resource_of(record, release, CORE)["outcome"]["coding"]
    assert [one["system"] for one in strict] == [f"{HL7}/adverse-event-outcome"]


@RELEASES
@pytest.mark.parametrize("word", [*terms.OUTCOME_NCIT.table])
def test_t6_either_coding_of_an_outcome_alone_is_read(release: Release, word: str) -> None:
    for vocabulary in (terms.OUTCOME_R4, terms.OUTCOME_NCIT):
        concept = {"coding": [vocabulary.coding(word)]}
        resource = minimal(release, outcome=[concept] if release.is_r5 else concept)
        assert assert_laid_back(resource, release).outcome == word


@R4_RELEASES
def test_t7_r4_has_one_identifier_and_keeps_the_others_in_extensions(release: Release) -> None:
    others = [{"system": "https://a.example", "value": "1"}, {"system": "https://b.example", "value": "2"}]
    record = record_of(EXAMPLE | {"additional_identifiers": others})
    assert resource_of(record, release)["identifier"] == {
        "system": "https://clinic.example/sid/adverse-event",
        "value": "77",
    }
    assert len(resource_of(record, Release.R5)["identifier"]) == 3
    back, _ = read(resource_of(record, release), release)
    assert back.additional_identifiers == record.additional_identifiers


@R4_RELEASES
@pytest.mark.parametrize("word", get_args(model.EventStatus))
def test_t10_only_a_void_record_says_its_state_as_a_modifier(release: Release, word: str) -> None:
    """Who must not process it is told so; who need not know the state can still read the event."""
    resource = resource_of(record_of(EXAMPLE | {"record_status": word}), release)
    assert "status" not in resource
    plain = [one for one in resource["extension"] if one["url"].endswith("/ae-status")]
    if word == "entered_in_error":
        assert resource["modifierExtension"] == [{"url": f"{BACKPORT}/status", "valueCode": "entered-in-error"}]
        assert plain == []
    else:
        assert "modifierExtension" not in resource
        assert len(plain) == 1


STATES: dict[str, Callable[[str], Tree]] = {
    "native": lambda code: {"status": code},
    "plain": lambda code: {
        "extension": [{"url": "https://fhirbridge.example/fhir/StructureDefinition/ae-status", "valueCode": code}]
    },
    "modifier": lambda code: {"modifierExtension": [{"url": f"{BACKPORT}/status", "valueCode": code}]},
    "cross-version": lambda code: {
        "modifierExtension": [
            {"url": "http://hl7.org/fhir/5.0/StructureDefinition/extension-AdverseEvent.status", "valueCode": code}
        ]
    },
}


@R4_RELEASES
@pytest.mark.parametrize("way", STATES)
@pytest.mark.parametrize(
    ("code", "word"),
    [("in-progress", "in_progress"), ("completed", "completed"), ("entered-in-error", "entered_in_error")],
)
def test_t10_a_state_is_read_however_it_is_said(release: Release, way: str, code: str, word: str) -> None:
    assert assert_laid_back(minimal(release, **STATES[way](code)), release).record_status == word


@RELEASES
def test_t10_an_unknown_modifier_refuses_the_resource(release: Release) -> None:
    resource = minimal(release, modifierExtension=[{"url": "https://x.example/did-not-happen", "valueBoolean": True}])
    assert refused(resource, release) == {"AdverseEvent.modifierExtension[0]": "resource.modifier"}


@RELEASES
@given(tree=strategy.adverse_events)
def test_t11_no_research_profile_is_claimed(release: Release, tree: Tree) -> None:
    """The guides forbid elements that care needs, so none of their profiles holds; their extensions are used freely."""
    assert "profile" not in resource_of(record_of(tree), release)["meta"]


@RELEASES
def test_t14_the_session_is_linked_from_the_event(release: Release) -> None:
    entity = resource_of(record_of(EXAMPLE), release)["suspectEntity"][0]
    link = entity["instanceReference" if release.is_r5 else "instance"]
    assert link["type"] == "Procedure"
    assert link["identifier"]["value"] == "6f2c1d0e"


@RELEASES
@given(tree=strategy.adverse_events)
def test_t20_t21_only_defined_extensions_are_written(shared: Path, release: Release, tree: Tree) -> None:
    """No cross-version URL; every extension of ours is one that a receiver can look up, with its type, and has either a
    value or parts."""
    defined = {
        path.stem.removeprefix("StructureDefinition-")
        for path in (shared / "spec/structuredefinitions").glob("StructureDefinition-*.json")
    }
    guide = "ae-research-ig" if release.is_r5 else "ae-research-backport-ig"
    for node in objects(resource_of(record_of(tree), release)):
        for extension in (*node.get("extension", ()), *node.get("modifierExtension", ())):
            url = extension["url"]
            values = [name for name in extension if name.startswith("value")]
            assert len(values) + bool(extension.get("extension")) == 1
            assert "/5.0/" not in url
            if url.startswith("https://fhirbridge.example"):
                assert url.rpartition("/")[2] in defined
            elif url.startswith("http"):
                assert url.startswith(f"http://hl7.org/fhir/uv/{guide}/StructureDefinition/")
            else:
                assert "url" in node  # a part of a complex extension


@pytest.mark.parametrize("word", get_args(model.EventOutcome))
def test_t22_r5_keeps_the_r4_outcome_for_the_way_back(word: str) -> None:
    (outcome,) = resource_of(record_of(EXAMPLE | {"outcome": word}), Release.R5)["outcome"]
    systems = [one["system"] for one in outcome["coding"]]
    assert systems == [*([] if word == "unknown" else [NCIT]), f"{HL7}/adverse-event-outcome"]


@RELEASES
@given(tree=strategy.adverse_events)
def test_every_code_of_an_hl7_or_ncit_system_is_a_verified_row(shared: Path, release: Release, tree: Tree) -> None:
    """Codes that nobody verified are not shipped (specification §7)."""
    with (shared / "spec/codes.csv").open(newline="", encoding="utf-8") as lines:
        verified = {(row["system"], row["code"]) for row in csv.DictReader(lines) if row["status"] == "V"}
    written = codes_in(resource_of(record_of(tree), release))
    known = {pair for pair in written if pair[0].startswith((HL7, NCIT, "http://snomed.info"))}
    assert known <= verified


@RELEASES
def test_a_further_assessment_repeats_the_suspect_in_r5_alone(release: Release) -> None:
    causality = [{"assessment": "probable"}, {"assessment": "possible"}]
    record = record_of(EXAMPLE | {"suspects": [EXAMPLE["suspects"][0] | {"causality": causality}]})
    resource = resource_of(record, release)
    assert len(resource["suspectEntity"]) == (2 if release.is_r5 else 1)
    back, residue = read(resource, release)
    assert (back.suspects, residue) == (record.suspects, ())


@R4_RELEASES
def test_a_drug_known_by_its_code_is_contained_in_r4(release: Release) -> None:
    drug = {"text": "ketamine", "codings": [{"system": "http://snomed.info/sct", "code": "373464007"}]}
    record = record_of(EXAMPLE | {"suspects": [{"drug": drug}]})
    resource = resource_of(record, release)
    assert [one["resourceType"] for one in resource["contained"]] == ["Medication"]
    assert resource["suspectEntity"][0]["instance"]["reference"] == f"#{resource['contained'][0]['id']}"
    assert "contained" not in resource_of(record, Release.R5)


def test_every_word_of_the_record_has_a_place() -> None:
    """Each word of each list is in its table, so that none can crash a write."""
    tables = {
        model.EventTerm: terms.EVENT.table,
        model.Severity: terms.SEVERITY.table,
        model.EventOutcome: terms.OUTCOME_R4.table,
        model.SeriousnessCriterion: terms.SERIOUSNESS_CRITERION.table,
        model.CausalityAssessment: terms.CAUSALITY.table,
        model.CausalityMethod: terms.CAUSALITY_METHOD.table,
        model.Relatedness: terms.RELATEDNESS.table,
        model.ParticipantFunction: terms.PARTICIPANT_FUNCTION.table,
    }
    for words, table in tables.items():
        assert set(get_args(words)) == set(table)
    assert len({coded.code for coded in terms.EVENT.table.values()}) == len(terms.EVENT.table)
