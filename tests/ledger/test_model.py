"""Any sequence of calls, against a model in plain dictionaries: nothing is lost, inverted, or comes back.

Nor does anything begin that the patient's consents forbid.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from fhirbridge.errors import ConsentChanged, LeaseLost
from fhirbridge.ledger import Action, Decision, Delivery, Ledger, Outgoing, Result, State, Where
from tests.ledger.bench import TIMEOUT, VAULT, Clock, item
from tests.ledger.gates import Signed, consent

_SITES = itertools.count()
RECORDS = [f"r{n}" for n in range(5)]
# Two patients: records of one wait for each other, those of the other do not.
LANES = {record: number % 2 for number, record in enumerate(RECORDS)}
ENDS = [State.ACKED, State.UNKNOWN, State.REJECTED, State.PARKED, State.QUEUED]


@dataclass
class Record:
    """What should be true of one record: what was asked for last, and every revision that left, in order."""

    wanted: int | None = None
    withdrawn: bool = False
    left: list[tuple[int, Action]] = field(default_factory=list)
    acked: list[tuple[int, Action]] = field(default_factory=list)


@dataclass
class Hand:
    """A delivery in a worker's hands."""

    delivery: Delivery
    bundle: str | None = None


class Model(RuleBasedStateMachine):
    """Calls in any order, by two workers on one clock."""

    ledger: Ledger
    clock: Clock

    def __init__(self) -> None:
        super().__init__()
        self.site = f"site-{next(_SITES)}"
        self.records = {name: Record() for name in RECORDS}
        self.hands: dict[int, Hand] = {}
        self.bundles = itertools.count()
        self.gate = Signed()
        self.patients = [f"{self.site}-patient-{number}" for number in range(2)]
        self.said: list[list[str]] = [[], []]
        for patient in range(2):
            self.sign(patient, "yes")

    def lane(self, name: str) -> str:
        return self.patients[LANES[name]]

    def changed(self, one: Delivery) -> bool:
        """Whether the consents are others than those by which it was handed out."""
        return one.lease.consents != len(self.said[LANES[one.record]])

    @rule(patient=st.integers(0, 1), said=st.sampled_from(["yes", "no"]))
    def sign(self, patient: int, said: str) -> None:
        self.said[patient].append(said)
        revision = len(self.said[patient])
        self.ledger.keep_evidence([consent(said, revision, patient=self.patients[patient])])

    @rule()
    def effect(self) -> None:
        self.ledger.effect()

    @rule(name=st.sampled_from(RECORDS), revision=st.integers(1, 6))
    def enqueue(self, name: str, revision: int) -> None:
        record = self.records[name]
        (answer,) = self.ledger.enqueue([item(name, revision, lane=self.lane(name))], site=self.site, run="run")
        if record.withdrawn:
            expected = Decision.RETRACTED
        elif record.wanted is None or revision > record.wanted:
            expected, record.wanted = Decision.QUEUED, revision
        else:
            expected = Decision.OUTDATED if revision < record.wanted else Decision.UNCHANGED
        assert answer.decision is expected

    @rule(name=st.sampled_from(RECORDS))
    def retract(self, name: str) -> None:
        record = self.records[name]
        if record.wanted is None:
            return
        tombstone = item(name, record.wanted, "a tombstone", lane=self.lane(name), action=Action.RETRACT)
        (answer,) = self.ledger.enqueue([tombstone], site=self.site, run="run")
        assert answer.decision is (Decision.UNCHANGED if record.withdrawn else Decision.QUEUED)
        record.withdrawn = True

    @rule(worker=st.sampled_from(["w1", "w2"]), lanes=st.integers(1, 2), limit=st.integers(1, 8))
    def claim(self, worker: str, lanes: int, limit: int) -> None:
        for claim in self.ledger.claim(
            self.site, worker, gate=self.gate, timeout=TIMEOUT, lanes=lanes, limit=limit, lease=60.0
        ):
            fresh = {one.id: Hand(one) for one in claim.deliveries}
            assert fresh
            # The lane was free: whoever still believes to hold something of it has lost it.
            self.hands = {
                number: hand for number, hand in self.hands.items() if hand.delivery.lease.lane != claim.lease.lane
            } | fresh

    @precondition(lambda self: self.hands)
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(sorted(self.hands)))
        hand = self.hands[chosen]
        if hand.bundle is not None or hand.delivery.state is State.UNKNOWN:
            return
        bundle = f"{self.site}-{next(self.bundles)}"
        try:
            self.ledger.begin([Outgoing(bundle, [hand.delivery], "digest")])
        except LeaseLost:
            assert self.clock.now > hand.delivery.lease.until or self.changed(hand.delivery)
            return
        except ConsentChanged:
            assert self.changed(hand.delivery)
            return
        hand.bundle = bundle
        one = hand.delivery
        assert not self.changed(one)
        assert one.action is Action.RETRACT or self.said[LANES[one.record]][-1] == "yes"
        record = self.records[one.record]
        revision = int(one.revision)
        if record.left:
            assert (revision, one.action == Action.RETRACT) >= (
                record.left[-1][0],
                record.left[-1][1] == Action.RETRACT,
            )
        record.left.append((revision, one.action))

    @precondition(lambda self: self.hands)
    @rule(data=st.data(), to=st.sampled_from(ENDS), wait=st.sampled_from([None, 30.0]))
    def settle(self, data: st.DataObject, to: State, wait: float | None) -> None:
        chosen = data.draw(st.sampled_from(sorted(self.hands)))
        hand = self.hands[chosen]
        if to is State.REJECTED and hand.bundle is None:
            return
        if to is State.UNKNOWN and hand.bundle is None and hand.delivery.state is not State.UNKNOWN:
            return
        due = None if wait is None else self.clock.now + wait
        try:
            self.ledger.settle([Result(hand.delivery, to, hand.bundle, next_at=due)])
        except LeaseLost:
            assert self.clock.now > hand.delivery.lease.until or self.changed(hand.delivery)
        else:
            if to is State.ACKED:
                self.records[hand.delivery.record].acked.append((int(hand.delivery.revision), hand.delivery.action))
        del self.hands[chosen]

    @rule(seconds=st.sampled_from([1.0, 31.0, 61.0]))
    def time_goes_by(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def rescue(self) -> None:
        self.ledger.rescue(self.site)

    @rule()
    def replay(self) -> None:
        self.ledger.replay(Where(site=self.site))

    @invariant()
    def what_was_asked_for_last_is_there_and_nothing_else_waits(self) -> None:
        rows = self.ledger.find(Where(site=self.site))
        for name, record in self.records.items():
            mine = [one for one in rows if one.record == name]
            if record.wanted is None:
                assert not mine
                continue
            newest = mine[-1]
            assert int(newest.revision) == record.wanted
            assert (newest.action is Action.RETRACT) == record.withdrawn
            assert newest.state not in (State.SUPERSEDED, State.RETRACTED)
            waiting = [one for one in mine if one.state is State.QUEUED]
            assert waiting in ([], [newest])
            under_way = [one for one in mine if one.state in (State.CLAIMED, State.IN_FLIGHT, State.UNKNOWN)]
            assert len(under_way) <= 1
            for one in mine[:-1]:
                assert one.state in (
                    State.ACKED, State.SUPERSEDED, State.RETRACTED, State.CLAIMED, State.IN_FLIGHT, State.UNKNOWN,
                    State.PARKED, State.REJECTED,
                )  # fmt: skip

    @invariant()
    def what_was_acknowledged_never_goes_backwards(self) -> None:
        for record in self.records.values():
            order = [(revision, action is Action.RETRACT) for revision, action in record.acked]
            assert order == sorted(order)

    def teardown(self) -> None:
        """Let everything go through: what was asked for last arrives, for every record."""
        for patient in range(2):
            self.sign(patient, "yes")
        for _ in range(200):
            self.clock.now += 120.0
            self.ledger.replay(Where(site=self.site))
            claims = self.ledger.claim(self.site, "last", gate=self.gate, timeout=TIMEOUT)
            if not claims and self.ledger.next_due(self.site) is None:
                break
            for one in (one for claim in claims for one in claim.deliveries):
                if one.state is State.UNKNOWN:
                    self.ledger.settle([Result(one, State.QUEUED)])
                else:
                    bundle = f"{self.site}-{next(self.bundles)}"
                    self.ledger.begin([Outgoing(bundle, [one], "digest")])
                    self.ledger.settle([Result(one, State.ACKED, bundle)])
        for known in self.ledger.known(self.site, [("session", name) for name in RECORDS]):
            record = self.records[known.record]
            assert known.state is State.ACKED
            assert known.acked_revision == str(record.wanted)
            assert known.withdrawn is record.withdrawn


def test_any_sequence_of_calls_keeps_order_and_loses_nothing(ready: str) -> None:
    clock = Clock()
    with Ledger.open(ready, vault=VAULT, clock=clock) as opened:

        class OnStore(Model):
            ledger = opened

        OnStore.clock = clock
        run_state_machine_as_test(OnStore, settings=settings(stateful_step_count=30))  # type: ignore[no-untyped-call]
