"""The work: nothing leaves that is not in the trail; what leaves, is denied or is handed out, is in it."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fhirbridge.audit import PURGE, REKEY
from fhirbridge.audit.summary import Summary, summary
from fhirbridge.errors import AuditUnavailable, ConsentChanged
from fhirbridge.fhir.json import Tree
from fhirbridge.ledger import Outgoing
from fhirbridge.site import clinic_audit
from fhirbridge.sync import Worker, pull
from fhirbridge.sync.enrol import Enrolment
from fhirbridge.sync.identity import lane_named
from fhirbridge.sync.verify import verify
from tests.audit.balp import breaches
from tests.audit.hospital import Hospital, watched
from tests.client.pushing import SID, rate, register, visit
from tests.client.server import FakeServer, Reply, Request, serving
from tests.sync.consenting import key, signed, withdrawn

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving(FakeServer()) as running:
        register(running, "P-1", "P-2")
        yield running


def said(hospital: Hospital, what: str) -> list[Summary]:
    return [one for one in map(summary, hospital.events()) if what in one.what]


def ids(server: FakeServer) -> list[str]:
    return [one.headers.get("x-request-id", "") for one in server.requests]


def test_each_request_is_announced_before_it_arrives_and_ends_in_the_trail(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Push, correction, retraction, pull and verify: for each request one event, with its X-Request-Id and its end."""
    with Hospital(server, tmp_path) as hospital:
        with watched(hospital, monkeypatch.setattr) as wrong:
            assert hospital.push(rate("v1"), visit("s1"), rate("v2", "P-2")) == ["created"] * 3
            assert hospital.push(rate("v1", revision=2, value=80)) == ["updated"]
            assert hospital.push(rate("v1", "P-2", revision=3)) == ["created"]
            assert list(verify(hospital.site, hospital.ledger, duplicates=True))
            assert list(pull(hospital.site, hospital.ledger))
        assert wrong == []
        found = hospital.events()
    assert len(set(ids(server))) == len(server.requests)
    assert all(map(UUID.fullmatch, ids(server)))
    requests = [one for one in found if summary(one).what != "disclose"]
    assert sorted(one["id"] for one in requests) == sorted(ids(server)), "one event each, and none without a request"
    assert all("outcome" in one for one in requests)
    assert [wrong for one in found if (wrong := breaches(one))] == []
    assert hospital.verified().findings == []


