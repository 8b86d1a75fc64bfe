"""Filling the ledger: many items in few statements, all or nothing.

The lanes of the call are locked first, in one order for everybody; what is known of the identities is read after that
and cannot change before the end of the transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from fhirbridge.ledger import locks, moves
from fhirbridge.ledger.decide import Identity, Newest, decide, told
from fhirbridge.ledger.payload import Codec, blobs
from fhirbridge.ledger.revision import rank
from fhirbridge.ledger.schema import delivery, lane, payload, resource
from fhirbridge.ledger.states import FAILED, Action, Server, State, after
from fhirbridge.ledger.words import Decision, Enqueued, Item

Name = tuple[str, str, str]
"""Kind, record, role."""

_NEWEST = (
    select(func.max(delivery.c.id)).where(delivery.c.resource == resource.c.id).correlate(resource).scalar_subquery()
)
_KNOWN = (
    select(
        resource.c.kind,
        resource.c.record,
        resource.c.role,
        resource.c.generation,
        resource.c.id,
        lane.c.key,
        resource.c.rank,
        resource.c.withdrawn,
        resource.c.server,
        delivery.c.id.label("newest"),
        delivery.c.action,
        delivery.c.content,
        delivery.c.mapping,
        delivery.c.state,
        delivery.c.reason,
    )
    .join(lane, lane.c.id == resource.c.lane)
    .join(delivery, delivery.c.id == _NEWEST)
    .where(
        resource.c.site == bindparam("site"),
        resource.c.kind == bindparam("kind"),
        resource.c.record.in_(bindparam("records", expanding=True)),
    )
)
# Where a delivery that a newer one takes the place of does not go any more.
_OVERTAKEN = {State.QUEUED, State.BLOCKED, *FAILED}
MAKE = insert(delivery)
_SEEN = (
    update(resource)
    .where(resource.c.id == bindparam("it"))
    .values(revision=bindparam("newer"), rank=bindparam("higher"), withdrawn=bindparam("gone"))
)


@dataclass(slots=True)
class Pending:
    """A delivery to be written."""

    item: Item
    rank: str
    identity: Identity
    state: State = State.QUEUED


@dataclass(slots=True)
class Plan:
    """The decisions on a call's items, and what has to be written for them."""

    answers: list[Enqueued] = field(default_factory=list)
    pending: list[Pending] = field(default_factory=list)
    # Identities that are there already and were offered a newer revision or a retraction.
    seen: dict[int, tuple[str, Identity]] = field(default_factory=dict)
    # Older deliveries that do not go any more: number, state, event.
    displaced: list[tuple[Identity, int, State, str]] = field(default_factory=list)


def enqueue(
    connection: Connection, items: Sequence[Item], *, site: str, run: str, resend: bool, now: float, codec: Codec
) -> list[Enqueued]:
    """Write what goes. See ``Ledger.enqueue``."""
    lanes = locks.lanes_of(connection, site, {item.lane for item in items})
    plan = planned(connection, items, site=site, resend=resend)
    _write_resources(connection, plan, site, lanes)
    _write_deliveries(connection, plan, run, lanes, now, codec)
    _displace(connection, plan, now)
    urgency: dict[int, int] = {}
    for one in plan.pending:
        if one.state is State.QUEUED:
            number = lanes[one.item.lane]
            urgency[number] = min(urgency.get(number, 1), int(not one.item.urgent))
    moves.ready(connection, urgency, now)
    return plan.answers


def planned(connection: Connection, items: Sequence[Item], *, site: str, resend: bool) -> Plan:
    """The decisions on ``items``, in their order; only reads."""
    known = _known(connection, site, items)
    plan = Plan()
    # What an identity's newest delivery of this very call is: number in the answers, and the delivery.
    own: dict[int, tuple[int, Pending]] = {}
    for item in items:
        name = (item.kind, item.record, item.role)
        generations = known.setdefault(name, {})
        identity = generations.get(item.generation)
        order = rank(item.revision)
        decision = decide(item, order, identity, max(generations, default=0), resend=resend)
        plan.answers.append(told(decision, identity))
        if identity is not None and decision in (Decision.QUEUED, Decision.UNCHANGED) and order > identity.rank:
            identity.rank = order
            _seen(plan, identity, item)
        if decision is not Decision.QUEUED:
            continue
        newest = Newest(None, item.action, item.content, item.mapping, State.QUEUED, "")
        if identity is None:
            identity = generations[item.generation] = Identity(None, item.lane, order, False, Server.UNSEEN, newest)
        else:
            _overtake(plan, identity, item, own.get(id(identity)))
            identity.newest = newest
        if item.action is Action.RETRACT:
            identity.withdrawn = True
            _seen(plan, identity, item)
        pending = Pending(item, order, identity)
        own[id(identity)] = (len(plan.answers) - 1, pending)
        plan.pending.append(pending)
    return plan


def _seen(plan: Plan, identity: Identity, item: Item) -> None:
    if identity.id is not None:
        plan.seen[identity.id] = (str(item.revision), identity)


