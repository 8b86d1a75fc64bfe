"""A change of consents is effective as soon as nothing older is under way, and at the latest when it must be over."""

from __future__ import annotations

import pytest

from fhirbridge.errors import LeaseLost
from fhirbridge.ledger import Action, Adopted, Ledger, Server, State, Where
from tests.ledger.bench import SITE, TIMEOUT, VAULT, Bench, item
from tests.ledger.gates import PATIENT, Signed, consent

RETRACTION = item("r1", 1, "a tombstone", action=Action.RETRACT)


@pytest.fixture
def gated(bench: Bench) -> Bench:
    """A bench whose gate permits what all consents of a patient say yes to; patient-1 said yes."""
    bench.gate = Signed()
    bench.sign(consent("yes"))
    assert bench.ledger.effect() == [PATIENT]
    return bench


def effective(bench: Bench) -> bool:
    patient = bench.ledger.patient(PATIENT)
    assert patient is not None
    return patient.effective == patient.version


def test_a_change_is_effective_at_once_where_nothing_is_under_way(gated: Bench) -> None:
    gated.offer(item())
    gated.sign(consent("no", 2))
    assert [one.key for one in gated.ledger.requested()] == [PATIENT]
    assert gated.ledger.effect() == [PATIENT]
    assert gated.ledger.effect() == []
    patient = gated.ledger.patient(PATIENT)
    assert patient is not None
    assert (patient.version, patient.effective, patient.effective_at) == (2, 2, gated.clock.now)
    assert gated.ledger.requested() == []


def test_it_waits_for_what_is_under_way_at_any_site_and_for_nothing_else(gated: Bench) -> None:
    gated.offer(item("r1"), item("s1", lane="patient-2"))
    gated.ledger.enqueue([item("r1")], site="south", run="run-1")
    south = gated.ledger.claim("south", "w2", gate=gated.gate, timeout=TIMEOUT)
    (held,) = gated.held()
    gated.sign(consent("no", 2))
    assert gated.ledger.effect() == []
    gated.ledger.release([held.lease])
    assert gated.ledger.effect() == []
    gated.ledger.release([one.lease for one in south])
    assert gated.ledger.effect() == [PATIENT]


def test_what_is_handed_out_by_the_new_consents_holds_nothing_up(gated: Bench) -> None:
    gated.offer(item("r1"))
    gated.sign(consent("yes", 2))
    assert gated.held()
    assert effective(gated)
    gated.sign(consent("yes", 3))
    assert gated.ledger.effect() == []


def test_at_the_latest_it_is_effective_when_the_longest_request_is_over(gated: Bench) -> None:
    gated.offer(item("r1"), item("r2", event=1.0))
    first, second = gated.held(lease=9_999.0, timeout=40.0)
    bundle = gated.begin([first])
    gated.clock.now += 20
    gated.sign(consent("no", 2))
    gated.clock.now += 39
    assert gated.ledger.effect() == []
    assert gated.ledger.next_due(SITE) == gated.clock.now + 1
    gated.clock.now += 1
    assert gated.ledger.effect() == [PATIENT]
    assert [gated.state(one.id) for one in (first, second)] == [State.UNKNOWN, State.QUEUED]
    # The worker comes too late, with anything.
    with pytest.raises(LeaseLost):
        gated.settle([first], State.ACKED, bundle)
    with pytest.raises(LeaseLost):
        gated.begin([second])
    with pytest.raises(LeaseLost):
        gated.ledger.still_permitted(second.lease)
    assert not gated.claim("w2")
    assert [gated.state(one.id) for one in (first, second)] == [State.PARKED, State.BLOCKED]


def test_each_site_has_its_own_longest_request(gated: Bench) -> None:
    gated.offer(item("r1"))
    gated.ledger.enqueue([item("r1")], site="south", run="run-1")
    gated.ledger.claim("south", "w2", gate=gated.gate, timeout=300.0, lease=9_999.0)
    assert gated.held(lease=9_999.0, timeout=10.0)
    gated.sign(consent("no", 2))
    gated.clock.now += 299
    assert gated.ledger.effect() == []
    gated.clock.now += 1
    assert gated.ledger.effect() == [PATIENT]


def test_a_worker_that_lost_its_lease_may_still_be_sending(gated: Bench) -> None:
    gated.offer(item("r1"))
    (held,) = gated.held(lease=10.0, timeout=60.0)
    gated.begin([held])
    gated.clock.now += 11
    assert gated.ledger.rescue(SITE).unknown == 1
    gated.sign(consent("no", 2))
    # Its request may have begun at the last moment of its lease.
    gated.clock.now = 1_069.0
    assert gated.ledger.effect() == []
    gated.clock.now = 1_070.0
    assert gated.ledger.effect() == [PATIENT]


