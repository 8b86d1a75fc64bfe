"""A claim decides by the consents that are kept what it hands out; what may not go waits, and harms nobody."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

import pytest

import fhirbridge
from fhirbridge.errors import ConsentChanged, LeaseLost, LedgerError
from fhirbridge.ledger import Asked, Consents, Decision, Outgoing, Server, State, Verdict, Where
from tests.ledger.bench import SITE, TIMEOUT, Bench, item
from tests.ledger.gates import PATIENT, Signed, consent


@pytest.fixture
def gated(bench: Bench) -> Bench:
    """A bench whose gate permits what all consents of a patient say yes to."""
    bench.gate = Signed()
    return bench


def records(bench: Bench, worker: str = "w1", **other: object) -> list[str]:
    return [one.record for one in bench.held(worker, **other)]


def test_without_consents_nothing_is_handed_out_and_it_goes_by_itself_when_they_come(gated: Bench) -> None:
    gated.offer(item("r1", event=1.0), item("r2", event=2.0))
    assert not gated.claim()
    assert {(one.state, one.reason) for one in gated.rows("r1") + gated.rows("r2")} == {
        (State.BLOCKED, "consent.no-consent")
    }
    # Nobody waits for it, and no worker is kept busy by it.
    assert gated.ledger.next_due(SITE) is None
    gated.sign(consent("yes"))
    assert gated.ledger.next_due(SITE) == gated.clock.now
    assert records(gated) == ["r1", "r2"]


def test_what_is_blocked_holds_nothing_back(gated: Bench) -> None:
    gated.sign(consent("yes"))
    gated.offer(item("r0", event=0.0), item("r1", event=1.0))
    gated.send(State.ACKED)
    gated.sign(consent("no", 2))
    gated.offer(item("r2", event=2.0))
    gated.retract("r1")
    gated.offer(item("r3", event=3.0), item("s1", lane="patient-2"))
    # A retraction is permitted: it goes in front of and behind what is not.
    assert records(gated) == ["r1"]
    assert [gated.rows(name)[-1].state for name in ("r2", "r3", "s1")] == [State.BLOCKED] * 3


def test_a_claim_that_finds_only_what_may_not_go_looks_behind_it(gated: Bench) -> None:
    gated.sign(consent("yes"))
    gated.offer(item("r0"))
    gated.send(State.ACKED)
    gated.sign(consent("no", 2))
    gated.offer(*[item(f"r{n}", event=float(n)) for n in range(1, 30)])
    gated.retract("r0", event=99.0)
    assert records(gated, limit=5) == ["r0"]
    assert gated.ledger.of_run("run-1")[State.BLOCKED] == 29


def test_a_gate_that_cannot_make_up_its_mind_does_not_keep_a_claim_from_ending(gated: Bench) -> None:
    class Wavering(Signed):
        def decide(self, patient: str, version: int, asked: Sequence[Asked], now: float) -> Sequence[Verdict]:
            return [Verdict(permit=False, act="share", reason="wavers", until=now)] * len(asked)

    gated.gate = Wavering()
    gated.offer(item("r1"), item("r2"))
    assert not gated.claim()
    assert not gated.claim()
    assert gated.rows()[0].state is State.BLOCKED


def test_a_block_that_ends_by_itself_is_due_at_its_time(gated: Bench) -> None:
    gated.sign(consent("no until 1500"))
    gated.offer(item("r1"))
    assert not gated.claim()
    assert (gated.rows()[0].review_at, gated.ledger.next_due(SITE)) == (1_500.0, 1_500.0)
    gated.clock.now = 1_499.0
    assert not gated.claim()
    gated.clock.now = 1_500.0
    assert records(gated) == ["r1"]
    assert gated.rows()[0].review_at is None


def test_a_block_ends_at_its_time_also_where_something_earlier_waits_longer(gated: Bench) -> None:
    gated.sign(consent("yes until 1500"))
    gated.offer(item("r1", event=1.0))
    (held,) = gated.held()
    gated.settle([held], State.QUEUED, next_at=9_000.0)
    assert gated.ledger.next_due(SITE) == 9_000.0
    gated.clock.now = 1_600.0
    gated.sign(consent("no until 2000", record="c-2"), consent("yes", record="c-1", revision=2))
    gated.offer(item("r0", event=0.0))
    assert not gated.claim()
    assert gated.ledger.next_due(SITE) == 2_000.0
    gated.clock.now = 2_000.0
    assert records(gated) == ["r0"]


def test_a_gate_is_taught_each_version_once_and_asked_about_what_is_known(gated: Bench) -> None:
    gate = gated.gate
    assert isinstance(gate, Signed)
    gated.sign(consent("yes"), consent("yes", record="h-1", source="south"))
    gated.offer(item("r1", subject='{"codes":[]}', generation=0))
    gated.send(State.ACKED, server_id="17")
    assert gate.known[PATIENT] == gated.ledger.consents(PATIENT)
    taught = gate.known[PATIENT]
    gated.offer(item("r1", 2, subject='{"codes":["x"]}'))
    (held,) = gated.held()
    assert gate.known[PATIENT] is taught
    assert held.subject == '{"codes":["x"]}'
    first, second = gate.asked
    assert (first.subject, first.acked, first.server) == ('{"codes":[]}', False, Server.UNSEEN)
    assert (second.record, second.revision, second.acked, second.server) == ("r1", "2", True, Server.PRESENT)


def test_each_decision_is_kept_once_and_tells_why_and_by_which_consents(gated: Bench) -> None:
    gated.offer(*[item(f"r{n}", event=float(n)) for n in range(50)])
    gated.claim()
    gated.sign(consent("yes"))
    gated.clock.now += 5
    gated.send(State.ACKED)
    told = gated.ledger.decisions(SITE, "session", "r7")
    assert [(one.permit, one.act, one.reason, one.consents) for one in told] == [
        (False, "share", "no-consent", ""),
        (True, "share", "permitted", "c-1@1"),
    ]
    assert [one.at for one in told] == [1_000.0, 1_005.0]
    assert {one.id for one in gated.ledger.decisions(SITE, "session", "r8")} == {one.id for one in told}
    (row,) = gated.rows("r7")
    assert row.decision == told[1].id
    story = [(one.event, one.reason, one.decision) for one in gated.ledger.history(SITE, "session", "r7")]
    assert story[:3] == [
        ("enqueue", "", None),
        ("block", "consent.no-consent", told[0].id),
        ("unblock", "consent-changed", told[0].id),
    ]


def test_a_lane_that_was_blocked_by_older_consents_is_decided_anew_with_what_is_new_in_it(gated: Bench) -> None:
    gated.offer(item("r1", event=1.0))
    assert not gated.claim()
    # Another site's worker holds a lane of the patient, so the change is not effective for a while.
    gated.sign(consent("yes"))
    gated.ledger.enqueue([item("r1")], site="south", run="run-1")
    assert gated.ledger.claim("south", "w2", gate=gated.gate, timeout=TIMEOUT)
    gated.sign(consent("yes", 2))
    gated.offer(item("r2", event=2.0))
    assert records(gated) == ["r1", "r2"]
    patient = gated.ledger.patient(PATIENT)
    assert patient is not None
    assert (patient.version, patient.effective) == (2, 1)


# The last look, right before the first byte.


def test_nothing_is_begun_by_consents_that_changed(gated: Bench) -> None:
    gated.sign(consent("yes"), consent("yes", patient="patient-2"))
    gated.offer(item("r1"), item("s1", lane="patient-2"))
    held = {one.record: one for one in gated.held()}
    gated.sign(consent("no", 2))
    bundles = [Outgoing(f"b-{name}", [one], "digest") for name, one in held.items()]
    with pytest.raises(ConsentChanged) as changed:
        gated.ledger.begin(bundles)
    assert changed.value.lanes == {held["r1"].lease.lane}
    assert changed.value.code == "ledger.consent-changed"
    assert [gated.state(one.id) for one in held.values()] == [State.CLAIMED] * 2
    gated.begin([held["s1"]])
    gated.ledger.release([held["r1"].lease])
    assert records(gated) == []
    assert gated.rows("r1")[0].reason == "consent.withdrawn"


def test_a_change_that_changes_nothing_for_a_record_only_costs_another_claim(gated: Bench) -> None:
    gated.sign(consent("yes"))
    gated.offer(item("r1"))
    (held,) = gated.held()
    gated.sign(consent("yes", 2))
    with pytest.raises(ConsentChanged):
        gated.begin([held])
    gated.ledger.release([held.lease])
    (again,) = gated.held()
    gated.begin([again])


def test_a_permission_that_ends_is_over_at_its_time(gated: Bench) -> None:
    gated.sign(consent("yes until 1050"))
    gated.offer(item("r1"), item("r2", event=1.0))
    first, second = gated.held(lease=600.0)
    assert first.lease.permitted_until == 1_050.0
    gated.clock.now = 1_049.0
    gated.begin([first])
    gated.clock.now = 1_050.0
    with pytest.raises(ConsentChanged):
        gated.begin([second])
    assert gated.ledger.still_permitted(second.lease) is None


def test_a_request_may_last_as_long_as_the_worker_said_when_it_claimed(gated: Bench) -> None:
    gated.sign(consent("yes"))
    gated.offer(item("r1"))
    (held,) = gated.held()
    gated.clock.now += 7
    assert gated.ledger.still_permitted(held.lease) == gated.clock.now + TIMEOUT
    assert gated.ledger.begin([Outgoing("b", [held], "digest")]) == gated.clock.now + TIMEOUT


def test_nothing_is_read_for_a_lane_whose_consents_changed_or_whose_lease_is_over(gated: Bench) -> None:
    gated.sign(consent("yes"))
    gated.offer(item("r1"))
    (held,) = gated.held(lease=60.0)
    (longer,) = gated.ledger.renew([held.lease], 90.0)
    assert gated.ledger.still_permitted(longer) is not None
    gated.sign(consent("yes", 2))
    assert gated.ledger.still_permitted(longer) is None
    gated.clock.now += 91
    with pytest.raises(LeaseLost):
        gated.ledger.still_permitted(longer)


# Doubts.


def doubted(gated: Bench) -> None:
    """A delivery of r1 in doubt, and then the consent is withdrawn."""
    gated.sign(consent("yes"))
    gated.offer(item("r1"), item("r2", event=1.0))
    held = gated.held()
    gated.settle(held[:1], State.UNKNOWN, gated.begin(held[:1]))
    gated.settle(held[1:], State.QUEUED)
    gated.sign(consent("no", 2))


def test_nobody_looks_for_what_is_in_doubt_where_it_is_not_permitted_any_more(gated: Bench) -> None:
    doubted(gated)
    assert not gated.claim()
    assert (gated.rows()[0].state, gated.rows()[0].reason) == (State.PARKED, "consent.withdrawn")
    # What waited behind the doubt was decided in the same claim.
    assert gated.rows("r2")[0].state is State.BLOCKED
    (told,) = [one for one in gated.ledger.history(SITE, "session", "r1") if one.event == "give-up"]
    assert told.bundle is not None
    assert told.decision == gated.rows()[0].decision
    # Replayed, it is decided like anything else.
    assert gated.ledger.replay(Where(site=SITE)) == 1
    assert not gated.claim()
    assert gated.rows()[0].state is State.BLOCKED


def test_a_doubt_with_a_retraction_behind_it_makes_way_for_it(gated: Bench) -> None:
    doubted(gated)
    gated.retract("r1")
    (held,) = gated.held()
    assert (held.record, held.action) == ("r1", "retract")
    assert [one.state for one in gated.rows()] == [State.RETRACTED, State.CLAIMED]


def test_a_doubt_with_a_newer_revision_behind_it_makes_way_for_it(gated: Bench) -> None:
    doubted(gated)
    gated.offer(item("r1", 2))
    assert not gated.claim()
    assert [one.state for one in gated.rows()] == [State.SUPERSEDED, State.BLOCKED]


def test_a_permitted_doubt_is_looked_at_by_the_new_consents(gated: Bench) -> None:
    doubted(gated)
    gated.sign(consent("yes", 3))
    (doubt,) = gated.held()
    assert (doubt.state, doubt.lease.consents) == (State.UNKNOWN, 3)
    assert gated.ledger.still_permitted(doubt.lease) is not None


# What is blocked, to everything else.


def test_a_blocked_record_is_unchanged_when_offered_again_and_not_a_failure(gated: Bench) -> None:
    gated.offer(item("r1"))
    gated.claim()
    (answer,) = gated.offer(item("r1"))
    assert (answer.decision, answer.state, answer.reason) == (
        Decision.UNCHANGED,
        State.BLOCKED,
        "consent.no-consent",
    )
    assert gated.ledger.replay(Where(site=SITE)) == 0
    assert gated.ledger.failed(SITE) == []
    standing = gated.ledger.standing(SITE)
    assert standing.counts == {(SITE, "session", State.BLOCKED): 1}
    assert standing.oldest_unsent is None
    # Its body is kept: it may go one day.
    assert gated.ledger.purge(gated.clock.now + 1).bodies == 0


def test_a_worker_cannot_settle_what_is_blocked(gated: Bench) -> None:
    gated.sign(consent("yes"))
    gated.offer(item("r1"))
    (held,) = gated.held()
    gated.ledger.release([held.lease])
    gated.sign(consent("no", 2))
    assert not gated.claim()
    for to in State:
        with pytest.raises(LedgerError):
            gated.settle([held], to)
    assert gated.rows()[0].state is State.BLOCKED


def test_nothing_of_a_patient_is_in_what_a_claim_prints(gated: Bench) -> None:
    said = consent("yes")
    gated.sign(said)
    gated.offer(item("r1", subject="SECRET"))
    claims = gated.claim()
    known = gated.ledger.known(SITE, [("session", "r1")])
    assert "SECRET" not in f"{claims}{known}{item('r1', subject='SECRET')}"
    assert "yes" not in f"{said}{gated.ledger.consents(PATIENT)}"


def test_the_gate_that_permits_everything_is_used_by_nothing_that_is_installed() -> None:
    for path in Path(str(fhirbridge.__file__)).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("fhirbridge.ledger"):
                assert "EVERYTHING" not in {one.name for one in node.names}, path


def test_consents_are_handed_to_the_gate_by_patient(gated: Bench) -> None:
    gated.sign(consent("yes"), consent("no", patient="patient-2", record="c-9"))
    found = gated.ledger.consents_of(["patient-1", "patient-2", "nobody"])
    assert {key: [one.record for one in several.evidence] for key, several in found.items()} == {
        "patient-1": ["c-1"],
        "patient-2": ["c-9"],
        "nobody": [],
    }
    assert found["nobody"] == Consents("nobody", 0)
