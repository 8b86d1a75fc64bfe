"""Every row of the table of transitions happens, through the ledger's own calls, and no other move does."""

from __future__ import annotations

import itertools

import pytest

from fhirbridge.errors import LedgerError
from fhirbridge.ledger import Adopted, Server, State, Where
from fhirbridge.ledger.states import FAILED, TRANSITIONS, Transition, after
from tests.ledger.bench import SITE, Bench, item
from tests.ledger.gates import Signed, consent

# What a worker has to report for an event to happen.
REPORTS = {
    "ack": State.ACKED,
    "adopt": State.ACKED,
    "confirm": State.ACKED,
    "doubt": State.UNKNOWN,
    "look": State.UNKNOWN,
    "reject": State.REJECTED,
    "park": State.PARKED,
    "hold": State.PARKED,
    "give-up": State.PARKED,
    "again": State.QUEUED,
    "defer": State.QUEUED,
    "resend": State.QUEUED,
}
HELD = (State.CLAIMED, State.IN_FLIGHT, State.UNKNOWN)
WALKED = [one for one in TRANSITIONS if one.before is not None]


def happens(bench: Bench, row: Transition) -> int:
    """Make the event of ``row`` happen to a delivery in its state before; the number of the delivery."""
    assert row.before is not None
    one = bench.bring_to(row.before)
    if row.event == "claim":
        bench.claim()
    elif row.event == "block":
        bench.gate = Signed()
        bench.claim()
    elif row.event == "unblock":
        bench.sign(consent("yes"))
        assert bench.ledger.effect()
    elif row.event == "begin":
        assert one.held is not None
        bench.begin([one.held])
    elif row.event in ("release", "lose"):
        assert one.held is not None
        bench.ledger.release([one.held.lease])
    elif row.event == "replay":
        assert bench.ledger.replay(Where(ids=(one.id,))) == 1
    elif row.event in ("supersede", "withdraw"):
        bench.offer(item(revision=2)) if row.event == "supersede" else bench.retract()
        if row.before in HELD:
            bench.report(one, State.QUEUED)
    else:
        bench.report(one, REPORTS[row.event])
    return one.id


@pytest.mark.parametrize("row", WALKED, ids=lambda row: f"{row.event}-{row.before}")
def test_each_move_of_the_table_happens_and_is_told(bench: Bench, row: Transition) -> None:
    number = happens(bench, row)
    assert bench.state(number) is row.after
    told = [one for one in bench.ledger.history(SITE, "session", "r1") if one.delivery == number]
    if row.event != "claim":
        assert (told[-1].event, told[-1].before, told[-1].after) == (row.event, row.before, row.after)


def test_a_delivery_is_made_in_the_three_ways_of_the_table(bench: Bench) -> None:
    bench.offer(item("r1"), item("r2", 1), item("r2", 2))
    adopted = Adopted(
        "session", "r3", "primary", 0, 1, "Procedure", "f-r3", "patient-1", "content", "1.0", Server.PRESENT, "7"
    )
    assert bench.ledger.adopt([adopted], site=SITE, run="run-1") == 1
    made = {record: bench.ledger.history(SITE, "session", record)[0] for record in ("r1", "r2", "r3")}
    assert {(one.event, one.before, one.after) for one in made.values()} == {
        (one.event, one.before, one.after) for one in TRANSITIONS if one.before is None
    }


@pytest.mark.parametrize(
    ("before", "to"),
    [
        (before, to)
        for before, to in itertools.product(HELD, State)
        if not any(one.before is before and one.after is to and one.event in REPORTS for one in TRANSITIONS)
    ],
)
def test_a_worker_can_report_no_other_move(bench: Bench, before: State, to: State) -> None:
    one = bench.bring_to(before)
    with pytest.raises(LedgerError) as refused:
        bench.report(one, to)
    assert refused.value.code == "ledger.transition"
    assert bench.state(one.id) is before


@pytest.mark.parametrize(
    "before", sorted(set(State) - {State.QUEUED, State.BLOCKED, State.SUPERSEDED, State.RETRACTED, *HELD})
)
def test_what_is_settled_is_neither_handed_out_nor_settled_again(bench: Bench, before: State) -> None:
    bench.offer(item())
    (held,) = bench.held()
    bundle = bench.begin([held])
    bench.settle([held], before, bundle)
    assert not bench.claim()
    assert bench.ledger.replay(Where()) == (before in FAILED)
    if before in FAILED:
        bench.claim()
    for to in State:
        with pytest.raises(LedgerError):
            bench.settle([held], to, bundle)
    assert bench.rows()[0].state is (State.CLAIMED if before in FAILED else before)


def test_the_table_has_no_row_for_any_other_event() -> None:
    there = {(one.event, one.before) for one in TRANSITIONS}
    assert len(there) == len(TRANSITIONS)
    for event, before in itertools.product({one.event for one in TRANSITIONS}, (None, *State)):
        if (event, before) not in there:
            with pytest.raises(LedgerError):
                after(event, before)
