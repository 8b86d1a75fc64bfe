"""Who holds which lane, in which order things go, and that a worker whose lease is over changes nothing."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from fhirbridge.errors import LeaseLost, LedgerError
from fhirbridge.ledger import Ledger, Outgoing, Rescued, Result, State, Where
from fhirbridge.ledger.gate import EVERYTHING
from tests.ledger.bench import SITE, TIMEOUT, VAULT, Bench, item


def test_a_lane_goes_in_the_order_of_events_whatever_came_first(bench: Bench) -> None:
    bench.offer(item("late", event=30.0), item("early", event=10.0))
    bench.offer(item("middle", event=20.0), item("tie-1", event=25.0), item("tie-2", event=25.0))
    assert [one.record for one in bench.held()] == ["early", "middle", "tie-1", "tie-2", "late"]


def test_what_waits_holds_up_its_own_lane_only(bench: Bench) -> None:
    bench.offer(item("a1", event=1.0), item("a2", event=2.0), item("b1", lane="patient-2"))
    held = {one.record: one for one in bench.held()}
    bundle = bench.begin([held["a1"]])
    bench.settle([held["a1"]], State.QUEUED, bundle, reason="429", next_at=bench.clock.now + 60)
    bench.ledger.release([held["a2"].lease, held["b1"].lease])
    assert [one.record for one in bench.held()] == ["b1"]
    assert bench.ledger.next_due(SITE) == bench.clock.now + 60
    bench.clock.now += 60
    assert [one.record for one in bench.held()] == ["a1", "a2"]


def test_lanes_with_an_adverse_event_go_first_and_their_order_stays(bench: Bench) -> None:
    for number in range(3):
        bench.offer(item(f"r{number}", lane=f"patient-{number}"))
        bench.clock.now += 1
    bench.offer(item("session", lane="patient-3", event=1.0), item("adverse", lane="patient-3", event=2.0, urgent=True))
    (claim,) = bench.claim(lanes=1)
    assert [one.record for one in claim.deliveries] == ["session", "adverse"]
    assert [one.deliveries[0].record for one in bench.claim()] == ["r0", "r1", "r2"]


def test_a_claim_is_shared_fairly_and_parts_no_record(bench: Bench) -> None:
    long = [item(f"r{n}", role=role, event=float(n)) for n in range(20) for role in ("primary", "one", "two")]
    bench.offer(*long, *[item(f"s{n}", lane="patient-2", event=float(n)) for n in range(20)])
    claims = bench.claim(limit=20)
    assert len(claims) == 2
    for claim in claims:
        assert 8 <= len(claim.deliveries) <= 12
        parts = Counter(one.record for one in claim.deliveries)
        assert set(parts.values()) == ({3} if claim.lease.key == "patient-1" else {1})


def test_a_record_with_more_resources_than_a_claim_is_handed_out_whole(bench: Bench) -> None:
    bench.offer(*[item(role=f"part-{n}") for n in range(40)], *[item(f"s{n}", event=1.0 + n) for n in range(99)])
    assert Counter(one.record for one in bench.held(limit=7))["r1"] == 40


def test_a_lane_that_had_its_turn_goes_behind_those_that_wait(bench: Bench) -> None:
    bench.offer(*[item(f"r{n}", event=float(n)) for n in range(9)])
    bench.clock.now += 1
    bench.offer(item("other", lane="patient-2"))
    (first,) = bench.claim(lanes=1, limit=3)
    assert first.lease.key == "patient-1"
    bench.clock.now += 1
    bundle = bench.begin(first.deliveries)
    bench.settle(first.deliveries, State.ACKED, bundle)
    assert [one.lease.key for one in bench.claim(lanes=1)] == ["patient-2"]


def test_nothing_passes_a_doubt(bench: Bench) -> None:
    bench.offer(item("r1", event=1.0), item("r2", event=2.0))
    held = bench.held()
    bundle = bench.begin(held[:1])
    bench.settle(held[:1], State.UNKNOWN, bundle, next_at=bench.clock.now + 60)
    bench.ledger.release([held[1].lease])
    assert not bench.claim()
    bench.clock.now += 60
    (doubt,) = bench.held()
    assert (doubt.record, doubt.state, doubt.bundle) == ("r1", State.UNKNOWN, bundle)
    bench.settle([doubt], State.UNKNOWN, next_at=bench.clock.now + 60)
    bench.clock.now += 60
    (doubt,) = bench.held()
    assert doubt.looks == 1
    bench.settle([doubt], State.QUEUED)
    assert [one.record for one in bench.held()] == ["r1", "r2"]


def test_a_lease_that_ran_out_is_taken_back_by_the_next_claim(bench: Bench) -> None:
    bench.offer(item("r1", event=1.0), item("r2", event=2.0), item("other", lane="patient-2"))
    first = bench.claim(lease=60.0)
    gone = next(claim for claim in first if claim.lease.key == "patient-1").deliveries
    bundle = bench.begin(gone[:1])
    assert not bench.claim("w2")
    bench.clock.now += 61
    second = bench.claim("w2")
    assert {one.record: one.state for claim in second for one in claim.deliveries} == {
        "r1": State.UNKNOWN,
        "other": State.CLAIMED,
    }
    # The first worker wakes up.
    with pytest.raises(LeaseLost) as lost:
        bench.settle(gone[:1], State.ACKED, bundle)
    assert lost.value.lanes == {gone[0].lease.lane}
    with pytest.raises(LeaseLost):
        bench.begin(gone[1:])
    with pytest.raises(LeaseLost):
        bench.ledger.renew([claim.lease for claim in first], 60.0)
    assert bench.ledger.release([claim.lease for claim in first]) == Rescued()
    assert {one.record: one.state for one in bench.ledger.find(Where(site=SITE))} == {
        "r1": State.UNKNOWN,
        "r2": State.QUEUED,
        "other": State.CLAIMED,
    }


def test_one_lost_lease_among_several_leaves_everything_as_it_was(bench: Bench) -> None:
    bench.offer(item("r1"))
    mine = bench.held(lease=60.0)
    bench.clock.now += 30
    bench.offer(item("r2", lane="patient-2"))
    mine += bench.held(lease=60.0)
    bundles = [bench.begin([one]) for one in mine]
    bench.clock.now += 31
    assert bench.ledger.rescue(SITE) == Rescued(lanes=1, unknown=1)
    results = [Result(one, State.ACKED, bundle) for one, bundle in zip(mine, bundles, strict=True)]
    with pytest.raises(LeaseLost) as lost:
        bench.ledger.settle(results)
    assert [one.state for one in bench.ledger.find(Where(site=SITE))] == [State.UNKNOWN, State.IN_FLIGHT]
    bench.ledger.settle([one for one in results if one.delivery.lease.lane not in lost.value.lanes])
    assert [one.state for one in bench.ledger.find(Where(site=SITE))] == [State.UNKNOWN, State.ACKED]


def test_past_its_end_a_lease_begins_nothing_but_still_tells_what_became_of_what_was_begun(bench: Bench) -> None:
    bench.offer(item("r1"), item("r2"))
    held = bench.held(lease=60.0)
    bundle = bench.begin(held[:1])
    bench.clock.now += 3_600
    with pytest.raises(LeaseLost):
        bench.begin(held[1:])
    bench.settle(held[:1], State.ACKED, bundle)
    assert bench.state(held[0].id) is State.ACKED


def test_a_renewed_lease_holds(bench: Bench) -> None:
    bench.offer(item())
    (held,) = bench.held(lease=60.0)
    bench.clock.now += 50
    (longer,) = bench.ledger.renew([held.lease], 60.0)
    assert longer.until == bench.clock.now + 60
    bench.clock.now += 50
    assert bench.ledger.rescue(SITE) == Rescued()
    bench.begin([held])


def test_a_bundle_holds_one_patient_and_its_id_is_used_once(bench: Bench) -> None:
    bench.offer(item("r1"), item("r2", lane="patient-2"), item("r3", lane="patient-2", event=1.0))
    held = {one.record: one for one in bench.held()}
    with pytest.raises(LedgerError) as refused:
        bench.begin(list(held.values()))
    assert refused.value.code == "ledger.bundle"
    bench.ledger.begin([Outgoing("b", [held["r1"]], "digest")])
    with pytest.raises(LedgerError):
        bench.ledger.begin([Outgoing("b", [held["r2"]], "digest")])
    with pytest.raises(LedgerError):
        bench.begin([held["r1"]])
    assert bench.state(held["r2"].id) is State.CLAIMED


def test_the_bundle_and_its_members_are_there_before_anything_leaves(bench: Bench, ready: str) -> None:
    bench.offer(item("r1"), item("r2"))
    bundle = bench.begin(bench.held())
    with Ledger.open(ready, vault=VAULT) as other:
        rows = other.find(Where(site=SITE))
    assert {(one.state, one.bundle, one.attempts) for one in rows} == {(State.IN_FLIGHT, bundle, 1)}


def test_workers_in_threads_never_hold_one_lane_together(ready: str, bench: Bench) -> None:
    lanes, rounds = 12, 10
    bench.offer(
        *[item(f"r{lane}-{n}", lane=f"patient-{lane}", event=float(n)) for lane in range(lanes) for n in range(rounds)]
    )
    busy: set[int] = set()
    guard = threading.Lock()
    troubles: list[object] = []
    sent: dict[str, list[str]] = {}

    def work(worker: str) -> None:
        try:
            # At most two of a lane at a time, so that lanes change hands often.
            while claims := bench.ledger.claim(SITE, worker, gate=EVERYTHING, timeout=TIMEOUT, lanes=3, limit=6):
                mine = {claim.lease.lane for claim in claims}
                with guard:
                    if mine & busy:
                        troubles.append(mine & busy)
                    busy.update(mine)
                bundles = [
                    Outgoing(f"{worker}-{claim.deliveries[0].id}", claim.deliveries, "digest") for claim in claims
                ]
                bench.ledger.begin(bundles)
                with guard:
                    for claim in claims:
                        sent.setdefault(claim.lease.key, []).extend(one.record for one in claim.deliveries)
                    busy.difference_update(mine)
                bench.ledger.settle([Result(one, State.ACKED, each.id) for each in bundles for one in each.deliveries])
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in a thread is to fail the test
            troubles.append(error)

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not troubles
    # A worker may find every lane held by others and stop; what is left goes on.
    work("last")
    assert sent == {f"patient-{lane}": [f"r{lane}-{n}" for n in range(rounds)] for lane in range(lanes)}