def test_a_worker_that_gave_a_lane_back_is_not_sending(gated: Bench) -> None:
    gated.offer(item("r1"))
    (held,) = gated.held()
    gated.begin([held])
    gated.ledger.release([held.lease])
    gated.sign(consent("no", 2))
    assert gated.ledger.effect() == [PATIENT]


def test_every_claim_makes_effective_what_can_be(gated: Bench) -> None:
    gated.offer(item("r1"))
    gated.sign(consent("no", 2))
    assert gated.ledger.claim("elsewhere", "w9", gate=gated.gate, timeout=TIMEOUT) == []
    assert effective(gated)


def test_what_is_blocked_is_free_at_every_site_when_other_consents_are_effective(gated: Bench) -> None:
    gated.sign(consent("no", 2))
    gated.offer(item("r1"))
    gated.ledger.enqueue([item("r1")], site="south", run="run-1")
    assert not gated.claim()
    assert not gated.ledger.claim("south", "w1", gate=gated.gate, timeout=TIMEOUT)
    gated.sign(consent("yes", 3))
    assert gated.ledger.effect() == [PATIENT]
    assert [one.state for one in gated.ledger.find(Where())] == [State.QUEUED] * 2


# What follows.


def test_what_follows_is_asked_for_where_something_was_handed_out(gated: Bench) -> None:
    gated.offer(item("r1"), item("s1", lane="patient-2"))
    gated.ledger.enqueue([item("r1")], site="south", run="run-1")
    gated.send(State.ACKED)
    gated.sign(consent("no", 2), consent("yes", patient="patient-2"))
    assert gated.ledger.to_follow(SITE) == []
    gated.ledger.effect()
    assert gated.ledger.to_follow(SITE) == [(PATIENT, 2)]
    assert gated.ledger.to_follow("south") == []


def test_what_follows_is_queued_and_written_down_together(gated: Bench) -> None:
    gated.offer(item("r1", subject="what it is about"))
    gated.send(State.ACKED)
    gated.sign(consent("no", 2))
    gated.ledger.effect()
    (there,) = gated.ledger.of_patient(SITE, PATIENT)
    assert (there.record, there.server, there.subject) == ("r1", Server.PRESENT, "what it is about")
    (answer,) = gated.ledger.follow(SITE, PATIENT, 2, [RETRACTION], run="withdrawal") or []
    assert answer.decision == "queued"
    assert gated.ledger.to_follow(SITE) == []
    assert gated.ledger.follow(SITE, PATIENT, 2, [RETRACTION], run="withdrawal") is None
    # It goes, though nothing else of the patient may.
    gated.offer(item("r2"))
    assert [(one.record, one.action) for one in gated.held()] == [("r1", "retract")]


def test_nothing_follows_from_consents_that_changed_again(gated: Bench) -> None:
    gated.offer(item("r1"))
    gated.send(State.ACKED)
    gated.sign(consent("no", 2))
    gated.ledger.effect()
    gated.sign(consent("yes", 3))
    assert gated.ledger.to_follow(SITE) == []
    assert gated.ledger.follow(SITE, PATIENT, 2, [RETRACTION], run="w") is None
    assert [one.state for one in gated.rows()] == [State.ACKED]
    gated.ledger.effect()
    assert gated.ledger.to_follow(SITE) == [(PATIENT, 3)]
    assert gated.ledger.follow(SITE, PATIENT, 3, [], run="w") == []


def test_what_was_adopted_from_a_site_has_to_be_looked_at(gated: Bench) -> None:
    there = Adopted(
        "session", "r9", "primary", 0, 1, "Procedure", "f-r9", PATIENT, "content", "1.0", Server.PRESENT, "7"
    )
    gated.ledger.adopt([there], site=SITE, run="run-1")
    assert gated.ledger.to_follow(SITE) == [(PATIENT, 1)]


def test_a_reopened_ledger_goes_on_where_it_was(gated: Bench, ready: str) -> None:
    gated.offer(item("r1"))
    (held,) = gated.held()
    gated.begin([held])
    gated.sign(consent("no", 2))
    with Ledger.open(ready, vault=VAULT, clock=gated.clock) as other:
        assert other.effect() == []
        gated.clock.now += TIMEOUT
        assert other.effect() == [PATIENT]
