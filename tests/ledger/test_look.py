"""What the ledger tells: the story of a record, how things stand, what is kept, and what mending does."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from fhirbridge.ledger import Server, State, Where
from tests.ledger.bench import BODY, SITE, Bench, item


def test_the_story_of_a_record_is_told_in_order_though_the_clock_stands_still_or_jumps(bench: Bench) -> None:
    bench.offer(item())
    bench.send(State.QUEUED, reason="429")
    bench.clock.now -= 3_600
    held = bench.held()
    assert not held
    bench.clock.now += 3_600
    held = bench.held(lease=60.0)
    bench.begin(held)
    bench.clock.now += 3_600
    (doubt,) = bench.held("w2")
    bench.settle([doubt], State.PARKED, reason="conflict", server=Server.CONFLICT)
    bench.ledger.replay(Where(site=SITE))
    bench.send(State.ACKED, worker="w3")
    (known,) = bench.ledger.known(SITE, [("session", "r1")])
    bench.ledger.learn(known.resource, server=Server.GONE, reason="verify")
    story = bench.ledger.history(SITE, "session", "r1")
    assert [(one.event, one.reason, one.worker, one.attempt) for one in story] == [
        ("enqueue", "", "", None),
        ("begin", "", "w1", 1),
        ("again", "429", "w1", 1),
        ("begin", "", "w1", 2),
        ("lose", "lease-over", "w1", 2),
        ("give-up", "conflict", "w1", 2),
        ("replay", "", "", None),
        ("begin", "", "w3", 1),
        ("ack", "an outcome", "w3", 1),
        ("learn", "gone: verify", "", None),
    ]
    assert story[8].version == "1"


def test_how_things_stand(bench: Bench) -> None:
    bench.offer(item("r1"), item("r2", lane="patient-2"), item("r3", lane="patient-3"))
    bench.clock.now = 2_000.0
    bench.offer(item("adverse", kind="adverse_event", lane="patient-4", urgent=True), run="run-2")
    bench.clock.now = 3_000.0
    claims = {claim.lease.key: claim for claim in bench.claim()}
    for key, end in (("patient-1", State.ACKED), ("patient-4", State.REJECTED)):
        bench.settle(claims[key].deliveries, end, bench.begin(claims[key].deliveries))
    bench.ledger.release([claims["patient-2"].lease])
    standing = bench.ledger.standing(SITE)
    assert standing.counts == {
        (SITE, "session", State.ACKED): 1,
        (SITE, "session", State.QUEUED): 1,
        (SITE, "session", State.CLAIMED): 1,
        (SITE, "adverse_event", State.REJECTED): 1,
    }
    # An adverse event that was rejected has not arrived.
    assert (standing.oldest_unsent, standing.oldest_urgent) == (1_000.0, 2_000.0)
    assert (standing.leased, standing.waiting) == (1, 1)
    assert bench.ledger.standing("elsewhere").counts == {}
    assert bench.ledger.of_run("run-2") == {State.REJECTED: 1}
    assert [one.record for one in bench.ledger.failed(SITE)] == ["adverse"]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        (Where(), {"r1", "r2", "r_"}),
        (Where(record="r1"), {"r1"}),
        (Where(kind="other"), set()),
        (Where(run="run-2"), {"r_"}),
        (Where(reason="site.4"), {"r1", "r2"}),
        (Where(reason="site_4"), set()),
        (Where(states=(State.PARKED,), resource_type="Procedure", role="primary"), {"r1", "r2"}),
        (Where(site="elsewhere"), set()),
        (Where(since=1_500.0), {"r_"}),
        (Where(until=1_500.0), {"r1", "r2"}),
    ],
)
def test_deliveries_are_found_by_everything_that_is_given(bench: Bench, where: Where, found: set[str]) -> None:
    bench.offer(item("r1"), item("r2"))
    bench.send(State.PARKED, reason="site.422")
    bench.clock.now = 2_000.0
    bench.offer(item("r_"), run="run-2")
    assert {one.record for one in bench.ledger.find(where)} == found


def test_what_is_known_is_found_by_record_by_address_and_page_by_page(bench: Bench) -> None:
    bench.offer(*[item(f"r{n}", role=role) for n in range(5) for role in ("primary", "o2-flow")])
    bench.send(State.ACKED)
    (at,) = bench.ledger.at_address(SITE, [("Procedure", "f-r3-o2-flow-0"), ("Procedure", "f-nobody")])
    assert (at.record, at.role, at.server, at.acked_content) == ("r3", "o2-flow", Server.PRESENT, "content of 1")
    every = list(bench.ledger.each_known(SITE, page=3))
    assert len(every) == 10
    pairs = [("session", f"r{n}") for n in range(5)]
    assert {one.resource for one in bench.ledger.known(SITE, pairs)} == {one.resource for one in every}


def test_replay_sends_again_only_what_is_still_wanted(bench: Bench) -> None:
    bench.offer(item("r1"), item("r2"))
    bench.send(State.PARKED)
    bench.offer(item("r2", 2))
    bench.send(State.ACKED)
    assert bench.ledger.replay(Where(site=SITE)) == 1
    (again,) = bench.held()
    assert (again.record, again.attempts, again.body) == ("r1", 0, BODY)


def test_what_the_site_lost_is_sent_once_more(bench: Bench) -> None:
    bench.offer(item("r1"), item("r2"))
    bench.send(State.ACKED)
    bench.retract("r2")
    known = {one.record: one.resource for one in bench.ledger.known(SITE, [("session", "r1"), ("session", "r2")])}
    assert bench.ledger.resend(known.values(), run="repair") == 1
    assert bench.ledger.resend(known.values(), run="repair") == 0
    held = {one.record: one for one in bench.held()}
    assert (held["r1"].run, held["r1"].body, held["r1"].content) == ("repair", BODY, "content of 1")


def test_bodies_are_kept_as_long_as_anything_needs_them(bench: Bench) -> None:
    bench.offer(item("r1", body=b"one"))
    (old,) = bench.send(State.ACKED)
    bench.offer(item("r1", 2, body=b"two"))
    (new,) = bench.send(State.ACKED)
    assert bench.ledger.bodies([old.id, new.id]) == {old.id: b"one", new.id: b"two"}
    assert bench.ledger.purge(bench.clock.now).bodies == 0
    assert bench.ledger.purge(bench.clock.now + 1).bodies == 1
    assert bench.ledger.bodies([old.id, new.id]) == {new.id: b"two"}


def test_proofs_limits_and_marks_are_kept_by_site_and_source(bench: Bench) -> None:
    ledger = bench.ledger
    assert ledger.proof(SITE) is None
    ledger.keep_proof(SITE, "{}")
    bench.clock.now += 5
    ledger.keep_proof(SITE, '{"transaction": true}')
    proof = ledger.proof(SITE)
    assert proof is not None
    assert (proof.text, proof.at) == ('{"transaction": true}', bench.clock.now)
    assert [ledger.learn_limit(SITE, "entries", value) for value in (500, 160, 250)] == [500, 160, 160]
    assert (ledger.limits(SITE), ledger.limits("elsewhere")) == ({"entries": 160}, {})
    ledger.forget_limits(SITE)
    assert ledger.limits(SITE) == {}
    assert ledger.mark("visits.csv") is None
    ledger.set_mark("visits.csv", "17")
    bench.offer(item(), marks={"visits.csv": "18"})
    assert ledger.mark("visits.csv") == "18"


def test_the_way_to_what_is_due_is_an_index_and_not_the_table(bench: Bench, store: str) -> None:
    """However many deliveries have arrived, the next claim does not walk through them."""
    if store != "sqlite":
        pytest.skip("PostgreSQL plans by how much there is")
    bench.offer(item())
    asked: list[tuple[str, Any]] = []
    engine = bench.ledger._store.engine

    @sa.event.listens_for(engine, "before_cursor_execute")
    def heard(connection: object, cursor: object, statement: str, values: Any, context: object, many: bool) -> None:
        if statement.startswith(("SELECT", "UPDATE")):
            asked.append((statement, values[0] if many else values))

    bench.send(State.ACKED)
    sa.event.remove(engine, "before_cursor_execute", heard)
    assert len(asked) > 10
    with bench.ledger._store.read() as connection:
        for statement, values in asked:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
            # This index holds the patients alone of whom a change of consents is not effective yet.
            plan = [step for step in plan if not step.endswith("USING INDEX fhirbridge_patient_requested")]
            assert not [step for step in plan if step.startswith("SCAN") and "fhirbridge_" in step], statement
