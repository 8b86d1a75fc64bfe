"""Leases: which worker holds which lane, whether what it holds is permitted still, and taking lanes back.

A lease is a row of ``lane`` with a worker and a fence. The fence grows with every claim, so a worker that slept through
the end of its lease is told apart from the one that came after it. That worker may be sending still, until the last
request that it could have begun is over: ``stray_until``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from sqlalchemy import Connection, and_, bindparam, case, func, or_, select, update

from fhirbridge.errors import ConsentChanged, LeaseLost
from fhirbridge.ledger import locks, moves
from fhirbridge.ledger.moves import Move
from fhirbridge.ledger.schema import FREE, IS_OPEN, IS_REQUESTED, LEASED, delivery, lane, patient
from fhirbridge.ledger.states import State
from fhirbridge.ledger.words import Lease, Rescued
from fhirbridge.vault import Vault

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
_LAST = lane.c.until + lane.c.timeout
# Its worker does not know that the lane is lost, and may be in a request that it began just before.
_STRAY = (
    update(lane)
    .where(lane.c.id == bindparam("it"))
    .values(stray_until=case((lane.c.stray_until > _LAST, lane.c.stray_until), else_=_LAST))
)
_EMPTY = update(lane).where(lane.c.id == bindparam("it")).values(held=0)
_RENEW = update(lane).where(lane.c.id == bindparam("it")).values(until=bindparam("end"))
_NEXT = select(func.min(lane.c.ready_at)).where(lane.c.site == bindparam("site"), FREE)
_NEXT_END = select(func.min(lane.c.until)).where(lane.c.site == bindparam("site"), LEASED)
# When changed consents of the site's patients become effective at the latest.
_hindering = lane.alias("hindering")
_NEXT_EFFECT = (
    select(
        func.min(
            case(
                (_hindering.c.id.is_not(None), patient.c.requested_at + _hindering.c.timeout),
                else_=patient.c.requested_at,
            )
        )
    )
    .select_from(patient)
    .join(lane, and_(lane.c.key == patient.c.key, lane.c.site == bindparam("site")))
    .outerjoin(
        _hindering,
        and_(
            _hindering.c.key == patient.c.key,
            or_(_hindering.c.worker.is_not(None), _hindering.c.stray_until > bindparam("now")),
        ),
    )
    .where(IS_REQUESTED)
)


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


def permitted(connection: Connection, leases: Sequence[Lease], now: float) -> None:
    """Keep the consents of the leases' patients as they are until the end of the transaction.

    Raises :class:`ConsentChanged` where they are not those by which the lanes were handed out, or the time of a
    permission is over.
    """
    seen = locks.share_patients(connection, [one.key for one in leases])
    changed = [
        one.lane
        for one in leases
        if seen[one.key].version != one.consents or (one.permitted_until is not None and now >= one.permitted_until)
    ]
    if changed:
        raise ConsentChanged(
            f"the consents of {len(changed)} of {len(leases)} patients have to be looked at again",
            lanes=changed,
            hint="give the lanes back; what is permitted is handed out again",
        )


def renew(connection: Connection, leases: Sequence[Lease], until: float) -> list[Lease]:
    """Hold on to lanes until then. Raises :class:`LeaseLost`."""
    check(connection, leases)
    moves.many(connection, _RENEW, [{"it": one.lane, "end": until} for one in leases])
    return [replace(one, until=until) for one in leases]


def release(connection: Connection, vault: Vault, leases: Sequence[Lease], now: float) -> Rescued:
    """Give lanes back; those that are lost already are left alone."""
    try:
        check(connection, leases)
    except LeaseLost as lost:
        leases = [one for one in leases if one.lane not in lost.lanes]
    return take_back(connection, vault, [one.lane for one in leases], now, "released")


def rescue(connection: Connection, vault: Vault, site: str, now: float) -> Rescued:
    """Take back the lanes of which the lease is over."""
    lanes = connection.execute(_EXPIRED, {"site": site, "now": now}).scalars().all()
    moves.many(connection, _STRAY, [{"it": number} for number in lanes])
    return take_back(connection, vault, lanes, now, "lease-over")


def take_back(connection: Connection, vault: Vault, lanes: Sequence[int], now: float, reason: str) -> Rescued:
    """What has not gone goes back to the queue; what may have arrived is in doubt."""
    found = list(_held_moves(connection, lanes, now, reason))
    moves.apply(connection, vault, moves.gated(connection, found), now)
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


def next_due(connection: Connection, site: str, now: float) -> float | None:
    """When a lane of the site has something to hand out, a lease ends, or changed consents become effective."""
    times = [connection.execute(one, {"site": site, "now": now}).scalar() for one in (_NEXT, _NEXT_END, _NEXT_EFFECT)]
    return min((one for one in times if one is not None), default=None)
