"""How a delivery moves: rows changed only from the state they are believed in, and the story kept.

Whoever calls anything here that changes a delivery holds the lock of its lane.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import Connection, Dialect, UpdateBase, bindparam, case, exists, func, insert, or_, select, update

from fhirbridge.errors import LedgerError
from fhirbridge.ledger.schema import IS_BLOCKED, IS_OPEN, IS_UNKNOWN, IS_URGENT, delivery, event, lane, resource
from fhirbridge.ledger.seals import EVENT, SETTLED
from fhirbridge.ledger.states import FAILED, OPEN, State, after
from fhirbridge.vault import Vault

T = TypeVar("T")
# Below what either database takes as parameters of one statement.
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Move:
    """One delivery's move, off the happy path. What is None stays as it is; ``bundle`` is the attempt that it ends.

    ``decision`` is that of a gate; ``review_at``, when a block may end by itself, is forgotten with the next move.
    """

    delivery: int
    resource: int
    event: str
    before: State
    after: State
    reason: str | None = None
    next_at: float | None = None
    bundle: str | None = None
    version: str | None = None
    decision: int | None = None
    review_at: float | None = None


_MOVE = (
    update(delivery)
    .where(delivery.c.id == bindparam("it"), delivery.c.state == bindparam("before"))
    .values(
        state=bindparam("after"),
        settled_at=bindparam("settled"),
        next_at=func.coalesce(bindparam("due"), delivery.c.next_at),
        reason=func.coalesce(bindparam("why"), delivery.c.reason),
        version=func.coalesce(bindparam("learnt"), delivery.c.version),
        looks=delivery.c.looks + bindparam("looked"),
        decision=func.coalesce(bindparam("under"), delivery.c.decision),
        review_at=bindparam("review"),
        mark=bindparam("proof"),
    )
)
# What a move leaves as it is, and its mark has to prove.
_STAYS = select(delivery.c.id, delivery.c.version, delivery.c.bundle, delivery.c.reason).where(
    delivery.c.id.in_(bindparam("ids", expanding=True))
)
_NEWEST = (
    select(func.max(delivery.c.id)).where(delivery.c.resource == resource.c.id).correlate(resource).scalar_subquery()
)
# Deliveries that must not go any more: a newer one waits, or a retraction.
_OVERTAKEN = (
    select(delivery.c.id, resource.c.withdrawn)
    .join(resource, resource.c.id == delivery.c.resource)
    .where(delivery.c.id.in_(bindparam("ids", expanding=True)), delivery.c.id != _NEWEST)
)
_DOUBT = select(func.min(delivery.c.next_at)).where(delivery.c.lane == lane.c.id, IS_UNKNOWN).correlate(lane)
_HEAD = (
    select(delivery.c.next_at)
    .where(delivery.c.lane == lane.c.id, IS_OPEN)
    .order_by(delivery.c.event, delivery.c.id)
    .limit(1)
    .correlate(lane)
)
_REVIEW = select(func.min(delivery.c.review_at)).where(delivery.c.lane == lane.c.id, IS_BLOCKED).correlate(lane)
_URGENT = exists().where(delivery.c.lane == lane.c.id, IS_URGENT).correlate(lane)
_WAITING = select(
    lane.c.id, _DOUBT.scalar_subquery(), _HEAD.scalar_subquery(), _REVIEW.scalar_subquery(), _URGENT
).where(lane.c.id.in_(bindparam("lanes", expanding=True)), lane.c.held == 0)
_FREE = (
    update(lane)
    .where(lane.c.id == bindparam("it"))
    .values(worker=None, until=None, ready_at=bindparam("due"), priority=bindparam("order"))
)
_READY = (
    update(lane)
    .where(lane.c.id == bindparam("it"))
    .values(
        ready_at=case(
            (or_(lane.c.ready_at.is_(None), lane.c.ready_at > bindparam("now")), bindparam("now")),
            else_=lane.c.ready_at,
        ),
        priority=case((lane.c.priority > bindparam("order"), bindparam("order")), else_=lane.c.priority),
    )
)
_TELL = insert(event)


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """``values`` in pieces that fit into one statement."""
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


def many(connection: Connection, statement: UpdateBase, rows: list[dict[str, Any]]) -> int:
    """Run a statement for each of ``rows``; how many rows of the table it changed altogether.

    SQLAlchemy compiles it once; its own way of binding takes five microseconds a row, half of what a delivery costs.
    """
    if not rows:
        return 0
    sql, names, constants = _compiled(statement, connection.dialect, tuple(rows[0]))
    if constants:
        rows = [constants | row for row in rows]
    if names is None:
        return connection.exec_driver_sql(sql, rows).rowcount
    # Of one name alone itemgetter makes no tuple.
    values = list(map(itemgetter(*names), rows)) if len(names) > 1 else [(row[names[0]],) for row in rows]
    return connection.exec_driver_sql(sql, values).rowcount


@lru_cache(maxsize=256)
def _compiled(
    statement: UpdateBase, dialect: Dialect, keys: tuple[str, ...]
) -> tuple[str, tuple[str, ...] | None, dict[str, Any]]:
    """The statement's text, the order of its parameters if it goes by order, and those that no row names."""
    compiled = statement.compile(dialect=dialect, column_keys=list(keys))
    constants = {name: value for name, value in compiled.params.items() if name not in keys}
    names = tuple(compiled.positiontup) if compiled.positional and compiled.positiontup else None
    return str(compiled), names, constants


