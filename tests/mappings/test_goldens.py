"""Golden files of sessions, vital signs and scales: each part, byte for byte, in every release.

A record stands in ``NAME.json``; its primary resource in ``NAME.r4.json`` (which R4B has too, decision D8) and
``NAME.r5.json``, a projection in ``NAME.ROLE.r4.json``, and what a US Core server gets under ``NAME.us-core…``. Laws
agree with a mistake that both directions share; these were read by eye against the specification and judged by the
reference validator. Those of consents and adverse events are tested beside their mappings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fhirbridge.binding import Binding, Overlay, Release
from fhirbridge.errors import ResourceRefused
from fhirbridge.fhir.json import canonical, dump, parse_object
from fhirbridge.mapping import Mappings
from fhirbridge.records import Record, to_json
from fhirbridge.records import parse as parse_record
from tests.kinds import CLINIC, KINDS

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
OVERLAYS = {"": Overlay(), "us-core": Overlay(us_core=True, us_core_o2_flow_component=True, secondary_codes=True)}
RECORDS = sorted(
    f"{kind}/{file.stem}"
    for kind in ("session", "vital_sign", "assessment")
    for file in (GOLDEN / kind).glob("*.json")
    if "." not in file.stem
)
records = pytest.mark.parametrize("name", RECORDS)
releases = pytest.mark.parametrize("release", list(Release))


def record_of(name: str) -> Record:
    tree = parse_object((GOLDEN / f"{name}.json").read_bytes())
    kind = tree.pop("kind")
    assert kind == name.partition("/")[0]
    return parse_record(KINDS[kind].record, tree)


def goldens(name: str, release: Release) -> dict[tuple[str, str], dict[str, Any]]:
    """The files of a record in a release by overlay and role; without a role, it is the primary."""
    ending = f".{'r5' if release.is_r5 else 'r4'}.json"
    found = {}
    for file in (GOLDEN / name).parent.glob(f"{Path(name).name}.*{ending}"):
        label = file.name.removeprefix(Path(name).name).removesuffix(ending).strip(".")
        overlay, _, role = label.partition(".") if label.startswith("us-core") else ("", "", label)
        found[overlay, role or "primary"] = parse_object(file.read_bytes())
    return found | {("", "primary"): parse_object((GOLDEN / f"{name}{ending}").read_bytes())}


@records
@releases
def test_a_record_is_written_as_its_golden_files(name: str, release: Release) -> None:
    """Exactly these parts, no more and no fewer."""
    expected = goldens(name, release)
    for overlay in {overlay for overlay, _ in expected}:
        parts = Mappings(Binding(CLINIC, release, OVERLAYS[overlay]), KINDS).to_fhir(record_of(name)).parts
        written = {
            (overlay, part.role.replace("/", "-")): canonical(parse_object(dump(part.resource))) for part in parts
        }
        assert written == {key: canonical(tree) for key, tree in expected.items() if key[0] == overlay}


@records
@releases
def test_a_golden_primary_is_read_as_its_record(name: str, release: Release) -> None:
    """Nothing is left over, under every overlay."""
    for (overlay, role), resource in goldens(name, release).items():
        if role == "primary":
            reading = Mappings(Binding(CLINIC, release, OVERLAYS[overlay]), KINDS).from_fhir(resource)
            assert canonical(to_json(reading.record)) == canonical(to_json(record_of(name)))
            assert reading.residue == ()


@pytest.mark.parametrize(
    ("tags", "newest"),
    [
        (["3", "12", "9"], 12),
        (["12", "3"], 12),
        (["2026-11-20T16:30:00Z", "2026-11-20T12:00:00-05:00", "7"], "2026-11-20T12:00:00-05:00"),
    ],
)
def test_of_several_revision_tags_the_newest_counts(tags: list[str], newest: int | str) -> None:
    """Servers keep the tags of earlier writes. Numbers go by value, instants by moment, in whatever order."""
    resource = goldens("session/cancelled", Release.R4)["", "primary"]
    system = f"{CLINIC.base}/CodeSystem/revision"
    others = [tag for tag in resource["meta"]["tag"] if tag["system"] != system]
    resource["meta"]["tag"] = [*({"system": system, "code": tag} for tag in tags), *others]
    assert Mappings(Binding(CLINIC, Release.R4), KINDS).from_fhir(resource).record.revision == newest


def test_a_procedure_that_says_yes_to_a_report_and_not_whose_is_refused() -> None:
    """R5's ``reportedBoolean`` would contradict a record that names who told of the session."""
    resource = goldens("session/cancelled", Release.R5)["", "primary"] | {"reportedBoolean": True}
    with pytest.raises(ResourceRefused) as caught:
        Mappings(Binding(CLINIC, Release.R5), KINDS).from_fhir(resource)
    assert [fault.path for fault in caught.value.faults] == ["Procedure.reportedBoolean"]
