"""The worker over the ledger: nothing lost and nothing twice wherever it dies, one stuck patient delays only itself."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fhirbridge.config import DEMO_ID_KEY
from fhirbridge.ledger import Known, Ledger, Server, State
from fhirbridge.site import Site
from fhirbridge.sync import Settings, Worker
from fhirbridge.sync.bench import Report
from fhirbridge.sync.enqueue import Intake, Offered
from fhirbridge.sync.plan import planned
from fhirbridge.sync.points import POINTS
from fhirbridge.sync.reason import Reason
from fhirbridge.sync.withdraw import withdraw
from tests.client.pushing import EVERY, SID, Clock, Tree, lines, patient, rate, register, site_of, visit
from tests.client.server import FakeServer, Reply, Request, outcome, serving
from tests.vault.vaults import vault_of


class Clinic:
    """A clinic, a hospital and the ledger between them, on a clock that only waiting moves."""

    def __init__(self, server: FakeServer, folder: Path, clock: Clock | None = None, **settings: Any) -> None:
        self.server, self.clock = server, clock or Clock()
        self.url = f"sqlite:///{folder}/ledger.db"
        self.site: Site = site_of(server, EVERY, **settings)
        self.ledger = Ledger.open(self.url, vault=vault_of(DEMO_ID_KEY), clock=self.clock)
        self.reports: list[Report] = []

    def queue(self, *trees: Tree, run: str = "r") -> list[Offered]:
        intake = Intake(self.ledger, self.site.name, self.site.mappings.binding, run)
        return intake.take([planned(one, one.record, self.site.mappings) for one in lines(*trees) if one.record])

    def worker(self, at: Callable[[str], None] = lambda point: None, **settings: Any) -> Worker:
        return Worker(
            self.site, self.ledger, settings=Settings(**settings), clock=self.clock, sleep=self.clock.sleep,
            chance=random.Random(1), at=at, tell=self.reports.append,  # noqa: S311
        )  # fmt: skip

    def deliver(self, patience: float = 10_000, **settings: Any) -> None:
        self.worker(**settings).run(lambda: True, patience)

    def known(self, *records: tuple[str, str]) -> list[Known]:
        return sorted(self.ledger.known("s", records), key=lambda one: (one.record, one.role, one.generation))

    def states(self) -> dict[State, int]:
        found: dict[State, int] = {}
        for (_, _, state), count in self.ledger.standing("s").counts.items():
            found[state] = found.get(state, 0) + count
        return found


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving(FakeServer()) as running:
        register(running, "P-1", "P-2", "P-3", "P-4")
        yield running


@pytest.fixture
def clinic(server: FakeServer, tmp_path: Path) -> Iterator[Clinic]:
    made = Clinic(server, tmp_path)
    yield made
    made.site.client.close()
    made.ledger.close()


def stored(server: FakeServer, kind: str = "Observation") -> list[list[Tree]]:
    return [versions for address, versions in server.resources.items() if address.startswith(f"{kind}/")]


def event(own: str, session: str | None = None, who: str = "P-1") -> Tree:
    suspects = [
        {"instance": {"type": "Procedure", "identifier": {"system": f"{SID}/treatment-session", "value": session}}}
    ]
    return {
        "kind": "adverse_event", "id": own, "revision": 1, "patient": patient(who), "record_status": "completed",
        "actuality": "actual", "verbatim": "nausea", "onset": "2026-11-20T10:41:00-05:00",
    } | ({"suspects": suspects} if session else {})  # fmt: skip


class Died(BaseException):
    """What a SIGKILL is to a worker: nothing after it runs."""


@pytest.mark.parametrize("point", [one for one in POINTS if one not in ("after-token", "during-ack", "lease-renewal")])
def test_a_worker_that_dies_at_any_point_loses_nothing_and_doubles_nothing(clinic: Clinic, point: str) -> None:
    """Its lease runs out, another one goes on; the server's log has each resource once."""
    trees = [rate("v1"), visit("s1"), rate("v2", "P-2"), rate("v3", "P-3")]
    dying = [True]

    def die(here: str) -> None:
        if here == point and dying:
            dying.clear()
            raise Died

    intake = Intake(clinic.ledger, "s", clinic.site.mappings.binding, "r", die)
    records = [planned(one, one.record, clinic.site.mappings) for one in lines(*trees) if one.record]
    worker = clinic.worker(die, threads=1)
    # A process that is killed gives nothing back.
    worker._give_back = lambda: None  # type: ignore[method-assign]
    try:
        intake.take(records)
        worker.run(lambda: True, 10_000)
    except Died:
        pass
    assert not dying
    intake.take(records)
    clinic.clock.sleep(61)
    clinic.deliver()
    assert clinic.states() == {State.ACKED: 5}
    assert [
        len(one)
        for kind in ("Observation", "Procedure", "MedicationAdministration")
        for one in stored(clinic.server, kind)
    ] == [1] * 5


