"""Filling the ledger: many items in few statements, all or nothing.

The lanes of the call are locked first, in one order for everybody; what is known of the identities is read after that
and cannot change before the end of the transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from fhirbridge.ledger import locks, moves, tally
from fhirbridge.ledger.decide import Identity, Newest, decide, told
from fhirbridge.ledger.numbers import allot
from fhirbridge.ledger.payload import blobs, pack
from fhirbridge.ledger.revision import rank
from fhirbridge.ledger.schema import delivery, lane, payload, resource
from fhirbridge.ledger.seals import DELIVERY, RESOURCE, SETTLED, STANDING, Matter, Named, payload_place, tampered
from fhirbridge.ledger.states import FAILED, OPEN, Action, Server, State, after
from fhirbridge.ledger.words import Decision, Enqueued, Item
from fhirbridge.vault import Vault

Name = tuple[str, str, str]
"""Kind, record, role."""

_NEWEST = (
    select(func.max(delivery.c.id)).where(delivery.c.resource == resource.c.id).correlate(resource).scalar_subquery()
)
_KNOWN = (
    select(
        *RESOURCE.columns(prefix="of_"),
        *DELIVERY.columns(),
        *SETTLED.columns(prefix="end_"),
        lane.c.key,
        resource.c.server,
    )
    .join(lane, lane.c.id == resource.c.lane)
    .join(delivery, delivery.c.id == _NEWEST)
    .where(
        resource.c.site == bindparam("site"),
        resource.c.kind == bindparam("kind"),
        resource.c.record.in_(bindparam("records", expanding=True)),
    )
)
_MATTER, _END = RESOURCE.width, RESOURCE.width + DELIVERY.width
# Where a delivery that a newer one takes the place of does not go any more.
_OVERTAKEN = {State.QUEUED, State.BLOCKED, *FAILED}
_MAKE = insert(delivery)
_SEEN = (
    update(resource)
    .where(resource.c.id == bindparam("it"))
    .values(withdrawn=bindparam("gone"), seal=bindparam("sealed"))
)
_BODIES = insert(payload)
_RESOURCES = insert(resource)


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
    # Identities that are there already and were offered a newer revision or a retraction: the revision, the record.
    seen: dict[int, tuple[str, str, Identity]] = field(default_factory=dict)
    # Their rows, as far as they are sealed.
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    # Older deliveries that do not go any more: number, state, event.
    displaced: list[tuple[Identity, int, State, str]] = field(default_factory=list)


def enqueue(
    connection: Connection, vault: Vault, items: Sequence[Item], *, site: str, run: str, resend: bool, now: float
) -> list[Enqueued]:
    """Write what goes. See ``Ledger.enqueue``."""
    lanes = locks.lanes_of(connection, site, {item.lane for item in items})
    plan = planned(connection, vault, items, site=site, resend=resend)
    _write_resources(connection, vault, plan, site, lanes)
    _write_deliveries(connection, vault, plan, run, lanes, now)
    _displace(connection, vault, plan, now)
    urgency: dict[int, int] = {}
    for one in plan.pending:
        if one.state is State.QUEUED:
            number = lanes[one.item.lane]
            urgency[number] = min(urgency.get(number, 1), int(not one.item.urgent))
    moves.ready(connection, urgency, now)
    return plan.answers


def planned(connection: Connection, vault: Vault, items: Sequence[Item], *, site: str, resend: bool) -> Plan:
    """The decisions on ``items``, in their order; only reads.

    Raises :class:`LedgerError` (``ledger.tampered``) where what is known of their identities was edited.
    """
    plan = Plan()
    known = _known(connection, vault, site, items, plan.rows)
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
        plan.seen[identity.id] = (str(item.revision), item.record, identity)


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


def _known(
    connection: Connection, vault: Vault, site: str, items: Iterable[Item], bound: dict[int, dict[str, Any]]
) -> dict[Name, dict[int, Identity]]:
    """What is known of the items' identities; into ``bound``, what their rows are sealed with."""
    wanted: dict[str, dict[str, None]] = {}
    for item in items:
        wanted.setdefault(item.kind, {})[vault.token(item.record)] = None
    found: dict[Name, dict[int, Identity]] = {}
    for kind, records in wanted.items():
        for chunk in moves.chunks(list(records)):
            for row in connection.execute(_KNOWN, {"site": site, "kind": kind, "records": chunk}):
                named, identity = _identity(vault, row)
                values = dict(zip(RESOURCE.bound, row, strict=False))
                bound[values["id"]] = values
                found.setdefault((kind, named.record, values["role"]), {})[values["generation"]] = identity
    return found


def _identity(vault: Vault, row: Any) -> tuple[Named, Identity]:
    key, server = row[-2:]
    named = RESOURCE.open(vault, key, row[:_MATTER])
    matter, end = row[_MATTER:_END], row[_END:-2]
    # Nothing secret is wanted of it, but that its content is what was offered.
    DELIVERY.open(vault, key, matter)
    number, state, _, _, _, reason, mark = end
    if state not in OPEN:
        SETTLED.check(vault, end)
    elif mark is not None:
        raise tampered(delivery, number)
    _, _, _, _, action, content, mapping = matter[:7]
    newest = Newest(number, Action(action), content, mapping, State(state), reason)
    return named, Identity(row.of_id, key, named.rank, row.of_withdrawn, Server(server), newest)


