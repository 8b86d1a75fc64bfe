"""Shorthands for the tests of the ledger: items, a clock that is set by hand, and the way to each state."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fhirbridge.ledger import (
    Action,
    Claim,
    Delivery,
    Ended,
    Enqueued,
    Evidence,
    Gate,
    Item,
    Ledger,
    Outgoing,
    Result,
    Row,
    State,
    Where,
)
from fhirbridge.ledger.gate import EVERYTHING
from tests.ledger.gates import Signed
from tests.vault.vaults import vault_of

SITE = "north"
ID_KEY = b"the id key of a test, no secret"
VAULT = vault_of(ID_KEY)
# Seconds that a request may last.
TIMEOUT = 30.0
BODY = b'{"resourceType":"Procedure","note":[{"text":"SECRET"}]}'


@dataclass
class Clock:
    """Epoch seconds, as somebody set them."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


def item(record: str = "r1", revision: int | str = 1, content: str | None = None, **other: Any) -> Item:
    """An item with all that does not matter filled in; its content follows from its revision."""
    values: dict[str, Any] = {
        "kind": "session",
        "record": record,
        "role": "primary",
        "revision": revision,
        "resource_type": "Procedure",
        "lane": "patient-1",
        "content": content or f"content of {revision}",
        "mapping": "1.0",
        "body": BODY,
    } | other
    values.setdefault("resource_id", f"f-{record}-{values['role']}-{values.get('generation', 0)}")
    return Item(**values)


@dataclass
class Bench:
    """A ledger, its clock, and a worker."""

    ledger: Ledger
    clock: Clock
    gate: Gate = EVERYTHING
    bundles: Any = field(default_factory=lambda: itertools.count(1))

    @classmethod
    def open(cls, url: str, clock: Clock, gate: Gate = EVERYTHING) -> Bench:
        return cls(Ledger.open(url, vault=VAULT, clock=clock, patience=5.0), clock, gate)

    def offer(self, *items: Item, run: str = "run-1", **other: Any) -> list[Enqueued]:
        return self.ledger.enqueue(items, site=SITE, run=run, **other)

    def retract(self, record: str = "r1", revision: int | str = 1, **other: Any) -> Enqueued:
        return self.offer(item(record, revision, "a tombstone", action=Action.RETRACT, **other))[0]

    def sign(self, *evidence: Evidence) -> list[str]:
        return self.ledger.keep_evidence(evidence)

    def claim(self, worker: str = "w1", **other: Any) -> list[Claim]:
        return self.ledger.claim(SITE, worker, **{"gate": self.gate, "timeout": TIMEOUT} | other)

    def held(self, worker: str = "w1", **other: Any) -> list[Delivery]:
        return [one for claim in self.claim(worker, **other) for one in claim.deliveries]

    def begin(self, deliveries: Sequence[Delivery]) -> str:
        """Begin one bundle; its id."""
        bundle = f"bundle-{id(self)}-{next(self.bundles)}"
        self.ledger.begin([Outgoing(bundle, deliveries, "digest")])
        return bundle

    def settle(self, deliveries: Sequence[Delivery], to: State, bundle: str | None = None, **other: Any) -> None:
        ended = [] if bundle is None else [Ended(bundle, "an outcome")]
        self.ledger.settle([Result(one, to, bundle, **other) for one in deliveries], ended=ended)

    def send(self, to: State, worker: str = "w1", **other: Any) -> list[Delivery]:
        """Claim, begin and settle all that is due, lane by lane."""
        sent: list[Delivery] = []
        for claim in self.claim(worker):
            fresh = [one for one in claim.deliveries if one.state is State.CLAIMED]
            if fresh:
                self.settle(fresh, to, self.begin(fresh), version="1", **other)
            sent.extend(fresh)
        return sent

    def rows(self, record: str = "r1") -> list[Row]:
        return self.ledger.find(Where(site=SITE, kind="session", record=record))

    def report(self, one: Brought, to: State, **other: Any) -> None:
        """Settle what a worker holds."""
        assert one.held is not None
        self.settle([one.held], to, one.bundle, **other)

    def state(self, number: int) -> State:
        (row,) = self.ledger.find(Where(ids=(number,)))
        return row.state

    def bring_to(self, state: State) -> Brought:
        """A delivery of record r1 in that state; in a worker's hands where a worker can have it."""
        self.offer(item())
        held, bundle = None, None
        if state is State.BLOCKED:
            self.gate = Signed()
            assert not self.held()
        elif state is not State.QUEUED:
            (held,) = self.held()
            if state is not State.CLAIMED:
                bundle = self.begin([held])
                if state is not State.IN_FLIGHT:
                    self.settle([held], state, bundle)
                    held, bundle = (self.held()[0] if state is State.UNKNOWN else None), None
        (row,) = self.rows()
        assert row.state is state
        return Brought(row.id, held, bundle)


@dataclass
class Brought:
    """Number, and what the worker holds of it: the delivery, and its bundle if it is under way."""

    id: int
    held: Delivery | None
    bundle: str | None