def test_a_stuck_patient_delays_only_itself(clinic: Clinic) -> None:
    """One patient's bundle hangs until all others are delivered."""
    others = threading.Event()

    def hang(request: Request) -> Reply | None:
        if b'"PUT"' in request.body and b"P-1" in request.body:
            assert others.wait(20)
        reply = clinic.server.behave(request)
        if len(stored(clinic.server)) == 3:
            others.set()
        return reply

    clinic.server.misbehave = hang
    clinic.queue(*(rate(f"v{number}", f"P-{number}") for number in range(1, 5)))
    clinic.deliver(threads=2)
    assert clinic.states() == {State.ACKED: 4}


def test_a_site_is_never_asked_before_the_time_it_named(clinic: Clinic) -> None:
    asked: list[float] = []

    def throttle(request: Request) -> Reply | None:
        if b'"PUT"' not in request.body:
            return None
        asked.append(clinic.clock())
        return Reply(429, outcome("throttled"), {"Retry-After": "600"}) if len(asked) == 1 else None

    clinic.server.misbehave = throttle
    clinic.queue(rate("v1"), rate("v2", "P-2"))
    clinic.deliver(threads=1)
    assert clinic.states() == {State.ACKED: 2}
    assert all(later - asked[0] >= 600 for later in asked[1:])


def test_a_rejected_token_stops_everything_after_one_request(clinic: Clinic) -> None:
    """No storm of requests that would lock the account; nothing is set aside, so it goes on with a new token."""
    tries: list[Request] = []

    def refuse(request: Request) -> Reply | None:
        if b'"PUT"' in request.body:
            tries.append(request)
            return Reply(401)
        return None

    clinic.server.misbehave = refuse
    clinic.queue(*(rate(f"v{number}", f"P-{number}") for number in range(1, 5)))
    worker = clinic.worker(threads=1)
    worker.run(lambda: True, 10_000)
    assert len(tries) == 1
    assert worker.stopped is not None
    clinic.server.misbehave = lambda request: None
    clinic.clock.sleep(1_000)
    clinic.deliver()
    assert clinic.states() == {State.ACKED: 4}


def test_a_limit_is_learnt_once_and_remembered(clinic: Clinic) -> None:
    """Azure says it with a 400; the next worker sends bundles that fit."""

    def limited(request: Request) -> Reply | None:
        if b'"PUT"' in request.body and len(request.tree["entry"]) > 10:
            text = "The number of entries in the bundle exceeded the configured limit of 10"
            return Reply(400, outcome("too-costly", text))
        return None

    clinic.server.misbehave = limited
    clinic.queue(*(rate(f"v{number}") for number in range(40)))
    clinic.deliver()
    assert clinic.states() == {State.ACKED: 40}
    assert 0 < clinic.ledger.limits("s")["entries"] <= 10
    refused = len([one for one in clinic.server.writes if len(one["entry"]) > 10])
    clinic.queue(*(rate(f"w{number}") for number in range(40)))
    clinic.deliver()
    assert len([one for one in clinic.server.writes if len(one["entry"]) > 10]) == refused


def test_an_adverse_event_goes_in_one_transaction_with_the_session_it_names(clinic: Clinic) -> None:
    clinic.queue(*(rate(f"v{number}") for number in range(150)), event("e1", "s1"), visit("s1"))
    clinic.deliver()
    (found,) = [
        one
        for one in clinic.server.writes
        if any(e["resource"]["resourceType"] == "AdverseEvent" for e in one["entry"])
    ]
    assert "Procedure" in {one["resource"]["resourceType"] for one in found["entry"]}
    ((stored_event,),) = stored(clinic.server, "AdverseEvent")
    assert "Procedure/" in str(stored_event)


