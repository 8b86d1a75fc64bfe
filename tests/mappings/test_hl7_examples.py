"""HL7's own example resources: each becomes a record and a residue, or is refused with a path and a reason."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.binding import Binding, Release
from fhirbridge.errors import NotExpressible, RecordRefused, ResourceRefused
from fhirbridge.fhir.json import canonical, dump, parse
from fhirbridge.mapping import Mappings, Reading
from fhirbridge.records import parse as parse_record
from fhirbridge.records import to_json
from tests.kinds import CLINIC, KINDS

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT.parent / "shared" / "corpora" / "hl7-examples"
TYPES = ("Observation", "Procedure", "Consent", "AdverseEvent")
FILES = [
    file for release in ("R4", "R5") for type_ in TYPES for file in sorted(CORPUS.glob(f"{release}/{type_}/*.json"))
]
MAPPINGS = {release.value.upper(): Mappings(Binding(CLINIC, release), KINDS) for release in (Release.R4, Release.R5)}
examples = pytest.mark.parametrize(
    "file", FILES or [None], ids=[str(f.relative_to(CORPUS)) for f in FILES] or ["absent"]
)
# What stands beside a carried element without being mapped: other words for a code, and what is not FHIR's content.
BESIDE = {"display", "text", "version", "userSelected", "unit", "id", "assigner", "period"}


def read(file: Path) -> tuple[Mappings, dict[str, Any], Reading | None, list[tuple[str, str]]]:
    mappings = MAPPINGS[file.parts[-3]]
    source = parse(file.read_bytes())
    try:
        return mappings, source, mappings.from_fhir(source), []
    except ResourceRefused as refused:
        return mappings, source, None, [(fault.code, fault.path) for fault in refused.faults]


def here(file: Path | None) -> Path:
    if file is None:
        pytest.skip("the corpora (../shared) are not here; they are not part of the package")
    return file


@examples
def test_an_example_is_read_and_laid_back_or_refused(file: Path | None) -> None:
    """What is read is written back as the source tree, digit for digit; what is refused says where and why."""
    mappings, source, reading, faults = read(here(file))
    if reading is None:
        assert faults
        assert all(code and path for code, path in faults)
        return
    written = mappings.to_fhir(reading.record, reading.residue)
    assert written.dropped == ()
    assert canonical(written.parts[0].resource) == canonical(source)


@examples
def test_no_mapped_path_stands_in_the_residue(file: Path | None) -> None:
    """The field table is what the rules carry; no entry of a residue stands there."""
    mappings, _, reading, _ = read(here(file))
    if reading is None:
        return
    carries = mappings.bound[reading.record.kind].carries
    for entry in reading.residue:
        if entry.op != "order" and entry.path.rpartition(".")[2] not in BESIDE:
            assert entry.element not in carries, entry.path


@examples
@given(data=st.data())
def test_after_an_edit_only_the_fields_own_paths_differ(file: Path | None, data: st.DataObject) -> None:
    """Writing an edited record over its residue changes what the edit changes, and what it reports as displaced."""
    mappings, source, reading, _ = read(here(file))
    if reading is None:
        return
    tree = to_json(reading.record)
    kind = tree.pop("kind")
    optional = [name for name in tree if not KINDS[kind].record.model_fields[name].is_required()]
    edit = data.draw(st.sampled_from(["notes", "sensitivity", *optional]))
    if edit in ("notes", "sensitivity"):
        tree[edit] = [{"text": "an edit"}] if edit == "notes" else ["mental_health"]
    else:
        del tree[edit]
    try:
        edited = parse_record(KINDS[kind].record, tree)
        plain, laid = mappings.to_fhir(edited), mappings.to_fhir(edited, reading.residue)
    except (RecordRefused, NotExpressible):
        return
    before, after = mappings.to_fhir(reading.record).parts[0].resource, plain.parts[0].resource
    touched = {name for name in before.keys() | after.keys() if differ(before, after, name)}
    changed = {
        name for name in source.keys() | laid.parts[0].resource.keys() if differ(source, laid.parts[0].resource, name)
    }
    displaced = {path.partition(".")[0].partition("[")[0] for path in laid.dropped}
    assert changed <= touched | displaced


def differ(one: dict[str, Any], other: dict[str, Any], name: str) -> bool:
    return canonical(one.get(name)) != canonical(other.get(name))


def test_the_documented_refusals_are_the_actual_ones() -> None:
    """docs/refused-examples.csv, which the document about foreign resources explains, lists just what is refused."""
    if not FILES:
        pytest.skip("the corpora (../shared) are not here; they are not part of the package")
    with (ROOT / "docs" / "refused-examples.csv").open(newline="") as table:
        documented = {(row["release"], row["file"]): (row["code"], row["path"]) for row in csv.DictReader(table)}
    actual = {(file.parts[-3].lower(), file.name): faults[0] for file in FILES for faults in [read(file)[3]] if faults}
    assert documented == actual


def test_the_official_decimals_keep_their_digits() -> None:
    """observation-decimal.json: what is read is written with every digit and exponent (trap T16)."""
    if not FILES:
        pytest.skip("the corpora (../shared) are not here; they are not part of the package")
    body = (CORPUS / "R4" / "Observation" / "observation-decimal.json").read_bytes()
    again = dump(parse(body))
    for digits in (b"1E-22", b"1.00", b"1.0"):
        assert digits in body
        assert digits in again
    assert canonical(parse(again)) == canonical(parse(body))
