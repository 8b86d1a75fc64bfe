"""The specification's worked examples of sessions, administrations and blood pressure, reproduced and read.

Those of consents and adverse events are tested beside their mappings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fhirbridge.binding import Binding, Overlay, Release
from fhirbridge.fhir.json import canonical, dump, parse
from fhirbridge.mapping import Mappings
from fhirbridge.records import Decimal, to_json
from fhirbridge.records import parse as parse_record
from tests.kinds import CLINIC, KINDS
from tests.mappings.examples import BLOOD_PRESSURE, SESSION, comparable

releases = pytest.mark.parametrize("release", [Release.R4, Release.R5])
# The examples carry RxNorm 6130, which was seen in secondary sources only: a site opts in to such codes.
OVERLAY = Overlay(secondary_codes=True, us_core=True)


def mappings(release: Release) -> Mappings:
    return Mappings(Binding(CLINIC, release, OVERLAY), KINDS)


def with_numbers(tree: Any) -> Any:
    """Numbers that have to keep their text are written as text in the example records."""
    if isinstance(tree, dict):
        return {
            name: Decimal(member)
            if name == "value" and "unit" in tree and isinstance(member, str)
            else with_numbers(member)
            for name, member in tree.items()
        }
    return [with_numbers(item) for item in tree] if isinstance(tree, list) else tree


def example(shared: Path, release: Release, name: str) -> Any:
    return parse((shared / "spec" / "examples" / f"{release.value.upper()}-{name}.json").read_bytes())


def written(release: Release, kind: str, tree: dict[str, Any], role: str) -> Any:
    record = parse_record(KINDS[kind].record, with_numbers(tree))
    parts = {part.role: part.resource for part in mappings(release).to_fhir(record).parts}
    return parse(dump(parts[role]))


def same(ours: Any, theirs: Any) -> None:
    assert canonical(comparable(ours)) == canonical(comparable(theirs))


@releases
def test_procedure_is_reproduced(shared: Path, release: Release) -> None:
    """The session's Procedure, but for what the comparison leaves out."""
    same(written(release, "session", SESSION, "primary"), example(shared, release, "Procedure"))


@releases
def test_medication_administration_is_reproduced(shared: Path, release: Release) -> None:
    """Two differences: ours also says the dose by weight and the reason, which the example leaves unsaid."""
    ours = written(release, "session", SESSION, "administration/1")
    (by_weight,) = ours["dosage"].pop("extension")
    assert by_weight["url"].endswith("/StructureDefinition/dose-per-weight")
    assert ours.pop("reasonCode" if release is Release.R4 else "reason")
    assert ours.pop("encounter" if release is Release.R5 else "context")
    same(ours, example(shared, release, "MedicationAdministration"))


@releases
def test_blood_pressure_is_reproduced(shared: Path, release: Release) -> None:
    """The blood pressure with its three components."""
    same(written(release, "vital_sign", BLOOD_PRESSURE, "primary"), example(shared, release, "Observation-bp"))


@releases
@pytest.mark.parametrize(("kind", "name"), [("session", "Procedure"), ("vital_sign", "Observation-bp")])
def test_examples_are_read_without_residue_on_mapped_paths(
    shared: Path, release: Release, kind: str, name: str
) -> None:
    """What is left over is the id, the server's literal references, texts, and the tags that the example leaves out."""
    source = example(shared, release, name)
    reading = mappings(release).from_fhir(source)
    tree = {"session": SESSION, "vital_sign": BLOOD_PRESSURE}[kind]
    expected = parse_record(KINDS[kind].record, with_numbers(tree) | {"revision": 0})
    assert canonical(to_json(reading.record)) == canonical(to_json(expected))
    for entry in reading.residue:
        first, last = entry.path.partition(".")[0], entry.path.rpartition(".")[2]
        assert (first in ("id", "meta", "extension") and entry.op != "add") or last in ("reference", "text"), entry.path
        assert entry.element not in mappings(release).bound[kind].carries or last == "text"
    assert canonical(mappings(release).to_fhir(reading.record, reading.residue).parts[0].resource) == canonical(source)
