"""What people and ``verify`` do to the ledger: take over what the site holds, replay, send once more, prune."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, case, delete, func, literal, or_, select, update

from fhirbridge.ledger import locks, moves
from fhirbridge.ledger.enqueue import MAKE, inserted
from fhirbridge.ledger.look import conditions
from fhirbridge.ledger.moves import Move
from fhirbridge.ledger.revision import rank
from fhirbridge.ledger.schema import IS_FAILED, IS_OPEN, delivery, lane, patient, payload, resource
from fhirbridge.ledger.settle import LEARNT
from fhirbridge.ledger.states import Action, Server, State, after
from fhirbridge.ledger.words import Adopted, Where

_THERE = select(resource.c.record, resource.c.role, resource.c.generation).where(
    resource.c.site == bindparam("site"),
    resource.c.kind == bindparam("kind"),
    resource.c.record.in_(bindparam("records", expanding=True)),
)
# The consents may say something about what is there, and nobody has looked yet.
_FOUND = (
    update(lane)
    .where(lane.c.id == bindparam("it"))
    .values(
        fence=case((lane.c.fence == 0, 1), else_=lane.c.fence),
        following=select(patient.c.effective_version)
        .where(patient.c.key == lane.c.key, patient.c.effective_version > 0)
        .correlate(lane)
        .scalar_subquery(),
    )
)
_ACKED_BY = update(resource).where(resource.c.id == bindparam("it")).values(acked=bindparam("by"))
_LANES = select(resource.c.lane).where(resource.c.id.in_(bindparam("ids", expanding=True)))
_NEWEST = (
    select(func.max(delivery.c.id)).where(delivery.c.resource == resource.c.id).correlate(resource).scalar_subquery()
)
_AGAIN = update(delivery).where(delivery.c.id == bindparam("it")).values(attempts=0, looks=0)


def adopt(connection: Connection, found: Sequence[Adopted], *, site: str, run: str, now: float) -> int:
    """Write down what the site holds, as deliveries that it acknowledged. Identities that are known are left alone."""
    lanes = locks.lanes_of(connection, site, {one.lane for one in found})
    there = _there(connection, site, found)
    new = {
        (one.kind, one.record, one.role, one.generation): one
        for one in found
        if (one.kind, one.record, one.role, one.generation) not in there
    }
    rows = [
        {
            "site": site,
            "kind": one.kind,
            "record": one.record,
            "role": one.role,
            "generation": one.generation,
            "lane": lanes[one.lane],
            "resource_type": one.resource_type,
            "resource_id": one.resource_id,
            "revision": str(one.revision),
            "rank": rank(one.revision),
            "withdrawn": one.server is Server.RETRACTED,
            "server": one.server,
            "version": one.version,
            "server_id": one.server_id,
        }
        for one in new.values()
    ]
    resources = inserted(connection, resource, rows)
    made = after("import", None)
    deliveries = [
        {
            "resource": number,
            "lane": lanes[one.lane],
            "state": made,
            "event": 0.0,
            "next_at": now,
            "settled_at": now,
            "attempts": 0,
            "looks": 0,
            "reason": "",
            "version": one.version,
            "revision": str(one.revision),
            "rank": rank(one.revision),
            "action": Action.RETRACT if one.server is Server.RETRACTED else Action.PUT,
            "content": one.content,
            "mapping": one.mapping,
            "urgent": False,
            "run": run,
            "enqueued_at": now,
            "start": 0,
            "length": 0,
            "subject": "",
        }
        for number, one in zip(resources, new.values(), strict=True)
    ]
    numbers = inserted(connection, delivery, deliveries)
    pairs = list(zip(resources, numbers, strict=True))
    moves.many(connection, _FOUND, [{"it": lanes[key]} for key in sorted({one.lane for one in new.values()})])
    moves.many(connection, _ACKED_BY, [{"it": of, "by": number} for of, number in pairs])
    story = [
        {"resource": of, "delivery": number, "at": now, "event": "import", "after": made, "reason": ""}
        for of, number in pairs
    ]
    moves.many(connection, moves.TELL, story)
    return len(new)


def _there(connection: Connection, site: str, found: Sequence[Adopted]) -> set[tuple[str, str, str, int]]:
    records: dict[str, set[str]] = {}
    for one in found:
        records.setdefault(one.kind, set()).add(one.record)
    return {
        (kind, *row)
        for kind, several in records.items()
        for chunk in moves.chunks(sorted(several))
        for row in connection.execute(_THERE, {"site": site, "kind": kind, "records": chunk})
    }


def learn(
    connection: Connection,
    number: int,
    *,
    server: Server,
    version: str | None,
    server_id: str | None,
    reason: str,
    now: float,
) -> None:
    """Write down what was found at the site under one identity."""
    _lock_of(connection, [number])
    connection.execute(LEARNT, {"it": number, "holds": server, "learnt": version, "named": server_id})
    row = {"resource": number, "at": now, "event": "learn", "reason": f"{server}: {reason}" if reason else server}
    connection.execute(moves.TELL, row)


def _lock_of(connection: Connection, resources: Sequence[int]) -> None:
    locks.lanes(
        connection,
        [one for chunk in moves.chunks(resources) for one in connection.execute(_LANES, {"ids": chunk}).scalars()],
    )


def replay(connection: Connection, where: Where, now: float) -> int:
    """Failed deliveries back to the queue, their attempts counted anew; not those that a newer revision overtook."""
    chosen = select(delivery.c.id, delivery.c.resource, delivery.c.state, delivery.c.lane, delivery.c.urgent).join(
        resource, resource.c.id == delivery.c.resource
    )
    chosen = chosen.where(IS_FAILED, delivery.c.id == _NEWEST, *conditions(where))
    locks.lanes(connection, [row.lane for row in connection.execute(chosen)])
    rows = connection.execute(chosen).all()
    back = [
        Move(row.id, row.resource, "replay", State(row.state), after("replay", State(row.state)), "", now)
        for row in rows
    ]
    moves.apply(connection, back, now)
    moves.many(connection, _AGAIN, [{"it": row.id} for row in rows])
    moves.ready(connection, _pressing(rows), now)
    return len(rows)


def resend(connection: Connection, resources: Sequence[int], *, run: str, now: float) -> int:
    """The newest body of each identity once more, where the site had acknowledged it and it is not withdrawn."""
    _lock_of(connection, resources)
    rows: list[Any] = []
    for chunk in moves.chunks(sorted(set(resources))):
        chosen = (
            select(delivery)
            .join(resource, resource.c.id == delivery.c.resource)
            .where(
                resource.c.id.in_(chunk),
                resource.c.withdrawn.is_(False),
                delivery.c.id == _NEWEST,
                delivery.c.state == State.ACKED,
                delivery.c.payload.is_not(None),
            )
        )
        rows.extend(connection.execute(chosen).all())
    anew = {
        "state": State.QUEUED,
        "next_at": now,
        "settled_at": None,
        "attempts": 0,
        "looks": 0,
        "bundle": None,
        "reason": "",
        "version": None,
        "run": run,
        "enqueued_at": now,
        "decision": None,
    }
    copies = [{name: value for name, value in row._mapping.items() if name != "id"} | anew for row in rows]
    moves.many(connection, MAKE, copies)
    moves.ready(connection, _pressing(rows), now)
    return len(rows)


def _pressing(rows: Sequence[Any]) -> dict[int, int]:
    orders: dict[int, int] = {}
    for row in rows:
        orders[row.lane] = min(orders.get(row.lane, 1), int(not row.urgent))
    return orders


def prune(connection: Connection, before: float) -> int:
    """Delete the bodies that nothing needs:

    all of the blob settled before then, and none of it the last of its identity.
    """
    acked = select(resource.c.acked).where(resource.c.acked.is_not(None))
    newest = select(func.max(delivery.c.id)).group_by(delivery.c.resource)
    needed = select(delivery.c.payload).where(
        delivery.c.payload.is_not(None),
        or_(
            IS_OPEN,
            IS_FAILED,
            delivery.c.settled_at >= literal(before),
            delivery.c.id.in_(acked),
            delivery.c.id.in_(newest),
        ),
    )
    return connection.execute(delete(payload).where(payload.c.id.not_in(needed))).rowcount
