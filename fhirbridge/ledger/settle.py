"""The two writes around a send: what is about to leave, and what became of it.

``begin`` is committed before the first byte. ``settle`` believes no worker whose lease is lost. The happy path is a few
statements over many rows; everything else goes through :mod:`fhirbridge.ledger.moves`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, insert, select, update

from fhirbridge.errors import LedgerError
from fhirbridge.ledger import lease, moves
from fhirbridge.ledger.moves import Move
from fhirbridge.ledger.schema import bundle, delivery, lane, resource
from fhirbridge.ledger.seals import BUNDLE, SETTLED, STANDING
from fhirbridge.ledger.states import Action, Server, State, reported
from fhirbridge.ledger.words import Delivery, Ended, Lease, Outgoing, Result
from fhirbridge.vault import Vault

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
    .values(
        state=State.ACKED,
        settled_at=bindparam("now"),
        version=bindparam("learnt"),
        reason=bindparam("why"),
        mark=bindparam("proof"),
    )
)
# Its id at the site is proven along with the rest, so it must be the one that the proof was made with.
_HOLDS = (
    update(resource)
    .where(resource.c.id == bindparam("it"), resource.c.server_id.is_not_distinct_from(bindparam("was")))
    .values(
        server=bindparam("holds"),
        version=bindparam("learnt"),
        server_id=bindparam("named"),
        acked=bindparam("by"),
        standing=bindparam("proof"),
    )
)
_OUTGOING = insert(bundle)
_STANDING = select(*STANDING.columns()).where(resource.c.id.in_(bindparam("ids", expanding=True)))
_LEARNT = (
    update(resource)
    .where(resource.c.id == bindparam("it"))
    .values(
        server=bindparam("holds"),
        version=bindparam("learnt"),
        server_id=bindparam("named"),
        standing=bindparam("proof"),
    )
)
_SETTLED = update(lane).where(lane.c.id == bindparam("it")).values(held=lane.c.held - bindparam("count"))
_END = (
    update(bundle)
    .where(bundle.c.id == bindparam("it"), bundle.c.ended_at.is_(None))
    .values(ended_at=bindparam("now"), outcome=bindparam("how"))
)
_ACKNOWLEDGED = {Action.PUT: Server.PRESENT, Action.RETRACT: Server.RETRACTED}


def begin(connection: Connection, vault: Vault, bundles: Sequence[Outgoing], now: float) -> float:
    """Write down what is about to leave. See ``Ledger.begin``."""
    leases = _leases(one for each in bundles for one in each.deliveries)
    lease.check(connection, leases, not_after=now)
    lease.permitted(connection, leases, now)
    moves.many(connection, _OUTGOING, [_bundle(vault, each, now) for each in bundles])
    rows = [{"it": one.id, "on": one.lease.lane, "within": each.id} for each in bundles for one in each.deliveries]
    moves.expect(moves.many(connection, _BEGIN, rows), len(rows))
    return now + min((one.timeout for one in leases), default=0.0)


def _bundle(vault: Vault, each: Outgoing, now: float) -> dict[str, Any]:
    leases = _leases(each.deliveries)
    if len(leases) != 1:
        raise LedgerError("a bundle holds deliveries of one lane", code="ledger.bundle", hint="one patient per bundle")
    (held,) = leases
    row = {
        "id": each.id,
        "lane": held.lane,
        "worker": held.worker,
        "fence": held.fence,
        "attempt": 1 + max(one.attempts for one in each.deliveries),
        "entries": len(each.deliveries),
        # Who has the bytes can prove that it was these; nobody else can guess them.
        "digest": vault.token(each.digest),
        "begun_at": now,
    }
    return row | {BUNDLE.column: BUNDLE.of(vault, row)}


def _leases(deliveries: Iterable[Delivery]) -> list[Lease]:
    return list({(one.lease.lane, one.lease.fence): one.lease for one in deliveries}.values())


def settle(connection: Connection, vault: Vault, results: Sequence[Result], ended: Sequence[Ended], now: float) -> None:
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
            "proof": SETTLED.mark(vault, one.delivery.id, State.ACKED, now, one.version, one.bundle, one.reason),
        }
        for one in proved
    ]
    moves.expect(moves.many(connection, _ACK, rows), len(rows))
    others = [one for one in results if one.bundle is None or one.to is not State.ACKED]
    moves.apply(connection, vault, moves.gated(connection, [_move(one, now) for one in others]), now)
    _learn(connection, vault, results)
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


def _learn(connection: Connection, vault: Vault, results: Iterable[Result]) -> None:
    holds: list[Holds] = []
    learnt: list[Learnt] = []
    for one in results:
        of, named = one.delivery.resource, one.server_id
        if one.to is State.ACKED:
            server = one.server or _ACKNOWLEDGED[one.delivery.action]
            holds.append(Holds(of, server, one.version, named, one.delivery.server_id, one.delivery.id))
        elif one.server or one.version or named:
            learnt.append(Learnt(of, one.server, one.version, named))
    _hold(connection, vault, holds)
    learn(connection, vault, learnt)


class Holds(msgspec.Struct, frozen=True, gc=False):
    """What a site acknowledged: of which identity, what it holds, under which version and id (None: as it ``was``)."""

    resource: int
    server: Server
    version: str | None
    named: str | None
    was: str | None
    delivery: int


class Learnt(msgspec.Struct, frozen=True, gc=False):
    """What was found out of an identity; None is what nothing was said of."""

    resource: int
    server: Server | None
    version: str | None
    named: str | None


def _hold(connection: Connection, vault: Vault, holds: Sequence[Holds]) -> None:
    rows = [_held(vault, one) for one in holds]
    if moves.many(connection, _HOLDS, rows) == len(rows):
        return
    # Somebody learnt another id of one of them since it was claimed: that one stays.
    now = _standing(connection, vault, [one.resource for one in holds])
    rows = [_held(vault, msgspec.structs.replace(one, was=now[one.resource][3])) for one in holds]
    moves.expect(moves.many(connection, _HOLDS, rows), len(rows))


def _held(vault: Vault, one: Holds) -> dict[str, Any]:
    named = one.named or one.was
    return {
        "it": one.resource,
        "was": one.was,
        "holds": one.server,
        "learnt": one.version,
        "named": named,
        "by": one.delivery,
        "proof": STANDING.mark(vault, one.resource, one.server, one.version, named, one.delivery),
    }


def learn(connection: Connection, vault: Vault, found: Sequence[Learnt]) -> None:
    """Write down what was found out of identities; their lanes are locked. Raises :class:`LedgerError`."""
    standing = _standing(connection, vault, [one.resource for one in found])
    rows = []
    for one in found:
        _, server, version, named, acked, _ = standing[one.resource]
        values = (one.server or server, one.version or version, one.named or named)
        rows.append(
            dict(zip(("it", "holds", "learnt", "named"), (one.resource, *values), strict=True))
            | {"proof": STANDING.mark(vault, one.resource, *values, acked)}
        )
    moves.many(connection, _LEARNT, rows)


def _standing(connection: Connection, vault: Vault, resources: Sequence[int]) -> dict[int, Any]:
    found = {}
    for chunk in moves.chunks(sorted(set(resources))):
        for row in connection.execute(_STANDING, {"ids": chunk}):
            STANDING.check(vault, row)
            found[row.id] = row
    return found


def _give_back(connection: Connection, results: Iterable[Result], now: float) -> None:
    settled = Counter(one.delivery.lease.lane for one in results)
    moves.many(connection, _SETTLED, [{"it": number, "count": count} for number, count in settled.items()])
    moves.free(connection, settled, now)
