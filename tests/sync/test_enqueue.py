"""What goes into the ledger: content without what servers add, lanes that show no patient, times of events."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.binding import Binding, Clinic, Release
from fhirbridge.ledger import Ledger, State
from fhirbridge.ledger.gate import EVERYTHING
from fhirbridge.mapping import Mappings
from fhirbridge.records import Identifier, Ref
from fhirbridge.sync.enqueue import Intake, happened
from fhirbridge.sync.identity import content_of, lane_of
from fhirbridge.sync.plan import Planned, planned
from tests.client.pushing import EVERY, lines, rate, visit
from tests.kinds import CASES, KINDS
from tests.vault.vaults import vault_of

KEY = b"an id key for tests, 32 bytes ok"
MAPPINGS = Mappings(Binding(Clinic("clinic.example", KEY), Release.R4), EVERY)
ALL = Mappings(Binding(Clinic("clinic.example", KEY), Release.R4), KINDS)


def made(*trees: dict[str, Any]) -> list[Planned]:
    return [planned(one, one.record, MAPPINGS) for one in lines(*trees) if one.record is not None]


@given(st.data(), st.sampled_from(sorted(CASES)))
def test_the_content_hash_leaves_out_what_says_nothing_and_nothing_else(data: st.DataObject, kind: str) -> None:
    tree = data.draw(CASES[kind].trees)
    model = KINDS[kind].record
    record = model.model_validate({name: value for name, value in tree.items() if name != "kind"})
    for part in ALL.to_fhir(record).parts:
        before = content_of(part.resource, KEY)
        same = copy.deepcopy(part.resource) | {"id": "another"}
        same["meta"] |= {"versionId": "7", "lastUpdated": "2026-11-22T10:00:00Z", "tag": []}
        assert content_of(same, KEY) == before
        assert content_of(part.resource | {"language": "xx"}, KEY) != before
        assert content_of(part.resource, b"another key") != before


@given(st.text("abAB01|ä", min_size=1), st.text("abAB01|ä", min_size=1))
def test_a_lane_is_one_patient_and_does_not_show_which(one: str, other: str) -> None:
    first = Ref.model_construct(identifier=Identifier.model_construct(system="s", value=one))
    second = Ref.model_construct(identifier=Identifier.model_construct(system="s", value=other))
    assert (lane_of(first, KEY) == lane_of(second, KEY)) == (one == other)
    shown = Ref.model_construct(identifier=first.identifier, display="Zebulon Canary")
    assert lane_of(shown, KEY) == lane_of(first, KEY)
    assert lane_of(first, b"another key of the same length!!") != lane_of(first, KEY)


def test_an_event_is_ordered_by_when_it_took_place() -> None:
    (early, late) = (one.record for one in made(rate("v1"), rate("v2", measured_at="2026-11-20T15:00:00.5Z")))
    assert happened(late) - happened(early) == 0.5


@pytest.fixture
def intake(tmp_path: Path) -> Intake:
    ledger = Ledger.open(f"sqlite:///{tmp_path}/l.db", vault=vault_of(KEY))
    return Intake(ledger, "s", MAPPINGS.binding, "r")


def test_unchanged_content_is_queued_once_whatever_its_revision(intake: Intake) -> None:
    (first,) = intake.take(made(rate("v1")))
    (again,) = intake.take(made(rate("v1", revision=2)))
    assert (len(first.queued), again.queued, len(again.underway)) == (1, [], 1)


def test_a_preview_gives_the_same_answers_and_writes_nothing(intake: Intake) -> None:
    trees = [rate("v1"), visit("s1"), rate("v1", revision=2, value=80)]
    previewed = [(one.queued, one.superseded) for one in intake.preview(made(*trees))]
    assert not intake.preview(made(rate("v1")))[0].underway
    assert [(one.queued, one.superseded) for one in intake.take(made(*trees))] == previewed


def test_one_revision_with_two_contents_is_a_conflict(intake: Intake) -> None:
    intake.take(made(rate("v1")))
    (found,) = intake.take(made(rate("v1", value=90)))
    assert found.conflicting
    (older,) = intake.take(made(rate("v1", revision=0, value=70)))
    assert not older.queued
    assert not older.conflicting


def test_an_adverse_event_makes_its_patient_go_first(intake: Intake) -> None:
    event = {
        "kind": "adverse_event", "id": "e1", "revision": 1, "patient": rate("v", "P-2")["patient"],
        "record_status": "completed", "actuality": "actual", "verbatim": "nausea",
    }  # fmt: skip
    intake.take(made(rate("v1"), event))
    ledger = intake._ledger
    (claim,) = ledger.claim("s", "w", gate=EVERYTHING, timeout=30.0, lanes=1)
    assert [(one.kind, one.state) for one in claim.deliveries] == [("adverse_event", State.CLAIMED)]