def overtaken(connection: Connection, ids: Sequence[int]) -> dict[int, bool]:
    """Which of these deliveries are not the newest of their identity, and whether a retraction is why."""
    return {
        number: withdrawn
        for chunk in chunks(ids)
        for number, withdrawn in connection.execute(_OVERTAKEN, {"ids": chunk})
    }


def gated(connection: Connection, moves: Sequence[Move]) -> list[Move]:
    """The same moves, but what a newer revision or a retraction has overtaken neither waits nor fails: it ends."""
    late = overtaken(connection, [one.delivery for one in moves if one.after is State.QUEUED or one.after in FAILED])
    return [_ended(one, late[one.delivery]) if one.delivery in late else one for one in moves]


def _ended(move: Move, withdrawn: bool) -> Move:
    name = "withdraw" if withdrawn else "supersede"
    return replace(move, event=name, after=after(name, move.before))


def apply(connection: Connection, vault: Vault, moves: Sequence[Move], now: float) -> None:
    """Make the moves and write them into the history.

    Raises :class:`LedgerError` where a delivery is not as believed.
    """
    marks = _marks(connection, vault, [one for one in moves if one.after not in OPEN], now)
    rows = [
        {
            "it": one.delivery,
            "before": one.before,
            "after": one.after,
            "settled": None if one.after in OPEN else now,
            "due": one.next_at,
            "why": one.reason,
            "learnt": one.version,
            "looked": int(one.event == "look"),
            "under": one.decision,
            "review": one.review_at,
            "proof": marks.get(one.delivery),
        }
        for one in moves
    ]
    expect(many(connection, _MOVE, rows), len(rows))
    told(connection, vault, moves, now)


def _marks(connection: Connection, vault: Vault, moves: Sequence[Move], now: float) -> dict[int, bytes]:
    stays = {
        row.id: row
        for chunk in chunks([one.delivery for one in moves])
        for row in connection.execute(_STAYS, {"ids": chunk})
    }
    found = {}
    for one in moves:
        if (row := stays.get(one.delivery)) is not None:
            version = row.version if one.version is None else one.version
            reason = row.reason if one.reason is None else one.reason
            found[row.id] = SETTLED.mark(vault, row.id, one.after, now, version, row.bundle, reason)
    return found


def told(connection: Connection, vault: Vault, moves: Iterable[Move], now: float) -> None:
    """Write moves into the history."""
    tell(
        connection,
        vault,
        [
            {
                "resource": one.resource,
                "delivery": one.delivery,
                "at": now,
                "event": one.event,
                "before": one.before,
                "after": one.after,
                "bundle": one.bundle,
                "reason": one.reason or "",
                "decision": one.decision,
            }
            for one in moves
        ],
    )


_UNTOLD = dict.fromkeys(EVENT.bound)


def tell(connection: Connection, vault: Vault, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write events into the history; what a row does not name is empty."""
    whole = [{**_UNTOLD, **row} for row in rows]
    many(connection, _TELL, [row | {EVENT.column: EVENT.of(vault, row)} for row in whole])


def expect(changed: int, wanted: int) -> None:
    """Raises :class:`LedgerError` unless every row was found in the state it had to be in."""
    if changed != wanted:
        raise LedgerError(
            f"{wanted - changed} of {wanted} deliveries are not in the state this move begins with",
            code="ledger.transition",
            hint="nothing was changed; claim again",
        )


def free(connection: Connection, lanes: Iterable[int], now: float) -> None:
    """Give back the lanes of which nothing is held any more, and say when each has something to hand out.

    A doubt comes first, since nothing passes it; else the head of the queue, or what is blocked until some time. Never
    earlier than now: a lane that had its turn goes behind those that wait.
    """
    rows = []
    for chunk in chunks(sorted(set(lanes))):
        for number, doubt, head, review, urgent in connection.execute(_WAITING, {"lanes": chunk}):
            due = min((one for one in (head, review) if one is not None), default=None) if doubt is None else doubt
            rows.append({"it": number, "due": None if due is None else max(due, now), "order": int(not urgent)})
    many(connection, _FREE, rows)


def ready(connection: Connection, lanes: Mapping[int, int], now: float) -> None:
    """Lanes that got something new, with the most pressing priority of it."""
    many(connection, _READY, [{"it": number, "now": now, "order": order} for number, order in lanes.items()])