def _overtake(plan: Plan, identity: Identity, item: Item, own: tuple[int, Pending] | None) -> None:
    """Whatever of an older revision has not gone does not go any more."""
    event = "withdraw" if item.action is Action.RETRACT else "supersede"
    if own is not None:
        place, older = own
        older.state = after("supersede", None)
        plan.answers[place] = told(Decision.SUPERSEDED, identity)
        return
    newest = identity.newest
    if newest.id is not None and newest.state in _OVERTAKEN:
        plan.displaced.append((identity, newest.id, newest.state, event))


def _known(connection: Connection, site: str, items: Iterable[Item]) -> dict[Name, dict[int, Identity]]:
    wanted: dict[str, dict[str, None]] = {}
    for item in items:
        wanted.setdefault(item.kind, {})[item.record] = None
    found: dict[Name, dict[int, Identity]] = {}
    for kind, records in wanted.items():
        for chunk in moves.chunks(list(records)):
            rows = connection.execute(_KNOWN, {"site": site, "kind": kind, "records": chunk})
            for kind_, record, role, generation, number, key, order, withdrawn, server, *newest in rows:
                at, action, content, mapping, state, reason = newest
                found.setdefault((kind_, record, role), {})[generation] = Identity(
                    number,
                    key,
                    order,
                    withdrawn,
                    Server(server),
                    Newest(at, Action(action), content, mapping, State(state), reason),
                )
    return found


def _write_resources(connection: Connection, plan: Plan, site: str, lanes: Mapping[str, int]) -> None:
    seen = [
        {"it": number, "newer": revision, "higher": identity.rank, "gone": identity.withdrawn}
        for number, (revision, identity) in plan.seen.items()
    ]
    moves.many(connection, _SEEN, seen)
    # The last of a call tells the newest revision.
    new = {id(one.identity): one for one in plan.pending if one.identity.id is None}
    rows = [
        {
            "site": site,
            "kind": one.item.kind,
            "record": one.item.record,
            "role": one.item.role,
            "generation": one.item.generation,
            "lane": lanes[one.item.lane],
            "resource_type": one.item.resource_type,
            "resource_id": one.item.resource_id,
            "revision": str(one.item.revision),
            "rank": one.identity.rank,
            "withdrawn": one.identity.withdrawn,
            "server": one.identity.server,
        }
        for one in new.values()
    ]
    for one, number in zip(new.values(), inserted(connection, resource, rows), strict=True):
        one.identity.id = number


def inserted(connection: Connection, into: Any, rows: list[dict[str, Any]]) -> list[int]:
    """Insert rows; their numbers, in the order of the rows."""
    if not rows:
        return []
    statement = insert(into).returning(into.c.id, sort_by_parameter_order=True)
    return list(connection.execute(statement, rows).scalars())


def _write_deliveries(
    connection: Connection, plan: Plan, run: str, lanes: Mapping[str, int], now: float, codec: Codec
) -> None:
    places = _write_bodies(connection, plan, lanes, codec)
    rows = []
    for one in plan.pending:
        item = one.item
        number, start, length = places.get(id(one), (None, 0, 0))
        rows.append(
            {
                "resource": one.identity.id,
                "lane": lanes[item.lane],
                "state": one.state,
                "event": item.event,
                "next_at": now,
                "settled_at": None if one.state is State.QUEUED else now,
                "attempts": 0,
                "looks": 0,
                "reason": "",
                "revision": str(item.revision),
                "rank": one.rank,
                "action": item.action,
                "content": item.content,
                "mapping": item.mapping,
                "urgent": item.urgent,
                "run": run,
                "enqueued_at": now,
                "payload": number,
                "start": start,
                "length": length,
                "subject": item.subject,
            }
        )
    # Those that go have the higher numbers: the newest delivery of an identity is the one with the highest.
    late = [row for row in rows if row["state"] is not State.QUEUED]
    numbers = inserted(connection, delivery, late)
    story = [
        {
            "resource": row["resource"],
            "delivery": number,
            "at": now,
            "event": "supersede",
            "after": row["state"],
            "reason": "",
        }
        for row, number in zip(late, numbers, strict=True)
    ]
    moves.many(connection, moves.TELL, story)
    moves.many(connection, MAKE, [row for row in rows if row["state"] is State.QUEUED])


def _write_bodies(
    connection: Connection, plan: Plan, lanes: Mapping[str, int], codec: Codec
) -> dict[int, tuple[int, int, int]]:
    by_lane: dict[str, list[Pending]] = {}
    for one in plan.pending:
        if one.item.body is not None and one.state is State.QUEUED:
            by_lane.setdefault(one.item.lane, []).append(one)
    rows: list[dict[str, Any]] = []
    owners: list[list[tuple[Pending, tuple[int, int]]]] = []
    for key, several in by_lane.items():
        left = iter(several)
        for blob in blobs(one.item.body or b"" for one in several):
            rows.append({"lane": lanes[key], "codec": codec.name, "data": codec.pack(blob.data, key)})
            owners.append([(next(left), place) for place in blob.places])
    numbers = inserted(connection, payload, rows)
    return {
        id(one): (number, start, length)
        for number, owned in zip(numbers, owners, strict=True)
        for one, (start, length) in owned
    }


def _displace(connection: Connection, plan: Plan, now: float) -> None:
    moved = [
        moves.Move(number, identity.id or 0, event, before, after(event, before))
        for identity, number, before, event in plan.displaced
    ]
    moves.apply(connection, moved, now)