def test_an_adverse_event_goes_without_a_session_that_is_refused(clinic: Clinic) -> None:
    clinic.server.refuses = lambda resource: resource.get("resourceType") == "Procedure"
    clinic.queue(event("e1", "s1"), visit("s1"))
    clinic.deliver()
    ((stored_event,),) = stored(clinic.server, "AdverseEvent")
    assert "'reference': 'Procedure/" not in str(stored_event)
    assert f"{SID}/treatment-session" in str(stored_event)


def test_a_projection_that_a_correction_takes_away_is_retracted(clinic: Clinic) -> None:
    one = visit("s1")
    (given,) = one["administrations"]
    more = given | {"identifier": {"system": f"{SID}/administration", "value": "s1-2"}}
    clinic.queue(one | {"administrations": [given, more]})
    clinic.deliver()
    clinic.queue(visit("s1", revision=2))
    clinic.deliver()
    found = stored(clinic.server, "MedicationAdministration")
    assert sorted(versions[-1]["status"] for versions in found) == ["completed", "entered-in-error"]
    rows = {one.role: one for one in clinic.known(("session", "s1"))}
    assert any(one.withdrawn and one.server is Server.RETRACTED for one in rows.values())


def test_a_record_of_another_patient_is_a_new_resource_and_the_old_one_is_retracted(clinic: Clinic) -> None:
    """The old chart is told that it was an error; nothing is ever written over from one patient to another."""
    clinic.queue(rate("v1"))
    clinic.deliver()
    clinic.queue(rate("v1", "P-2", revision=2))
    clinic.deliver()
    charts = {versions[-1]["subject"]["reference"]: versions[-1]["status"] for versions in stored(clinic.server)}
    assert charts == {"Patient/p0": "entered-in-error", "Patient/p1": "final"}
    # The old revision cannot bring the old patient back.
    (again,) = clinic.queue(rate("v1"))
    assert not again.queued
    clinic.queue(rate("v1", "P-2", revision=3, value=75))
    clinic.deliver()
    assert len(stored(clinic.server)) == 2


def test_a_change_at_the_hospital_is_merged_where_paths_do_not_meet(clinic: Clinic) -> None:
    clinic.queue(rate("v1"))
    clinic.deliver()
    ((first,),) = stored(clinic.server)
    clinic.server.put(first | {"note": [{"text": "seen by the ward"}]})
    clinic.queue(rate("v1", revision=2, value=80))
    clinic.deliver()
    ((*_, last),) = stored(clinic.server)
    assert last["note"] == [{"text": "seen by the ward"}]
    assert last["valueQuantity"]["value"] == 80


def test_a_change_at_one_path_is_a_conflict_for_people_told_without_values(clinic: Clinic) -> None:
    clinic.queue(rate("v1"))
    clinic.deliver()
    ((first,),) = stored(clinic.server)
    clinic.server.put(first | {"valueQuantity": first["valueQuantity"] | {"value": 99}})
    clinic.queue(rate("v1", revision=2, value=80))
    clinic.deliver()
    ((*_, last),) = stored(clinic.server)
    assert last["valueQuantity"]["value"] == 99
    (row,) = clinic.ledger.failed("s")
    assert (row.state, Reason.read(row.reason).why) == (State.PARKED, "conflict.changed")
    (fault,) = clinic.reports[-1].faults
    assert fault.path == "valueQuantity.value"
    said = r"changed at the site as well \([0-9a-f]{12} there [0-9a-f]{12}, here [0-9a-f]{12}\)"
    assert re.fullmatch(said, fault.reason)


def test_what_was_deleted_at_the_hospital_is_not_brought_back(clinic: Clinic) -> None:
    clinic.queue(rate("v1"))
    clinic.deliver()
    clinic.server.misbehave = lambda request: (
        Reply(410, outcome("deleted")) if request.method == "GET" and "Observation/" in request.path else None
    )
    clinic.queue(rate("v1", revision=2, value=80))
    clinic.deliver()
    assert [row.reason for row in clinic.ledger.failed("s")] == ["site.gone"]
    assert len(stored(clinic.server)[0]) == 1


