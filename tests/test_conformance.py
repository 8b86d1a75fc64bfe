"""The conformance resources say what the mappings write, and what the worked set of the specification says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.binding import BASE
from fhirbridge.codec.extension import CODECS, Definition, PartDefinition, Type
from fhirbridge.conformance import CodeSystem, Publication, ValueSet, publications, write
from fhirbridge.errors import ConfigError, UsageError
from mappings.conformance import PUBLICATION

NAMES = st.from_regex(r"[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,8}){0,3}", fullmatch=True)
TEXTS = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20)
TYPES = st.builds(
    Type,
    code=st.sampled_from(sorted(CODECS)),
    targets=st.lists(st.sampled_from(["Patient", "Organization"]), unique=True).map(tuple),
    value_set=st.one_of(st.just(""), NAMES, NAMES.map(lambda name: f"https://other.example/ValueSet/{name}")),
    strength=st.sampled_from(["required", "extensible"]),
)
DEFINITIONS = st.builds(
    Definition,
    name=NAMES,
    contexts=st.lists(st.sampled_from(["Procedure", "Consent", "AdverseEvent.supportingInfo"]), min_size=1).map(tuple),
    text=TEXTS,
    types=st.lists(TYPES, min_size=1, max_size=3).map(tuple),
    parts=st.none() | st.dictionaries(NAMES, st.builds(PartDefinition, TYPES, TEXTS), min_size=1, max_size=4),
    many=st.booleans(),
)
BASES = st.from_regex(r"https?://[a-z]{1,9}\.example(/[a-z]{1,5}){0,2}", fullmatch=True)


def read(paths: list[Path]) -> dict[str, Any]:
    return {path.name: json.loads(path.read_text("utf-8")) for path in paths}


def made(base: str, *extensions: Definition) -> list[dict[str, Any]]:
    return list(Publication("somebody", "2026-01-02", extensions).resources(base))


def test_they_say_the_same_as_the_worked_set_of_the_specification(tmp_path: Path, shared: Path) -> None:
    """Every file of the worked set is reproduced, member for member; only extensions were added since."""
    worked = read([*(shared / "spec/structuredefinitions").iterdir(), *(shared / "spec/terminology").iterdir()])
    ours = read(write(tmp_path))
    assert {name: resource for name, resource in ours.items() if name in worked} == worked
    assert all(name.startswith("StructureDefinition-") for name in ours.keys() - worked.keys())


def test_the_installed_package_offers_them() -> None:
    assert PUBLICATION in publications()


@given(definition=DEFINITIONS, base=BASES)
def test_a_definition_is_told_in_full(definition: Definition, base: str) -> None:
    """URL, contexts, cardinality, every part, every type, every target and every binding are in the resource."""
    (resource,) = made(base, definition)
    assert resource["url"] == f"{base}/StructureDefinition/{definition.name}"
    assert [context["expression"] for context in resource["context"]] == list(definition.contexts)
    elements = {element["id"]: element for element in resource["differential"]["element"]}
    assert elements["Extension"]["max"] == ("*" if definition.many else "1")
    assert elements["Extension.url"]["fixedUri"] == resource["url"]
    if definition.parts is None:
        assert elements["Extension.extension"]["max"] == "0"
        holds(elements["Extension.value[x]"], definition.types, base)
    else:
        assert elements["Extension.value[x]"]["max"] == "0"
        slices = {key: element for key, element in elements.items() if "sliceName" in element}
        assert [element["sliceName"] for element in slices.values()] == list(definition.parts)
        for key, element in slices.items():
            assert elements[f"{key}.url"]["fixedUri"] == element["sliceName"]
            holds(elements[f"{key}.value[x]"], (definition.parts[element["sliceName"]].type,), base)


def holds(element: dict[str, Any], types: tuple[Type, ...], base: str) -> None:
    assert [one["code"] for one in element["type"]] == [one.code for one in types]
    for said, type_ in zip(element["type"], types, strict=True):
        assert [url.rpartition("/")[2] for url in said.get("targetProfile", [])] == list(type_.targets)
    bound = [one for one in types if one.value_set]
    if bound:
        url = element["binding"]["valueSet"]
        assert url in (bound[0].value_set, f"{base}/ValueSet/{bound[0].value_set}")
        assert "://" in url
    else:
        assert "binding" not in element


@given(definition=DEFINITIONS, base=BASES)
def test_only_a_context_that_r5_alone_has_ties_a_definition_to_r5(definition: Definition, base: str) -> None:
    (resource,) = made(base, definition)
    assert ("fhirVersion" in resource) == ("AdverseEvent.supportingInfo" in definition.contexts)


def test_every_binding_of_ours_leads_to_a_value_set_of_ours() -> None:
    resources = list(PUBLICATION.resources(BASE))
    known = {resource["url"] for resource in resources}
    named = {
        element["binding"]["valueSet"]
        for resource in resources
        if resource["resourceType"] == "StructureDefinition"
        for element in resource["differential"]["element"]
        if "binding" in element
    }
    assert {url for url in named if url.startswith(BASE)} <= known


def test_the_base_is_the_only_difference_between_two_bases(tmp_path: Path) -> None:
    """Nothing under the default base is left over when a hospital chooses its own."""
    ours = {path.name: path.read_text("utf-8") for path in write(tmp_path / "a")}
    theirs = {path.name: path.read_text("utf-8") for path in write(tmp_path / "b", "https://hospital.example/ig/")}
    assert {name: text.replace(BASE, "https://hospital.example/ig") for name, text in ours.items()} == theirs


def test_writing_again_leaves_the_same_files_and_nothing_else(tmp_path: Path) -> None:
    first = read(write(tmp_path))
    second = read(write(tmp_path))
    assert first == second
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(first)


def test_a_published_extension_is_not_published_again() -> None:
    theirs = Definition("cause", ("Observation",), "Cause", types=(Type("code"),), url="http://hl7.org/fhir/x")
    assert made(BASE, theirs) == []


def test_two_packages_with_one_name_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    system = Publication("a", "2026-01-02", code_systems=(CodeSystem("colour", "Colours", {"red": "Red"}),))
    values = Publication("b", "2026-01-02", value_sets=(ValueSet("colour", "Colours", "https://b.example", ("red",)),))
    with pytest.raises(ConfigError, match="ValueSet-colour"):
        write(tmp_path / "out", BASE, [system, values])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "base", ["", "fhir", "ftp://x.example", "https://", "https://x.example/a b", "https://x.example?y"]
)
def test_a_base_that_is_no_canonical_url_is_refused(tmp_path: Path, base: str) -> None:
    with pytest.raises(UsageError) as caught:
        write(tmp_path / "out", base)
    assert caught.value.code == "usage.base"
    assert not (tmp_path / "out").exists()


def test_a_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UsageError) as caught:
        write(tmp_path / "out")
    assert caught.value.code == "usage.output"
    assert (tmp_path / "out").read_text() == "mine"
