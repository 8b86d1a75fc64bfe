"""What happened to a record, told from its deliveries, their bundles and the events off the happy path.

The happy path writes no events: that it was enqueued and acknowledged stands with the delivery, that it left, with the
bundle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from fhirbridge.ledger import moves
from fhirbridge.ledger.consents import Decided
from fhirbridge.ledger.schema import bundle, decision, delivery, event, resource
from fhirbridge.ledger.states import State
from fhirbridge.ledger.words import Entry

_OF_RECORD = (
    resource.c.site == bindparam("site"),
    resource.c.kind == bindparam("kind"),
    resource.c.record == bindparam("record"),
)
_DELIVERIES = (
    select(delivery, resource.c.role, resource.c.generation)
    .join(resource, resource.c.id == delivery.c.resource)
    .where(*_OF_RECORD)
    .order_by(delivery.c.id)
)
_EVENTS = (
    select(event, resource.c.role, resource.c.generation, resource.c.revision)
    .join(resource, resource.c.id == event.c.resource)
    .where(*_OF_RECORD)
    .order_by(event.c.id)
)
_DECISIONS = select(decision).where(decision.c.id.in_(bindparam("ids", expanding=True)))
_BUNDLES = select(bundle).where(bundle.c.id.in_(bindparam("ids", expanding=True)))
Bundles = Mapping[str, Row[Any]]


def history(connection: Connection, site: str, kind: str, record: str) -> list[Entry]:
    """Everything that ever happened to a record, in time order; no patient data is in it.

    What happened to one delivery keeps its order whatever the clock said.
    """
    which = {"site": site, "kind": kind, "record": record}
    deliveries = connection.execute(_DELIVERIES, which).all()
    events: dict[int | None, list[Row[Any]]] = {}
    for one in connection.execute(_EVENTS, which):
        events.setdefault(one.delivery, []).append(one)
    ids = {one.bundle for one in (*deliveries, *chain(*events.values())) if one.bundle is not None}
    bundles = {
        one.id: one for chunk in moves.chunks(sorted(ids)) for one in connection.execute(_BUNDLES, {"ids": chunk})
    }
    findings = [
        Entry(one.at, one.event, one.role, one.generation, one.revision, reason=one.reason)
        for one in events.get(None, ())
    ]
    stories = [list(_story(one, events.get(one.id, ()), bundles)) for one in deliveries]
    return list(merge(*stories, findings, key=lambda entry: entry.at))


def decisions(connection: Connection, site: str, kind: str, record: str) -> list[Decided]:
    """Each decision on each delivery of a record, the oldest first."""
    which = {"site": site, "kind": kind, "record": record}
    owners = {one.id: one for one in connection.execute(_DELIVERIES, which)}
    named = {(one.id, one.decision) for one in owners.values() if one.decision is not None}
    named |= {(one.delivery, one.decision) for one in connection.execute(_EVENTS, which) if one.decision is not None}
    numbers = sorted({number for _, number in named})
    kept = {one.id: one for chunk in moves.chunks(numbers) for one in connection.execute(_DECISIONS, {"ids": chunk})}
    return [_decided(owners[of], kept[number]) for number, of in sorted((number, of) for of, number in named)]


def _decided(owner: Row[Any], one: Row[Any]) -> Decided:
    return Decided(
        id=one.id,
        at=one.at,
        act=one.act,
        permit=one.effect == "permit",
        reason=one.reason,
        consents=one.consents,
        trail=one.trail,
        delivery=owner.id,
        role=owner.role,
        generation=owner.generation,
        revision=owner.revision,
        state=State(owner.state),
    )


def _story(owner: Row[Any], events: Sequence[Row[Any]], bundles: Bundles) -> Iterator[Entry]:
    """One delivery: made, sent as often as it was, and whatever came of it."""
    if not events or events[0].before is not None:
        yield _entry(owner, owner.enqueued_at, "enqueue", None, State.QUEUED)
    begun: set[str] = set()
    for one in events:
        yield from _begun(owner, one.bundle, bundles, begun)
        sent = bundles.get(one.bundle)
        version = owner.version if one.after == State.ACKED else None
        yield _entry(owner, one.at, one.event, one.before, one.after, one.reason, sent, version, one.decision)
    yield from _begun(owner, owner.bundle, bundles, begun)
    if owner.state == State.ACKED and not any(one.after == State.ACKED for one in events):
        sent = bundles.get(owner.bundle)
        reason = owner.reason or (sent.outcome if sent is not None and sent.outcome else "")
        yield _entry(owner, owner.settled_at, "ack", State.IN_FLIGHT, State.ACKED, reason, sent, owner.version)


def _begun(owner: Row[Any], number: str | None, bundles: Bundles, begun: set[str]) -> Iterator[Entry]:
    """That a bundle left, told before the first thing that came of it."""
    if number is not None and number in bundles and number not in begun:
        begun.add(number)
        sent = bundles[number]
        yield _entry(owner, sent.begun_at, "begin", State.CLAIMED, State.IN_FLIGHT, "", sent)


def _entry(
    owner: Row[Any],
    at: float,
    name: str,
    before: str | None = None,
    after: str | None = None,
    reason: str = "",
    sent: Row[Any] | None = None,
    version: str | None = None,
    decided: int | None = None,
) -> Entry:
    return Entry(
        at=at,
        event=name,
        role=owner.role,
        generation=owner.generation,
        revision=owner.revision,
        delivery=owner.id,
        before=None if before is None else State(before),
        after=None if after is None else State(after),
        bundle=None if sent is None else sent.id,
        reason=reason,
        worker="" if sent is None else sent.worker,
        attempt=None if sent is None else sent.attempt,
        run=owner.run,
        version=version,
        decision=decided,
    )
