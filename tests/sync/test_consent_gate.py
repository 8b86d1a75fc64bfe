"""The gate on the way out: what consents do not permit stays in the ledger, and goes by itself once they do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fhirbridge.config import DEMO_ID_KEY, Config, parse
from fhirbridge.fhir.json import dump
from fhirbridge.ledger import State
from fhirbridge.site import Site
from fhirbridge.sources.documents import Document
from fhirbridge.sources.lines import from_documents
from fhirbridge.sync import How, push
from fhirbridge.sync.evidence import evidence_of
from fhirbridge.sync.preview import Preview
from tests.client.pushing import NO_TRAIL, SID, patient, rate, register, visit
from tests.client.server import FakeServer, Reply, Request, serving
from tests.sync.consenting import HOSPITAL, KINDS, MODELS, Consenting, lines, signed, to_one, withdrawn

OTHER = f"{SID}/organization|OTHER"


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving(FakeServer()) as running:
        register(running, "P-1", "P-2")
        yield running


def bodies(server: FakeServer) -> bytes:
    return b"".join(one.path.encode() + one.body for one in server.requests)


# ------------------------------------------------------------------------------------------- what goes, by act
def test_without_a_consent_nothing_of_the_patient_leaves_not_even_a_search_for_the_chart(
    server: FakeServer, tmp_path: Path
) -> None:
    with Consenting(server, tmp_path) as clinic:
        assert clinic.push(rate("v1"), visit("s1")) == {"v1": "blocked", "s1": "blocked"}
        assert b"P-1" not in bodies(server)
        assert clinic.states() == {(one, State.BLOCKED, "consent.no-consent") for one in ("v1", "s1")}


@pytest.mark.parametrize(
    ("settings", "consent", "outcome"),
    [
        ({}, signed(), "created"),
        ({"act": "treat"}, signed(), "created"),
        ({"act": "research"}, signed(), "blocked"),
        ({"act": "regulatory_report"}, signed(), "blocked"),
        ({"act": "store"}, signed(state="refused", decision="deny"), "created"),
        ({}, signed(state="refused", decision="deny"), "blocked"),
        ({}, signed(state="proposed"), "blocked"),
        ({}, signed(period={"end": "2026-11-30"}), "blocked"),
        ({}, signed(decision="deny", provisions=[to_one(HOSPITAL)]), "blocked"),
        ({"recipients": [HOSPITAL]}, signed(decision="deny", provisions=[to_one(HOSPITAL)]), "created"),
        ({"recipients": [OTHER]}, signed(decision="deny", provisions=[to_one(HOSPITAL)]), "blocked"),
        ({}, signed(provisions=[{"effect": "deny", "resource_types": ["Observation"]}]), "blocked"),
        ({}, signed(provisions=[{"effect": "deny", "data_period": {"start": "2026-12-01"}}]), "created"),
        ({}, signed(provisions=[{"effect": "deny", "data_period": {"end": "2026-12-01"}}]), "blocked"),
    ],
)  # fmt: skip
def test_a_site_gets_what_the_consent_permits_for_its_act_and_recipient(
    server: FakeServer, tmp_path: Path, settings: dict[str, Any], consent: dict[str, Any], outcome: str
) -> None:
    with Consenting(server, tmp_path, **settings) as clinic:
        assert clinic.push(consent, rate("v1"))["v1"] == outcome
        assert len(clinic.there("Observation")) == (outcome == "created")


def test_a_legal_exception_goes_without_consent_and_only_its_kinds(server: FakeServer, tmp_path: Path) -> None:
    exception = {
        "name": "fda-3500a", "act": "regulatory_report", "kinds": ["adverse_event"], "basis": "21 CFR 312.32"
    }  # fmt: skip
    event = {
        "kind": "adverse_event", "id": "e1", "revision": 1, "patient": patient("P-1"), "record_status": "completed",
        "actuality": "actual", "verbatim": "nausea", "onset": "2026-11-20T10:41:00-05:00",
    }  # fmt: skip
    with Consenting(server, tmp_path, clinic={"exceptions": [exception]}, act="regulatory_report") as clinic:
        assert clinic.push(event, rate("v1")) == {"e1": "created", "v1": "blocked"}


def test_one_patients_consent_says_nothing_about_another(server: FakeServer, tmp_path: Path) -> None:
    with Consenting(server, tmp_path) as clinic:
        found = clinic.push(signed(), rate("v1"), rate("v2", "P-2"))
        assert found == {"c1": "created", "v1": "created", "v2": "blocked"}


# ------------------------------------------------------------------------------------------- labels
def test_configured_labels_stand_in_the_resource_and_consents_are_held_against_them(
    server: FakeServer, tmp_path: Path
) -> None:
    labels = [{"label": "substance_use", "codes": ["http://loinc.org|8867-4"]}]
    with Consenting(server, tmp_path, clinic={"labels": labels}) as clinic:
        deny = {"effect": "deny", "labels": ["substance_use"]}
        assert clinic.push(signed(provisions=[deny]), rate("v1"), visit("s1"))["v1"] == "blocked"
        assert clinic.there("Procedure")
        clinic.push(signed(revision=2))
        ((found,),) = [clinic.there("Observation")]
        codes = {one["code"] for one in found["meta"]["security"]}
        assert {"SUD", "NORDSCLCD"} <= codes, "labelled, with the notice of 42 CFR 2.32"


@pytest.mark.parametrize("act", ["treat", "share", "regulatory_report"])
def test_psychotherapy_notes_never_leave(server: FakeServer, tmp_path: Path, act: str) -> None:
    exception = {"name": "everything", "act": act, "kinds": ["session"], "basis": "none that counts here"}
    with Consenting(server, tmp_path, clinic={"exceptions": [exception]}, act=act) as clinic:
        assert clinic.push(signed(), visit("s1", sensitivity=["psychotherapy_notes"]))["s1"] == "blocked"
        assert not clinic.there("Procedure")


# ------------------------------------------------------------------------------------------- blocked, and released
def test_what_is_blocked_goes_by_itself_when_the_consent_comes(server: FakeServer, tmp_path: Path) -> None:
    with Consenting(server, tmp_path) as clinic:
        clinic.push(rate("v1"))
        assert not clinic.there()
        clinic.push(signed())
        assert len(clinic.there("Observation")) == 1
        assert clinic.push(rate("v1")) == {"v1": "unchanged"}


def test_a_consent_that_stands_behind_its_records_in_the_file_counts_for_them(
    server: FakeServer, tmp_path: Path
) -> None:
    """Also when they are a window of lines apart: the push ends when what it released has gone."""
    with Consenting(server, tmp_path) as clinic:
        many = [rate(f"v{number}") for number in range(1_005)]
        clinic.push(*many, signed())
        assert len(clinic.there("Observation")) == 1_005


def test_a_permission_that_begins_later_releases_what_waits_for_it(server: FakeServer, tmp_path: Path) -> None:
    with Consenting(server, tmp_path) as clinic:
        start = "2027-01-15T12:00:00Z"
        assert clinic.push(signed(period={"start": start}), rate("v1"), patience=0.0)["v1"] == "blocked"
        clinic.clock.now = 1_800_100_000.0
        clinic.push()
        assert clinic.push(rate("v1")) == {"v1": "created"}


def test_pushed_again_without_a_change_it_is_still_blocked_and_told_so(server: FakeServer, tmp_path: Path) -> None:
    with Consenting(server, tmp_path) as clinic:
        for _ in range(2):
            (found,) = clinic.outcomes(rate("v1"))
            assert found.state == "blocked"
            (fault,) = found.faults
            assert fault.code == "consent.no-consent"
            assert "P-1" not in str(fault)


def test_a_newer_consent_that_forbids_stops_what_was_permitted(server: FakeServer, tmp_path: Path) -> None:
    with Consenting(server, tmp_path) as clinic:
        clinic.push(signed(), rate("v1"))
        assert clinic.push(signed(revision=2, decision="deny"), rate("v2"))["v2"] == "blocked"
        assert clinic.push(rate("v1", revision=2, value=80)) == {"v1": "blocked"}
        assert [one["valueQuantity"]["value"] for one in clinic.there("Observation")] == [72]


def test_a_consent_that_cannot_be_read_keeps_everything_back_until_it_is_corrected(
    server: FakeServer, tmp_path: Path
) -> None:
    with Consenting(server, tmp_path) as clinic:
        clinic.push(signed())
        broken = signed(revision=2) | {"decision": "perhaps"}
        read = [*from_documents([Document("f", 1, dump(broken))], MODELS), *lines(rate("v1"))]
        how = How(clock=clinic.clock, sleep=clinic.clock.sleep)
        assert [one.state for one in push(read, clinic.site, clinic.ledger, how)] == ["refused", "blocked"]
        assert clinic.states() >= {("v1", State.BLOCKED, "consent.unreadable")}
        clinic.push(signed(revision=2))
        assert len(clinic.there("Observation")) == 1


def test_a_consent_counts_although_it_is_older_than_the_backfill(server: FakeServer, tmp_path: Path) -> None:
    with Consenting(server, tmp_path) as clinic:
        clinic.site.client.close()
        table = {"base_url": server.base, "start": "2026-11-15"}
        config = Config(parse({"audit": NO_TRAIL, "clinic": {"demo": True}, "site": {"s": table}}), Path(), {})
        clinic.site = Site.open("s", config, kinds=KINDS)
        assert clinic.push(signed(), rate("v1")) == {"c1": "before_start", "v1": "created"}


def test_a_consent_recorded_under_the_wrong_patient_permits_nothing_of_that_one(
    server: FakeServer, tmp_path: Path
) -> None:
    with Consenting(server, tmp_path) as clinic:
        clinic.push(signed())
        clinic.push(signed(who="P-2", revision=2))
        assert clinic.push(rate("v1"), rate("v2", "P-2")) == {"v1": "blocked", "v2": "created"}


# ------------------------------------------------------------------------------------------- in between
def test_a_consent_withdrawn_while_a_lane_is_worked_off_stops_the_rest_of_it(
    server: FakeServer, tmp_path: Path
) -> None:
    """Nothing is begun, or even looked up, under consents that have changed since the claim."""
    with Consenting(server, tmp_path) as clinic:
        clinic.push(signed())
        before = len(server.requests)

        def at(point: str) -> None:
            if point == "after-claim" and not done:
                done.append(1)
                clinic.ledger.keep_evidence(evidence_of(lines(withdrawn()), DEMO_ID_KEY))

        done: list[int] = []
        assert clinic.push(rate("v1"), at=at) == {"v1": "blocked"}
        assert done
        assert not [one for one in server.requests[before:] if b"v1" in one.body or b"P-1" in one.body]


def test_an_answer_that_is_lost_and_a_withdrawal_leave_no_second_look_but_that_of_the_retraction(
    server: FakeServer, tmp_path: Path
) -> None:
    """A write in doubt, then the withdrawal: the doubt is not asked about; what may be there is taken back."""
    with Consenting(server, tmp_path) as clinic:
        clinic.push(signed())

        def cut(request: Request) -> Reply | None:
            if b'"PUT"' in request.body and b"Observation" in request.body:
                server.behave(request)
                return Reply(cut=True)
            return None

        server.misbehave = cut
        clinic.push(rate("v1"), patience=0.0)
        assert {state for record, state, _ in clinic.states() if record == "v1"} == {State.UNKNOWN}
        server.misbehave = lambda request: None
        clinic.push(withdrawn(data_handling="retract"))
        (found,) = clinic.there("Observation")
        assert found["status"] == "entered-in-error"


# ------------------------------------------------------------------------------------------- plan
def test_a_plan_tells_what_would_be_blocked_and_asks_the_site_about_nobody_else(
    server: FakeServer, tmp_path: Path
) -> None:
    with Consenting(server, tmp_path) as clinic:
        preview = Preview(clinic.site, clinic.ledger, clinic.clock())
        steps = {one.record: one for one in preview.steps(lines(signed(), rate("v1"), rate("v2", "P-2")))}
        assert {name: (one.would, one.waits) for name, one in steps.items()} == {
            "c1": ("create", False), "v1": ("create", False), "v2": ("blocked", True),
        }  # fmt: skip
        assert b"P-2" not in bodies(server)
        assert clinic.ledger.consents(steps["v1"].lane).version == 0, "a plan keeps nothing"