def _write_resources(connection: Connection, vault: Vault, plan: Plan, site: str, lanes: Mapping[str, int]) -> None:
    seen = []
    for number, (revision, record, identity) in plan.seen.items():
        values = plan.rows[number] | {"withdrawn": identity.withdrawn}
        sealed = RESOURCE.seal(vault, identity.lane, values, Named(record, revision, identity.rank))
        seen.append({"it": number, "gone": identity.withdrawn, "sealed": sealed})
    moves.many(connection, _SEEN, seen)
    # The last of a call tells the newest revision.
    new = {id(one.identity): one for one in plan.pending if one.identity.id is None}
    rows = []
    for number, one in zip(allot(connection, resource, len(new)), new.values(), strict=True):
        one.identity.id = number
        row = {
            "id": number,
            "site": site,
            "kind": one.item.kind,
            "record": vault.token(one.item.record),
            "role": one.item.role,
            "generation": one.item.generation,
            "lane": lanes[one.item.lane],
            "resource_type": one.item.resource_type,
            "resource_id": one.item.resource_id,
            "withdrawn": one.identity.withdrawn,
            "server": one.identity.server,
            "version": None,
            "server_id": None,
            "acked": None,
        }
        hidden = Named(one.item.record, str(one.item.revision), one.identity.rank)
        row["seal"] = RESOURCE.seal(vault, one.item.lane, row, hidden)
        row["standing"] = STANDING.of(vault, row)
        rows.append(row)
    moves.many(connection, _RESOURCES, rows)


def _write_deliveries(
    connection: Connection, vault: Vault, plan: Plan, run: str, lanes: Mapping[str, int], now: float
) -> None:
    places = _write_bodies(connection, vault, plan, lanes)
    # Those that go have the higher numbers: the newest delivery of an identity is the one with the highest.
    late = [one for one in plan.pending if one.state is not State.QUEUED]
    going = [one for one in plan.pending if one.state is State.QUEUED]
    rows = []
    for number, one in zip(allot(connection, delivery, len(plan.pending)), (*late, *going), strict=True):
        item = one.item
        blob, start, length = places.get(id(one), (None, 0, 0))
        row: dict[str, Any] = {
            "id": number,
            "resource": one.identity.id,
            "lane": lanes[item.lane],
            "state": one.state,
            "event": float(item.event),
            "next_at": now,
            "settled_at": None if one.state is State.QUEUED else now,
            "attempts": 0,
            "looks": 0,
            "bundle": None,
            "reason": "",
            "version": None,
            "action": item.action,
            "content": item.content,
            "mapping": item.mapping,
            "urgent": item.urgent,
            "run": run,
            "enqueued_at": now,
            "payload": blob,
            "start": start,
            "length": length,
            "mark": None,
        }
        row["seal"] = DELIVERY.seal(vault, item.lane, row, Matter(str(item.revision), item.subject))
        if one.state is not State.QUEUED:
            row["mark"] = SETTLED.of(vault, row)
        rows.append(row)
    made(connection, vault, rows)
    moves.tell(
        connection,
        vault,
        [
            {"resource": row["resource"], "delivery": row["id"], "at": now, "event": "supersede"}
            | {"after": row["state"], "reason": ""}
            for row in rows[: len(late)]
        ],
    )


def made(connection: Connection, vault: Vault, rows: list[dict[str, Any]]) -> None:
    """Write new deliveries, with their numbers and seals, and count them. Raises as :func:`tally.add`."""
    moves.many(connection, _MAKE, rows)
    tally.add(connection, vault, Counter(row["lane"] for row in rows))


def _write_bodies(
    connection: Connection, vault: Vault, plan: Plan, lanes: Mapping[str, int]
) -> dict[int, tuple[int, int, int]]:
    by_lane: dict[str, list[Pending]] = {}
    for one in plan.pending:
        if one.item.body is not None and one.state is State.QUEUED:
            by_lane.setdefault(one.item.lane, []).append(one)
    packed = [
        (key, blob) for key, several in by_lane.items() for blob in blobs(one.item.body or b"" for one in several)
    ]
    owners = chain.from_iterable(by_lane.values())
    places: dict[int, tuple[int, int, int]] = {}
    rows = []
    for number, (key, blob) in zip(allot(connection, payload, len(packed)), packed, strict=True):
        data = pack(vault, key, payload_place(number, lanes[key]), blob.data)
        rows.append({"id": number, "lane": lanes[key], "data": data})
        for start, length in blob.places:
            places[id(next(owners))] = (number, start, length)
    moves.many(connection, _BODIES, rows)
    return places


def _displace(connection: Connection, vault: Vault, plan: Plan, now: float) -> None:
    moved = [
        moves.Move(number, identity.id or 0, event, before, after(event, before))
        for identity, number, before, event in plan.displaced
    ]
    moves.apply(connection, vault, moved, now)
