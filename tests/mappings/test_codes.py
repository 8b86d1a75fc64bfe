"""Every code that the mappings write: as the specification's table has it, and as it was when it was checked.

The first test compares with the specification itself. The others compare with ``tests/golden/codes.json``, a frozen
copy, so that a swapped code shows in a clone that has no specification beside it. What a code means to the record (the
word before it) was checked by eye when the copy was made; change the copy only after checking again.
"""

from __future__ import annotations

import csv
import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from fhirbridge.binding import Binding, Release
from fhirbridge.fhir.json import parse_object
from fhirbridge.mapping import Mappings
from fhirbridge.records import Decimal
from fhirbridge.records import parse as parse_record
from mappings import local, terms
from mappings.vitals import converted
from tests.kinds import CLINIC, KINDS
from tests.mappings.examples import BLOOD_PRESSURE, PATIENT, SESSION
from tests.mappings.test_worked_examples import with_numbers

FROZEN = parse_object((Path(__file__).resolve().parents[1] / "golden" / "codes.json").read_bytes())
VOCABULARIES = {name: value for name, value in vars(terms).items() if isinstance(value, terms.Vocabulary)}
SINGLE = {name: value for name, value in vars(terms).items() if isinstance(value, terms.Coded)}
SINGLE_SYSTEM = {
    "PSYCHOTHERAPY": terms.SNOMED,
    "PSYCHIATRY_SERVICE": terms.SNOMED,
    "RESTRICTED": terms.CONFIDENTIALITY,
    "PSYCHIATRY": terms.ACT_CODE,
    "PATIENT_CONSENT": terms.LOINC,
    "OPT_IN": terms.ACT_CODE,
    "OPT_OUT": terms.ACT_CODE,
    "ACTION_WITHDRAWN_NCIT": terms.NCIT,
}
# Section 3.2 of the specification names these codes; the table of codes has no rows for them.
OUTSIDE_THE_TABLE = {"INTERPRETATION": {"N", "H", "L", "HH", "LL", "A"}}
# A fully specified name, or a note of the table, ends in a tag that is no part of the display (trap T17).
_TAG = re.compile(r" \([^()]*\)$")
releases = pytest.mark.parametrize("release", list(Release))


def displays(row: dict[str, str]) -> set[str]:
    """The displays that a row allows: as it stands, without its tag, and each of several."""
    said = row["display"]
    return {"", said, _TAG.sub("", said), *said.split(" / ")}