@pytest.mark.parametrize("settings", [{"write": "conditional-create"}, {"write": "search-then-create"}])
def test_so_is_each_request_of_other_ways_to_write(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    can = {"conditional_create": True, "identifier_search": True, "index_lag": 0}
    with Hospital(server, tmp_path, can=can, **settings) as hospital:
        with watched(hospital, monkeypatch.setattr) as wrong:
            hospital.push(rate("v1"), rate("v2", "P-2"), patience=1)
        assert wrong == []
        assert sorted(one["id"] for one in hospital.events()) == sorted(ids(server))


def test_the_id_of_a_bundle_is_the_same_in_ledger_header_and_trail(server: FakeServer, tmp_path: Path) -> None:
    with Hospital(server, tmp_path) as hospital:
        begun: list[str] = []
        begin = hospital.ledger.begin

        def noted(bundles: list[Outgoing]) -> float:
            begun.extend(one.id for one in bundles)
            return begin(bundles)

        hospital.ledger.begin = noted  # type: ignore[method-assign, assignment]
        hospital.push(rate("v1"))
        (bundle,) = [one for one in hospital.events() if "create" in summary(one).what]
    assert [bundle["id"].replace("-", "")] == begun
    assert bundle["id"] in ids(server)


def test_the_patient_of_a_request_is_the_one_whose_lane_it_serves(server: FakeServer, tmp_path: Path) -> None:
    with Hospital(server, tmp_path) as hospital:
        hospital.push(rate("v1"), rate("v2", "P-2"))
        about = {one.patient for what in ("search", "read", "create") for one in said(hospital, what)}
    assert about == {key("P-1"), key("P-2")}
    assert "P-1" not in "".join(one.read_text() for one in hospital.folder.glob("*.ndjson"))


def refuse(left: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A disk that takes ``left`` bytes more of the trail."""
    real, rest = os.write, [left]

    def write(descriptor: int, data: bytes) -> int:
        if ".ndjson" not in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            return real(descriptor, data)
        if len(data) > rest[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rest[0] -= len(data)
        return real(descriptor, bytes(data))

    monkeypatch.setattr(os, "write", write)
    return rest


@pytest.mark.parametrize("room", [0, 3_000, 8_000])
def test_where_the_trail_cannot_be_written_nothing_leaves(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """The run ends with a code of its own; what was not sent is queued, and goes when there is room again."""
    trees = [rate("v1"), visit("s1"), rate("v2", "P-2")]
    with Hospital(server, tmp_path) as hospital:
        with watched(hospital, monkeypatch.setattr) as wrong, monkeypatch.context() as full:
            refuse(room, full)
            with pytest.raises(AuditUnavailable, match=r"audit\.unavailable"):
                hospital.push(*trees)
        assert wrong == []
        assert len(server.requests) < 6
        assert hospital.verified().faults == []
        hospital.clock.sleep(120)
        hospital.push(*trees)
        assert sorted(address.partition("/")[0] for address in server.resources) == [
            "MedicationAdministration", "Observation", "Observation", "Patient", "Patient", "Procedure",
        ]  # fmt: skip
        assert all(len(versions) == 1 for versions in server.resources.values())


def test_a_folder_that_is_none_stops_everything(server: FakeServer, tmp_path: Path) -> None:
    with Hospital(server, tmp_path) as hospital:
        hospital.folder.write_text("no folder")
        with pytest.raises(AuditUnavailable):
            hospital.push(rate("v1"))
        with pytest.raises(AuditUnavailable):
            list(pull(hospital.site, hospital.ledger))
        assert server.requests == []


def test_a_worker_goes_on_when_the_trail_can_be_written_again(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service keeps its worker from round to round."""
    with Hospital(server, tmp_path) as hospital:
        worker = Worker(hospital.site, hospital.ledger, clock=hospital.clock, sleep=hospital.clock.sleep)
        with monkeypatch.context() as full:
            left = refuse(100_000, full)
            hospital.site.check()
            left[0] = 0
            with pytest.raises(AuditUnavailable):
                hospital.push(rate("v1"))
            with pytest.raises(AuditUnavailable):
                worker.run(lambda: True, 1)
        worker.run(lambda: True, 1)
        assert [one for one in server.resources if one.startswith("Observation/")]


def test_a_write_that_was_announced_and_not_begun_says_so(server: FakeServer, tmp_path: Path) -> None:
    """Its consents changed at the last moment: the event stays, with the reason, and nothing was sent."""
    with Hospital(server, tmp_path) as hospital:
        begin, turns = hospital.ledger.begin, iter([True])

        def changed(bundles: list[Outgoing]) -> float:
            if next(turns, False):
                raise ConsentChanged("changed", lanes=[bundles[0].deliveries[0].lease.lane])
            return begin(bundles)

        hospital.ledger.begin = changed  # type: ignore[method-assign, assignment]
        assert hospital.push(rate("v1")) == ["created"]
        creates = said(hospital, "create")
    assert [(one.outcome, one.words) for one in creates] == [("failed", "ledger.consent-changed"), ("well", "200")]
    assert creates[0].id not in ids(server)


def test_a_broken_connection_and_a_refusal_end_as_what_they_are(server: FakeServer, tmp_path: Path) -> None:
    replies = iter([Reply(cut=True), Reply(422, {"resourceType": "OperationOutcome", "issue": []})])
    with Hospital(server, tmp_path) as hospital:

        def misbehave(request: Request) -> Reply | None:
            return next(replies, None) if b'"PUT"' in request.body else None

        server.misbehave = misbehave
        hospital.push(rate("v1"), patience=1_000)
        assert [(one.outcome, one.words) for one in said(hospital, "create")] == [
            ("failed", "site.unreachable"), ("refused", "422"),
        ]  # fmt: skip


def test_each_entry_that_a_batch_refused_is_named(server: FakeServer, tmp_path: Path) -> None:
    server.system = ["batch"]
    server.refuses = lambda resource: "80" in str(resource.get("valueQuantity"))
    with Hospital(server, tmp_path, transaction="batch") as hospital:
        hospital.push(rate("v1"), rate("v2", value=80), rate("v3"))
        (event,) = [one for one in hospital.events() if "create" in summary(one).what]
    details = [one["detail"][0]["valueString"] for one in event["entity"] if "detail" in one]
    assert details == ["rejected"]


def test_a_denial_names_reason_consents_and_what_was_kept_back(server: FakeServer, tmp_path: Path) -> None:
    """Without a consent, after one, and after its withdrawal; ids of consents and records stand keyed."""
    with Hospital(server, tmp_path, act="share") as hospital:
        hospital.push(rate("v1"), rate("v2"))
        (first,) = [one for one in hospital.events() if summary(one).what == "AuthZ-Consent"]
        assert summary(first).words == "no-consent"
        assert summary(first).patient == key("P-1")
        named = _details(first)
        assert named["consents-version"] == ["0"]
        assert len(named["denied"]) == 2
        hospital.push(signed("c-canary"), rate("v1"), rate("v2"))
        sent = {one for one in server.resources if one.startswith("Observation/")}
        assert sent == set(named["denied"]), "what was named is where it went later"
        hospital.push(withdrawn("c-canary"), rate("v3"))
        *_, last = [one for one in hospital.events() if summary(one).what == "AuthZ-Consent"]
        assert summary(last).words == "withdrawn"
        assert [wrong for one in hospital.events() if (wrong := breaches(one))] == []
        consents = [one["what"]["reference"] for one in last["entity"] if one.get("type", {}).get("code") == "Consent"]
        assert len(consents) == 1
        assert set(consents) <= server.resources.keys()
        assert "c-canary" not in "".join(one.read_text() for one in hospital.folder.glob("*.ndjson"))


def _details(event: Tree) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for entity in event["entity"]:
        for one in entity.get("detail", ()):
            found.setdefault(one["type"], []).append(one["valueString"])
    return found


def test_what_a_pull_hands_out_is_in_the_trail_before_it_is_handed_out(server: FakeServer, tmp_path: Path) -> None:
    """One event for each patient of a page, with the addresses of what is theirs; what consents keep back is denied."""
    with Hospital(server, tmp_path) as store:
        store.push(rate("v1"), rate("v2"), rate("v3", "P-2"))
        for count, _ in enumerate(pull(store.site, store.ledger, ["Observation"]), start=1):
            assert sum(one.resources for one in said(store, "disclose")) >= count
        assert {(one.patient, one.resources) for one in said(store, "disclose")} == {(key("P-1"), 2), (key("P-2"), 1)}
    folder = tmp_path / "shared"
    folder.mkdir()
    with Hospital(server, folder, act="share") as share:
        assert all(one.left_out == "no-consent" for one in pull(share.site, share.ledger, ["Observation"]))
        assert said(share, "disclose") == []
        assert {(one.patient, one.words) for one in said(share, "AuthZ")} == {
            (key("P-1"), "no-consent"), (key("P-2"), "no-consent"),
        }  # fmt: skip


def test_a_look_up_of_an_enrolment_is_about_the_clinics_patient(server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("identifier,family,given,birth_date,hospital\nP-1,Finch,Ada,1980-02-03,M-77\n")
    with Hospital(server, tmp_path, patients={"system": "urn:mrn", "crosswalk": "known.csv"}) as hospital:
        enrolment = Enrolment(hospital.site)
        assert [one.state for one in enrolment.findings(str(tmp_path / "list.csv"))] == ["not_found"]
        (asked,) = said(hospital, "search")
    demo_key = hospital.site.mappings.binding.clinic.id_key
    assert asked.patient == lane_named(f"{SID}/patient", "P-1", demo_key)
    text = "".join(one.read_text() for one in hospital.folder.glob("*.ndjson"))
    assert not any(secret in text for secret in ("M-77", "Finch", "P-1"))


def test_what_is_done_to_the_clinics_own_keeping_is_on_disk_before_it_is_done(
    server: FakeServer, tmp_path: Path, syncs: list[int]
) -> None:
    with Hospital(server, tmp_path) as hospital:
        audit = clinic_audit(hospital.config)
        audit.record(PURGE, patient=key("P-1"), details=[("bodies", "17")])
        audit.record(REKEY, details=[("blobs", "2")])
        synced = len(syncs)
        audit.close()
        assert synced >= 3, "the first line, and each of the two"
        assert [(one.what, one.site, one.patient) for one in map(summary, hospital.events())] == [
            ("destroy", "", key("P-1")), ("encrypt", "", ""),
        ]  # fmt: skip


def test_a_trail_that_is_turned_off_writes_nothing_and_requests_have_ids_all_the_same(
    server: FakeServer, tmp_path: Path
) -> None:
    with Hospital(server, tmp_path) as hospital:
        assert not hospital.folder.exists(), "nothing is written before there is something to tell"
    from tests.client.pushing import site_of

    with site_of(server) as site:
        site.check()
    assert all(map(UUID.fullmatch, ids(server)))