def test_a_worker_whose_lane_was_taken_changes_nothing(clinic: Clinic) -> None:
    """It sleeps longer than its lease; another one delivers; what it wakes up with counts no more."""
    other = Clinic(clinic.server, Path(clinic.url.removeprefix("sqlite:///")).parent, clinic.clock)

    def sleep_too_long(point: str) -> None:
        if point == "after-consent" and not clinic.server.writes:
            clinic.clock.sleep(120)
            other.deliver()

    clinic.queue(rate("v1"))
    clinic.worker(sleep_too_long, threads=1).run(lambda: True, 0)
    assert [len(one) for one in stored(clinic.server)] == [1]
    assert clinic.states() == {State.ACKED: 1}
    assert [one.to for one in other.reports] == [State.ACKED]
    assert not clinic.reports
    other.site.client.close()
    other.ledger.close()


def test_several_workers_on_one_ledger_deliver_each_record_once(clinic: Clinic) -> None:
    folder = Path(clinic.url.removeprefix("sqlite:///")).parent
    clinic.queue(*(rate(f"v{number}", f"P-{number % 4 + 1}") for number in range(80)))
    others = [Clinic(clinic.server, folder, clinic.clock, bundle_entries=5) for _ in range(3)]
    threads = [threading.Thread(target=one.deliver, args=(0,), kwargs={"threads": 2}) for one in others]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    clinic.deliver()
    assert clinic.states() == {State.ACKED: 80}
    assert [len(one) for one in stored(clinic.server)] == [1] * 80
    for one in others:
        one.site.client.close()
        one.ledger.close()


def test_each_transaction_brings_its_provenance_where_the_site_takes_it(server: FakeServer, tmp_path: Path) -> None:
    """One for each bundle, within the limit; where a site refuses it the records go without."""
    made = Clinic(server, tmp_path, provenance="always", bundle_entries=5)
    made.queue(*(rate(f"v{number}") for number in range(10)))
    made.deliver()
    assert max(len(one["entry"]) for one in server.writes) <= 5
    found = [versions[-1] for versions in stored(server, "Provenance")]
    targets = sorted(one["reference"] for each in found for one in each["target"])
    assert targets == sorted(address for address in server.resources if address.startswith("Observation/"))
    server.refuses = lambda resource: resource.get("resourceType") == "Provenance"
    made.queue(*(rate(f"w{number}") for number in range(10)))
    made.deliver()
    assert made.states() == {State.ACKED: 20}
    made.site.client.close()
    made.ledger.close()


def test_a_server_that_takes_no_bundles_is_written_to_one_by_one_from_then_on(clinic: Clinic) -> None:
    """It declares nothing of bundles and answers them with 404: that is learnt once."""
    bundles: list[Request] = []

    def single(request: Request) -> Reply | None:
        if request.method == "POST" and request.path == "":
            bundles.append(request)
            return Reply(404, outcome("not-found"))
        return None

    clinic.server.misbehave = single
    clinic.queue(rate("v1"), rate("v2"), visit("s1"))
    clinic.deliver()
    assert clinic.states() == {State.ACKED: 4}
    seen = len([one for one in bundles if b'"PUT"' in one.body])
    clinic.queue(rate("v3"), rate("v4"))
    clinic.deliver()
    assert clinic.states() == {State.ACKED: 6}
    assert len([one for one in bundles if b'"PUT"' in one.body]) == seen == 1


def test_what_a_site_does_not_say_whether_it_has_is_not_taken_for_taken_back(
    server: FakeServer, tmp_path: Path
) -> None:
    """A creation in doubt at a site that gives the ids and answers no search by POST; then the run is retracted."""
    can = {"update_create": False, "conditional_update": False, "conditional_create": True, "identifier_search": True}
    clinic = Clinic(server, tmp_path, write="conditional-create", can=can, provenance="never")

    def misbehave(request: Request) -> Reply | None:
        if not request.path.startswith("Patient") and request.path != "metadata":
            return Reply(405, outcome("not-supported")) if request.path.endswith("_search") else Reply(cut=True)
        return None

    server.misbehave = misbehave
    clinic.queue(rate("v1"))
    clinic.deliver(patience=1)
    assert clinic.states() == {State.UNKNOWN: 1}
    assert withdraw(clinic.ledger, "s", "r", "back") == 1
    clinic.deliver()
    (row,) = clinic.known(("vital_sign", "v1"))
    assert (row.state, row.reason.partition(" ")[0]) == (State.PARKED, "doubt.open")
