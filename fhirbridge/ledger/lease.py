"""Leases: which worker holds which lane, handing out what is due, and taking lanes back.

A lease is a row of ``lane`` with a worker and a fence. The fence grows with every claim, so a worker that slept through
the end of its lease is told apart from the one that came after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, takewhile
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, func, select, update

from fhirbridge.errors import LeaseLost
from fhirbridge.ledger import moves
from fhirbridge.ledger.moves import Move
from fhirbridge.ledger.payload import Codec, unpacked
from fhirbridge.ledger.schema import FREE, IS_OPEN, IS_UNKNOWN, LEASED, bundle, delivery, lane, payload, resource
from fhirbridge.ledger.states import Action, Server, State
from fhirbridge.ledger.words import Claim, Delivery, Lease, Rescued

_DUE = (
    select(lane.c.id, lane.c.key, lane.c.fence)
    .where(lane.c.site == bindparam("site"), FREE, lane.c.ready_at <= bindparam("now"))
    .order_by(lane.c.priority, lane.c.ready_at, lane.c.id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_TAKE = (
    update(lane)
    .where(lane.c.id == bindparam("it"))
    .values(worker=bindparam("by"), until=bindparam("end"), fence=lane.c.fence + 1, held=bindparam("count"))
)
_CLAIM = update(delivery).where(delivery.c.id == bindparam("it")).values(state=State.CLAIMED)
_EXPIRED = (
    select(lane.c.id)
    .where(lane.c.site == bindparam("site"), LEASED, lane.c.until < bindparam("now"))
    .order_by(lane.c.id)
    .with_for_update(skip_locked=True)
)
_CHECK = (
    select(lane.c.id, lane.c.worker, lane.c.fence, lane.c.until)
    .where(lane.c.id.in_(bindparam("lanes", expanding=True)))
    .order_by(lane.c.id)
    .with_for_update()
)
_HELD = select(delivery.c.id, delivery.c.resource, delivery.c.state, delivery.c.bundle).where(
    delivery.c.lane.in_(bindparam("lanes", expanding=True)),
    IS_OPEN,
    delivery.c.state.in_((State.CLAIMED, State.IN_FLIGHT)),
)
_EMPTY = update(lane).where(lane.c.id == bindparam("it")).values(held=0)
_RENEW = update(lane).where(lane.c.id == bindparam("it")).values(until=bindparam("end"))
_DOUBTFUL = (
    select(delivery.c.lane).where(IS_UNKNOWN, delivery.c.lane.in_(bindparam("lanes", expanding=True))).distinct()
)
_NEXT = select(func.min(lane.c.ready_at)).where(lane.c.site == bindparam("site"), FREE)
_NEXT_END = select(func.min(lane.c.until)).where(lane.c.site == bindparam("site"), LEASED)

_OUT = (
    select(
        delivery.c.lane,
        delivery.c.next_at,
        delivery.c.payload,
        delivery.c.start,
        delivery.c.length,
        delivery.c.id,
        delivery.c.resource,
        resource.c.kind,
        resource.c.record,
        resource.c.role,
        resource.c.generation,
        delivery.c.revision,
        delivery.c.action,
        resource.c.resource_type,
        resource.c.resource_id,
        delivery.c.content,
        delivery.c.mapping,
        delivery.c.urgent,
        delivery.c.event,
        delivery.c.run,
        delivery.c.state,
        delivery.c.attempts,
        delivery.c.looks,
        delivery.c.reason,
        delivery.c.bundle,
        bundle.c.begun_at,
        resource.c.server,
        resource.c.version,
        resource.c.server_id,
        resource.c.acked,
    )
    .join(resource, resource.c.id == delivery.c.resource)
    .outerjoin(bundle, bundle.c.id == delivery.c.bundle)
    .where(delivery.c.lane.in_(bindparam("lanes", expanding=True)))
    .order_by(delivery.c.lane, delivery.c.event, delivery.c.id)
    .limit(bindparam("most"))
)
_QUEUE = _OUT.where(IS_OPEN)
_DOUBTS = _OUT.where(IS_UNKNOWN, delivery.c.next_at <= bindparam("now"))
_PAYLOAD = select(payload.c.id, payload.c.codec, payload.c.data).where(
    payload.c.id.in_(bindparam("ids", expanding=True))
)


def claim(
    connection: Connection, site: str, worker: str, *, lanes: int, limit: int, lease: float, now: float, codec: Codec
) -> list[Claim]:
    """Lease lanes and hand out what is due. See ``Ledger.claim``."""
    found = connection.execute(_DUE, {"site": site, "now": now, "most": lanes}).all()
    numbers = [number for number, _, _ in found]
    doubtful = _doubtful(connection, numbers)
    clear = [number for number in numbers if number not in doubtful]
    out = _handed_out(connection, _DOUBTS, sorted(doubtful), limit, now)
    out |= _handed_out(connection, _QUEUE, clear, limit, now)
    # Something earlier came in front that is not due yet, or nothing is left.
    moves.free(connection, [number for number in numbers if number not in out], now)
    leases = {
        number: Lease(number, key, site, worker, fence + 1, now + lease)
        for number, key, fence in found
        if number in out
    }
    taken = [{"it": n, "by": worker, "end": now + lease, "count": len(out[n])} for n in leases]
    moves.many(connection, _TAKE, taken)
    claimed = [{"it": row.id} for rows in out.values() for row in rows if row.state == State.QUEUED]
    moves.expect(moves.many(connection, _CLAIM, claimed), len(claimed))
    bodies = _bodies(connection, codec, {row.payload: leases[row.lane].key for rows in out.values() for row in rows})
    return [Claim(one, tuple(_delivery(row, one, bodies) for row in out[number])) for number, one in leases.items()]


def _doubtful(connection: Connection, lanes: Sequence[int]) -> set[int]:
    return {one for chunk in moves.chunks(lanes) for one in connection.execute(_DOUBTFUL, {"lanes": chunk}).scalars()}


def _handed_out(
    connection: Connection, statement: Select[Any], lanes: Sequence[int], limit: int, now: float
) -> dict[int, list[Row[Any]]]:
    """What each lane hands out. All lanes at once where that is not too much, else each its share."""
    if not lanes:
        return {}
    out: dict[int, list[Row[Any]]] = {}
    for chunk in moves.chunks(lanes):
        rows = connection.execute(statement, {"lanes": chunk, "now": now, "most": limit + 1}).all()
        if len(rows) > limit:
            share = max(1, limit // len(lanes))
            rows = [row for one in chunk for row in _whole_records(connection, statement, one, share, now)]
        for number, several in groupby(rows, key=lambda row: row.lane):
            due = list(takewhile(lambda row: row.next_at <= now, several))
            if due:
                out[number] = due
    return out


def _whole_records(
    connection: Connection, statement: Select[Any], one: int, share: int, now: float
) -> Sequence[Row[Any]]:
    """About ``share`` of a lane's deliveries, its records' resources never parted."""
    most = share
    while True:
        rows = connection.execute(statement, {"lanes": [one], "now": now, "most": most + 1}).all()
        if len(rows) <= most:
            return rows
        cut = most
        while cut and _record(rows[cut]) == _record(rows[cut - 1]):
            cut -= 1
        if cut:
            return rows[:cut]
        most *= 2


def _record(row: Row[Any]) -> tuple[str, str, str]:
    return row.kind, row.record, row.revision


def _bodies(connection: Connection, codec: Codec, keys: dict[int | None, str]) -> dict[int, bytes]:
    wanted = [number for number in keys if number is not None]
    return {
        number: unpacked(codec, name, data, keys[number])
        for chunk in moves.chunks(wanted)
        for number, name, data in connection.execute(_PAYLOAD, {"ids": chunk})
    }


def _delivery(row: Any, lease: Lease, bodies: dict[int, bytes]) -> Delivery:
    blob = row[2]
    values: list[Any] = list(row[5:])
    values[7], values[21] = Action(values[7]), Server(values[21])
    values[15] = State.UNKNOWN if values[15] == State.UNKNOWN else State.CLAIMED
    body = None if blob is None else bodies[blob][row[3] : row[3] + row[4]]
    values.insert(1, lease)
    values.append(body)
    return Delivery(*values)


def check(connection: Connection, leases: Iterable[Lease], *, not_after: float | None = None) -> None:
    """Lock the lanes of these leases.

    Raises :class:`LeaseLost` unless all are held still, and not past ``not_after``.
    """
    wanted = {(one.lane, one.worker, one.fence) for one in leases}
    lanes = sorted({number for number, _, _ in wanted})
    held = {
        (number, worker, fence)
        for chunk in moves.chunks(lanes)
        for number, worker, fence, until in connection.execute(_CHECK, {"lanes": chunk})
        if not_after is None or (until is not None and until >= not_after)
    }
    lost = {number for number, _, _ in wanted - held}
    if lost:
        raise LeaseLost(
            f"the lease of {len(lost)} of {len(lanes)} lanes is over", lanes=lost, hint="drop what belongs to them"
        )


def renew(connection: Connection, leases: Sequence[Lease], until: float) -> list[Lease]:
    """Hold on to lanes until then. Raises :class:`LeaseLost`."""
    check(connection, leases)
    moves.many(connection, _RENEW, [{"it": one.lane, "end": until} for one in leases])
    return [replace(one, until=until) for one in leases]


def release(connection: Connection, leases: Sequence[Lease], now: float) -> Rescued:
    """Give lanes back; those that are lost already are left alone."""
    try:
        check(connection, leases)
    except LeaseLost as lost:
        leases = [one for one in leases if one.lane not in lost.lanes]
    return _take_back(connection, [one.lane for one in leases], now, "released")


def rescue(connection: Connection, site: str, now: float) -> Rescued:
    """Take back the lanes of which the lease is over."""
    lanes = connection.execute(_EXPIRED, {"site": site, "now": now}).scalars().all()
    return _take_back(connection, lanes, now, "lease-over")


def _take_back(connection: Connection, lanes: Sequence[int], now: float, reason: str) -> Rescued:
    """What has not gone goes back to the queue; what may have arrived is in doubt."""
    found = list(_held_moves(connection, lanes, now, reason))
    moves.apply(connection, moves.gated(connection, found), now)
    moves.many(connection, _EMPTY, [{"it": number} for number in lanes])
    moves.free(connection, lanes, now)
    doubts = sum(one.after is State.UNKNOWN for one in found)
    return Rescued(len(lanes), len(found) - doubts, doubts)


def _held_moves(connection: Connection, lanes: Sequence[int], now: float, reason: str) -> Iterator[Move]:
    for chunk in moves.chunks(lanes):
        for number, of, state, last in connection.execute(_HELD, {"lanes": chunk}):
            if state == State.CLAIMED:
                yield Move(number, of, "release", State.CLAIMED, State.QUEUED, reason, now)
            else:
                yield Move(number, of, "lose", State.IN_FLIGHT, State.UNKNOWN, reason, now, last)


def next_due(connection: Connection, site: str) -> float | None:
    """When a lane of the site has something to hand out, or a lease ends."""
    times = [connection.execute(one, {"site": site}).scalar() for one in (_NEXT, _NEXT_END)]
    return min((one for one in times if one is not None), default=None)
