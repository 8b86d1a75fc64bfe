"""The two writes around a send: what is about to leave, and what became of it.

``begin`` is committed before the first byte. ``settle`` believes no worker whose lease is lost. The happy path is a few
statements over many rows; everything else goes through :mod:`fhirbridge.ledger.moves`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, update

from fhirbridge.errors import LedgerError
from fhirbridge.ledger import lease, moves
from fhirbridge.ledger.moves import Move
from fhirbridge.ledger.schema import bundle, delivery, lane, resource
from fhirbridge.ledger.states import Action, Server, State, reported
from fhirbridge.ledger.words import Delivery, Ended, Lease, Outgoing, Result

_BEGIN = (
    update(delivery)
    .where(delivery.c.id == bindparam("it"), delivery.c.state == State.CLAIMED, delivery.c.lane == bindparam("on"))
    .values(state=State.IN_FLIGHT, bundle=bindparam("within"), attempts=delivery.c.attempts + 1, looks=0)
)
_ACK = (
    update(delivery)
    .where(
        delivery.c.id == bindparam("it"),
        delivery.c.state == State.IN_FLIGHT,
        delivery.c.lane == bindparam("on"),
        delivery.c.bundle == bindparam("within"),
    )
    .values(state=State.ACKED, settled_at=bindparam("now"), version=bindparam("learnt"), reason=bindparam("why"))
)
_HOLDS = (
    update(resource)
    .where(resource.c.id == bindparam("it"))
    .values(
        server=bindparam("holds"),
        version=bindparam("learnt"),
        server_id=func.coalesce(bindparam("named"), resource.c.server_id),
        acked=bindparam("by"),
    )
)
_OUTGOING = insert(bundle)
LEARNT = (
    update(resource)
    .where(resource.c.id == bindparam("it"))
    .values(
        server=func.coalesce(bindparam("holds"), resource.c.server),
        version=func.coalesce(bindparam("learnt"), resource.c.version),
        server_id=func.coalesce(bindparam("named"), resource.c.server_id),
    )
)
_SETTLED = update(lane).where(lane.c.id == bindparam("it")).values(held=lane.c.held - bindparam("count"))
_END = (
    update(bundle)
    .where(bundle.c.id == bindparam("it"), bundle.c.ended_at.is_(None))
    .values(ended_at=bindparam("now"), outcome=bindparam("how"))
)
_ACKNOWLEDGED = {Action.PUT: Server.PRESENT, Action.RETRACT: Server.RETRACTED}


def begin(connection: Connection, bundles: Sequence[Outgoing], now: float) -> float:
    """Write down what is about to leave. See ``Ledger.begin``."""
    leases = _leases(one for each in bundles for one in each.deliveries)
    lease.check(connection, leases, not_after=now)
    lease.permitted(connection, leases, now)
    moves.many(connection, _OUTGOING, [_bundle(each, now) for each in bundles])
    rows = [{"it": one.id, "on": one.lease.lane, "within": each.id} for each in bundles for one in each.deliveries]
    moves.expect(moves.many(connection, _BEGIN, rows), len(rows))
    return now + min((one.timeout for one in leases), default=0.0)


def _bundle(each: Outgoing, now: float) -> dict[str, Any]:
    leases = _leases(each.deliveries)
    if len(leases) != 1:
        raise LedgerError("a bundle holds deliveries of one lane", code="ledger.bundle", hint="one patient per bundle")
    (held,) = leases
    return {
        "id": each.id,
        "lane": held.lane,
        "worker": held.worker,
        "fence": held.fence,
        "attempt": 1 + max(one.attempts for one in each.deliveries),
        "entries": len(each.deliveries),
        "digest": each.digest,
        "begun_at": now,
    }


def _leases(deliveries: Iterable[Delivery]) -> list[Lease]:
    return list({(one.lease.lane, one.lease.fence): one.lease for one in deliveries}.values())


def settle(connection: Connection, results: Sequence[Result], ended: Sequence[Ended], now: float) -> None:
    """Write down what became of deliveries. See ``Ledger.settle``."""
    lease.check(connection, _leases(one.delivery for one in results))
    proved = [one for one in results if one.bundle is not None and one.to is State.ACKED]
    rows = [
        {
            "it": one.delivery.id,
            "on": one.delivery.lease.lane,
            "within": one.bundle,
            "now": now,
            "learnt": one.version,
            "why": one.reason,
        }
        for one in proved
    ]
    moves.expect(moves.many(connection, _ACK, rows), len(rows))
    others = [one for one in results if one.bundle is None or one.to is not State.ACKED]
    moves.apply(connection, moves.gated(connection, [_move(one, now) for one in others]), now)
    _learn(connection, results)
    _give_back(connection, results, now)
    moves.many(connection, _END, [{"it": one.bundle, "now": now, "how": one.outcome} for one in ended])


def _move(one: Result, now: float) -> Move:
    before = one.delivery.state if one.bundle is None else State.IN_FLIGHT
    due = (now if one.next_at is None else one.next_at) if one.to in (State.QUEUED, State.UNKNOWN) else None
    last = one.bundle or one.delivery.bundle
    return Move(
        one.delivery.id,
        one.delivery.resource,
        reported(before, one.to),
        before,
        one.to,
        one.reason,
        due,
        last,
        one.version,
    )


def _learn(connection: Connection, results: Iterable[Result]) -> None:
    holds, learnt = [], []
    for one in results:
        row = {"it": one.delivery.resource, "learnt": one.version, "named": one.server_id, "holds": one.server}
        if one.to is State.ACKED:
            row["holds"] = one.server or _ACKNOWLEDGED[one.delivery.action]
            row["by"] = one.delivery.id
            holds.append(row)
        elif one.server or one.version or one.server_id:
            learnt.append(row)
    moves.many(connection, _HOLDS, holds)
    moves.many(connection, LEARNT, learnt)


def _give_back(connection: Connection, results: Iterable[Result], now: float) -> None:
    settled = Counter(one.delivery.lease.lane for one in results)
    moves.many(connection, _SETTLED, [{"it": number, "count": count} for number, count in settled.items()])
    moves.free(connection, settled, now)
