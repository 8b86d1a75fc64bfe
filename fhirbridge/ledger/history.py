"""What happened to a record, told from its deliveries, their bundles and the events off the happy path.

The happy path writes no events: that it was enqueued and acknowledged stands with the delivery, that it left, with the
bundle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from itertools import chain
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, select

from fhirbridge.ledger import moves
from fhirbridge.ledger.consents import Decided
from fhirbridge.ledger.schema import bundle, decision, delivery, event, lane, patient, resource
from fhirbridge.ledger.seals import DECISION, DELIVERY, EVENT, RESOURCE
from fhirbridge.ledger.states import State
from fhirbridge.ledger.words import Entry
from fhirbridge.vault import Vault

_OF_RECORD = (
    resource.c.site == bindparam("site"),
    resource.c.kind == bindparam("kind"),
    resource.c.record == bindparam("record"),
)
_DELIVERIES = (
    select(
        *DELIVERY.columns(),
        lane.c.key,
        delivery.c.state,
        delivery.c.reason,
        delivery.c.settled_at,
        delivery.c.bundle,
        delivery.c.version,
        delivery.c.decision,
        resource.c.role,
        resource.c.generation,
    )
    .join(resource, resource.c.id == delivery.c.resource)
    .join(lane, lane.c.id == delivery.c.lane)
    .where(*_OF_RECORD)
    .order_by(delivery.c.id)
)
_EVENTS = (
    select(*EVENT.columns(prefix="e_"), *RESOURCE.columns(), lane.c.key)
    .join(resource, resource.c.id == event.c.resource)
    .join(lane, lane.c.id == resource.c.lane)
    .where(*_OF_RECORD)
    .order_by(event.c.id)
)
_DECISIONS = (
    select(*DECISION.columns(), patient.c.key)
    .join(patient, patient.c.id == decision.c.patient)
    .where(decision.c.id.in_(bindparam("ids", expanding=True)))
)
_BUNDLES = select(bundle).where(bundle.c.id.in_(bindparam("ids", expanding=True)))
Bundles = Mapping[str, Row[Any]]


class Owner(NamedTuple):
    """A delivery of the record, and its revision."""

    row: Any
    revision: str


class Told(NamedTuple):
    """An event of the history."""

    delivery: int | None
    at: float
    event: str
    before: str | None
    after: str | None
    bundle: str | None
    reason: str
    decision: int | None
    role: str
    generation: int
    revision: str


def history(connection: Connection, vault: Vault, site: str, kind: str, record: str) -> list[Entry]:
    """Everything that ever happened to a record, in time order; no patient data is in it.

    What happened to one delivery keeps its order whatever the clock said. Raises :class:`LedgerError`
    (``ledger.tampered``) where any of it was edited.
    """
    which = {"site": site, "kind": kind, "record": vault.token(record)}
    owners = _owners(connection, vault, which)
    events: dict[int | None, list[Told]] = {}
    for one in _events(connection, vault, which):
        events.setdefault(one.delivery, []).append(one)
    named = (*(one.row.bundle for one in owners), *(one.bundle for one in chain(*events.values())))
    ids = sorted({one for one in named if one is not None})
    bundles = {one.id: one for chunk in moves.chunks(ids) for one in connection.execute(_BUNDLES, {"ids": chunk})}
    findings = [
        Entry(one.at, one.event, one.role, one.generation, one.revision, reason=one.reason)
        for one in events.get(None, ())
    ]
    stories = [list(_story(one, events.get(one.row.id, ()), bundles)) for one in owners]
    return list(merge(*stories, findings, key=lambda entry: entry.at))


def _owners(connection: Connection, vault: Vault, which: Mapping[str, str]) -> list[Owner]:
    rows = connection.execute(_DELIVERIES, which)
    return [Owner(row, DELIVERY.open(vault, row.key, row[: DELIVERY.width]).revision) for row in rows]


def _events(connection: Connection, vault: Vault, which: Mapping[str, str]) -> Iterator[Told]:
    for row in connection.execute(_EVENTS, which):
        EVENT.check(vault, row[: EVENT.width])
        named = RESOURCE.open(vault, row.key, row[EVENT.width : -1])
        yield _told(row[1 : EVENT.width - 1], row.role, row.generation, named.revision)


def _told(said: Sequence[Any], role: str, generation: int, revision: str) -> Told:
    return Told._make((*said, role, generation, revision))


def decisions(connection: Connection, vault: Vault, site: str, kind: str, record: str) -> list[Decided]:
    """Each decision on each delivery of a record, the oldest first. Raises as :func:`history`."""
    which = {"site": site, "kind": kind, "record": vault.token(record)}
    owners = {one.row.id: one for one in _owners(connection, vault, which)}
    named = {(one.row.id, one.row.decision) for one in owners.values() if one.row.decision is not None}
    named |= {
        (one.delivery, one.decision)
        for one in _events(connection, vault, which)
        if one.decision is not None and one.delivery in owners
    }
    numbers = sorted({number for _, number in named})
    kept = {one.id: one for chunk in moves.chunks(numbers) for one in connection.execute(_DECISIONS, {"ids": chunk})}
    return [_decided(vault, owners[of], kept[number]) for number, of in sorted((number, of) for of, number in named)]


def _decided(vault: Vault, owner: Owner, one: Any) -> Decided:
    grounds = DECISION.open(vault, one.key, one[: DECISION.width])
    return Decided(
        id=one.id,
        at=one.at,
        act=one.act,
        permit=one.effect == "permit",
        reason=one.reason,
        consents=grounds.consents,
        trail=grounds.trail,
        delivery=owner.row.id,
        role=owner.row.role,
        generation=owner.row.generation,
        revision=owner.revision,
        state=State(owner.row.state),
    )


def _story(owner: Owner, events: Sequence[Told], bundles: Bundles) -> Iterator[Entry]:
    """One delivery: made, sent as often as it was, and whatever came of it."""
    if not events or events[0].before is not None:
        yield _entry(owner, owner.row.enqueued_at, "enqueue", None, State.QUEUED)
    begun: set[str] = set()
    for one in events:
        yield from _begun(owner, one.bundle, bundles, begun)
        sent = None if one.bundle is None else bundles.get(one.bundle)
        version = owner.row.version if one.after == State.ACKED else None
        yield _entry(owner, one.at, one.event, one.before, one.after, one.reason, sent, version, one.decision)
    yield from _begun(owner, owner.row.bundle, bundles, begun)
    if owner.row.state == State.ACKED and not any(one.after == State.ACKED for one in events):
        sent = bundles.get(owner.row.bundle)
        reason = owner.row.reason or (sent.outcome if sent is not None and sent.outcome else "")
        yield _entry(owner, owner.row.settled_at, "ack", State.IN_FLIGHT, State.ACKED, reason, sent, owner.row.version)


def _begun(owner: Owner, number: str | None, bundles: Bundles, begun: set[str]) -> Iterator[Entry]:
    """That a bundle left, told before the first thing that came of it."""
    if number is not None and number in bundles and number not in begun:
        begun.add(number)
        sent = bundles[number]
        yield _entry(owner, sent.begun_at, "begin", State.CLAIMED, State.IN_FLIGHT, "", sent)


def _entry(
    owner: Owner,
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
        role=owner.row.role,
        generation=owner.row.generation,
        revision=owner.revision,
        delivery=owner.row.id,
        before=None if before is None else State(before),
        after=None if after is None else State(after),
        bundle=None if sent is None else sent.id,
        reason=reason,
        worker="" if sent is None else sent.worker,
        attempt=None if sent is None else sent.attempt,
        run=owner.row.run,
        version=version,
        decision=decided,
    )