def test_every_code_stands_in_the_specification_with_its_display_and_its_evidence(shared: Path) -> None:
    """Verified rows only; what was seen in secondary sources stands in the tables that say so."""
    rows: dict[tuple[str, str], list[dict[str, str]]] = {}
    with (shared / "spec" / "codes.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rows.setdefault((row["system"], row["code"]), []).append(row)
    wrong = []
    entries = [(name, one.system, coded) for name, one in VOCABULARIES.items() for coded in one.table.values()]
    entries += [(name, SINGLE_SYSTEM[name], coded) for name, coded in SINGLE.items()]
    for name, system, coded in entries:
        if name in OUTSIDE_THE_TABLE:
            assert coded.code in OUTSIDE_THE_TABLE[name]
            continue
        allowed = {"V", "S"} if name.startswith("SECONDARY") else {"V"}
        found = [row for row in rows.get((system, coded.code), ()) if row["status"] in allowed]
        if not any(coded.display in displays(row) for row in found):
            wrong.append((name, *coded))
    assert wrong == []


def test_a_secondary_code_is_in_no_other_table() -> None:
    """Such codes are written only where a site opts in."""
    secondary = {
        one.key(word) for name, one in VOCABULARIES.items() if name.startswith("SECONDARY") for word in one.table
    }
    others = {
        one.key(word) for name, one in VOCABULARIES.items() if not name.startswith("SECONDARY") for word in one.table
    }
    assert secondary
    assert not secondary & others


def test_every_word_has_the_code_and_display_that_were_checked() -> None:
    tables = {
        name: {"system": one.system, "words": {word: list(coded) for word, coded in one.table.items()}}
        for name, one in VOCABULARIES.items()
    }
    assert tables == FROZEN["vocabularies"]
    assert {name: list(coded) for name, coded in SINGLE.items()} == FROZEN["single"]


def test_every_local_code_has_the_display_that_was_checked() -> None:
    tables = {system.name: {word: list(coded) for word, coded in system.table.items()} for system in local.CODE_SYSTEMS}
    assert tables == FROZEN["local"]


@pytest.mark.parametrize("table", FROZEN["words"])
def test_every_word_of_a_status_a_scope_or_a_profile_is_as_it_was_checked(table: str) -> None:
    """Order counts too: of several words with one code, the first is what the code alone means."""
    module, _, name = table.rpartition(".")
    found = getattr(importlib.import_module(f"mappings.{module or 'terms'}"), name)
    assert list(found.items()) == list(FROZEN["words"][table].items())


def resource(kind: str, tree: dict[str, Any], release: Release) -> dict[str, Any]:
    record = parse_record(KINDS[kind].record, with_numbers(tree))
    primary: dict[str, Any] = Mappings(Binding(CLINIC, release), KINDS).to_fhir(record).parts[0].resource
    return primary


@pytest.mark.parametrize(
    ("modality", "route", "session_type"),
    [
        ("iv_infusion", "14152002", "ketamine-iv-infusion"),
        ("iv_push", "386358000", "ketamine-iv-push"),
        ("im", "76601001", "ketamine-im"),
        ("sc", "386362006", "ketamine-sc"),
        ("intranasal", "18629005", "ketamine-intranasal"),
        ("esketamine_intranasal", "18629005", "esketamine-intranasal"),
        ("oral", "18629005", "ketamine-oral"),
        ("sublingual", "18629005", "ketamine-sublingual"),
        ("kap", "18629005", "kap-session"),
    ],
)
@releases
def test_a_session_is_coded_by_route_and_by_session_type(
    modality: str, route: str, session_type: str, release: Release
) -> None:
    codings = resource("session", SESSION | {"modality": modality}, release)["code"]["coding"]
    assert [one["code"] for one in codings] == [route, session_type]


STATUSES = {
    "registered": "registered",
    "preliminary": "preliminary",
    "final": "final",
    "amended": "amended",
    "corrected": "corrected",
    "cancelled": "cancelled",
    "entered_in_error": "entered-in-error",
    "unknown": "unknown",
}


@pytest.mark.parametrize("word", STATUSES)
@releases
def test_a_measurement_has_the_status_that_it_says(word: str, release: Release) -> None:
    assert resource("vital_sign", BLOOD_PRESSURE | {"status": word}, release)["status"] == STATUSES[word]


@pytest.mark.parametrize("mode", ["self_administered", "interview", "telephone", "video", "electronic"])
def test_a_scale_says_how_it_was_given(mode: str) -> None:
    tree = {
        "id": "SC-1",
        "revision": 1,
        "patient": PATIENT,
        "scale": "gad7",
        "status": "final",
        "measured_at": "2026-11-20",
        "score": 7,
        "administration_mode": mode,
    }
    found = [one["valueCode"] for one in resource("assessment", tree, Release.R4)["extension"] if "valueCode" in one]
    assert found == [mode.replace("_", "-")]


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        ("16", "kPa", ("120", "mm[Hg]")),
        ("13.3322", "kPa", ("100", "mm[Hg]")),
        ("10.7", "kPa", ("80.3", "mm[Hg]")),
        ("310.15", "K", ("37", "Cel")),
        ("1.75", "m", ("175", "cm")),
        ("2500", "mL/min", ("2.5", "L/min")),
        ("0.28", "1", ("28", "%")),
        ("98.60", "[degF]", ("98.60", "[degF]")),
        ("154.5", "[lb_av]", ("154.5", "[lb_av]")),
    ],
)
def test_a_unit_that_the_profiles_refuse_is_converted_and_no_other(
    value: str, unit: str, expected: tuple[str, str]
) -> None:
    """By definition: 101.325 kPa are 760 mm[Hg], 0 Cel is 273.15 K."""
    number, target = converted(Decimal(value), unit)
    assert (str(number), target) == expected
