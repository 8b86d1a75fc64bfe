"""Handing out: lanes are leased, and of each what is due and permitted goes into a worker's hands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, takewhile
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, Select, bindparam, or_, select, update

from fhirbridge.errors import VaultError
from fhirbridge.ledger import locks, moves
from fhirbridge.ledger.consents import Asked
from fhirbridge.ledger.gate import Gate
from fhirbridge.ledger.moves import Move
from fhirbridge.ledger.payload import unpack
from fhirbridge.ledger.schema import (
    FREE,
    IS_BLOCKED,
    IS_OPEN,
    IS_UNKNOWN,
    bundle,
    delivery,
    lane,
    patient,
    payload,
    resource,
)
from fhirbridge.ledger.seals import DELIVERY, RESOURCE, STANDING, Matter, payload_place, tampered, unopened
from fhirbridge.ledger.states import Action, Server, State
from fhirbridge.ledger.verdicts import Asker, judge
from fhirbridge.ledger.words import Claim, Delivery, Lease
from fhirbridge.vault import Vault

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
    .values(
        worker=bindparam("by"),
        until=bindparam("end"),
        fence=lane.c.fence + 1,
        held=bindparam("count"),
        consents=bindparam("under"),
        timeout=bindparam("longest"),
    )
)
_DECIDED = update(lane).where(lane.c.id == bindparam("it")).values(consents=bindparam("under"))
_CLAIM = (
    update(delivery).where(delivery.c.id == bindparam("it")).values(state=State.CLAIMED, decision=bindparam("under"))
)
# What was blocked by older consents, or until now.
_REVIEWED = (
    select(delivery.c.id, delivery.c.resource, delivery.c.decision)
    .join(lane, lane.c.id == delivery.c.lane)
    .join(patient, patient.c.key == lane.c.key)
    .where(
        delivery.c.lane.in_(bindparam("lanes", expanding=True)),
        IS_BLOCKED,
        or_(lane.c.consents < patient.c.version, delivery.c.review_at <= bindparam("now")),
    )
)
_DOUBTFUL = (
    select(delivery.c.lane).where(IS_UNKNOWN, delivery.c.lane.in_(bindparam("lanes", expanding=True))).distinct()
)
_OUT = (
    select(
        *DELIVERY.columns(),
        *RESOURCE.columns(prefix="of_"),
        *STANDING.columns(prefix="there_"),
        delivery.c.mark,
        delivery.c.next_at,
        delivery.c.state,
        delivery.c.attempts,
        delivery.c.looks,
        delivery.c.reason,
        delivery.c.bundle,
        bundle.c.begun_at,
    )
    .join(resource, resource.c.id == delivery.c.resource)
    .outerjoin(bundle, bundle.c.id == delivery.c.bundle)
    .where(delivery.c.lane.in_(bindparam("lanes", expanding=True)))
    .order_by(delivery.c.lane, delivery.c.event, delivery.c.id)
    .limit(bindparam("most"))
)
_QUEUE = _OUT.where(IS_OPEN)
_DOUBTS = _OUT.where(IS_UNKNOWN, delivery.c.next_at <= bindparam("now"))
_ACTIONS = {str(one): one for one in Action}
_SERVERS = {str(one): one for one in Server}
_PAYLOAD = select(payload.c.id, payload.c.lane, payload.c.data).where(
    payload.c.id.in_(bindparam("ids", expanding=True))
)
# Where the parts of a row of _OUT end.
_MATTER = DELIVERY.width
_NAMED = _MATTER + RESOURCE.width
_THERE = _NAMED + STANDING.width


class Terms(NamedTuple):
    """On which terms a worker takes lanes: how many, about how many deliveries, and for how many seconds.

    ``timeout`` is how long a request of it may last.
    """

    lanes: int
    limit: int
    lease: float
    timeout: float


class Due(msgspec.Struct, gc=False):
    """A delivery that is due: its row, what is sealed of it and of its identity, and what a gate is asked about it."""

    id: int
    resource: int
    state: str
    bundle: str | None
    row: Any
    matter: Matter
    asked: Asked


class Handed(NamedTuple):
    """What a worker was handed, and the deliveries that were due and may not go."""

    claims: list[Claim]
    stopped: set[int]


def claim(
    connection: Connection, vault: Vault, site: str, worker: str, terms: Terms, *, gate: Gate, now: float
) -> Handed:
    """Lease lanes and hand out what is due and permitted. See ``Ledger.claim``."""
    found = connection.execute(_DUE, {"site": site, "now": now, "most": terms.lanes}).all()
    for row in found:
        # SQLite takes anything in a column of text.
        if not isinstance(row.key, str):
            raise tampered(lane, row.id)
    # A patient whose consents somebody is changing at this moment is passed by.
    patients = locks.try_share_patients(connection, [row.key for row in found])
    lanes = {row.id: Asker(row.key, patients[row.key]) for row in found if row.key in patients}
    fences = {row.id: row.fence for row in found}
    unblock(connection, vault, _blocked(connection, lanes, now), "reviewed", now)
    due = {
        number: [_opened(vault, lanes[number].key, row) for row in rows]
        for number, rows in _due(connection, list(lanes), terms.limit, now).items()
    }
    judged = judge(connection, vault, gate, site, lanes, due, now)
    moves.apply(connection, vault, moves.gated(connection, judged.stopped), now)
    # Something earlier came in front that is not due yet, or nothing is left, or may go.
    left = [number for number in lanes if number not in judged.out]
    decided = [{"it": number, "under": lanes[number].patient.version} for number in left if number in due]
    moves.many(connection, _DECIDED, decided)
    moves.free(connection, left, now)
    leases = {
        number: Lease(
            number,
            lanes[number].key,
            site,
            worker,
            fences[number] + 1,
            now + terms.lease,
            lanes[number].patient.version,
            terms.timeout,
            judged.until.get(number),
        )
        for number in lanes
        if number in judged.out
    }
    _take(connection, leases, judged.out)
    blobs = {one.row.payload: leases[number] for number, several in judged.out.items() for one, _ in several}
    bodies = _bodies(connection, vault, blobs)
    claims = [
        Claim(one, tuple(_delivery(due, one, bodies) for due, _ in judged.out[number]))
        for number, one in leases.items()
    ]
    return Handed(claims, {one.delivery for one in judged.stopped})


def _blocked(connection: Connection, lanes: Iterable[int], now: float) -> list[Any]:
    return [
        row
        for chunk in moves.chunks(sorted(lanes))
        for row in connection.execute(_REVIEWED, {"lanes": chunk, "now": now})
    ]


def unblock(connection: Connection, vault: Vault, rows: Iterable[Any], reason: str, now: float) -> None:
    """Blocked deliveries back to the queue, to be decided anew; each a row of its id, resource and decision."""
    moves.apply(
        connection,
        vault,
        [
            Move(row.id, row.resource, "unblock", State.BLOCKED, State.QUEUED, reason, decision=row.decision)
            for row in rows
        ],
        now,
    )


def _due(connection: Connection, lanes: Sequence[int], limit: int, now: float) -> dict[int, list[Row[Any]]]:
    doubtful = _doubtful(connection, lanes)
    clear = [number for number in lanes if number not in doubtful]
    out = _handed_out(connection, _DOUBTS, sorted(doubtful), limit, now)
    return out | _handed_out(connection, _QUEUE, clear, limit, now)


def _take(connection: Connection, leases: Mapping[int, Lease], out: Mapping[int, Sequence[tuple[Due, int]]]) -> None:
    taken = [
        {
            "it": number,
            "by": one.worker,
            "end": one.until,
            "count": len(out[number]),
            "under": one.consents,
            "longest": one.timeout,
        }
        for number, one in leases.items()
    ]
    moves.many(connection, _TAKE, taken)
    claimed = [
        {"it": one.id, "under": decided} for rows in out.values() for one, decided in rows if one.state == State.QUEUED
    ]
    moves.expect(moves.many(connection, _CLAIM, claimed), len(claimed))


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


def _record(row: Row[Any]) -> tuple[str, str, float]:
    return row.of_kind, row.of_record, row.event


def _bodies(connection: Connection, vault: Vault, leases: Mapping[int | None, Lease]) -> dict[int, bytes]:
    wanted = sorted(number for number in leases if number is not None)
    found: dict[int, bytes] = {}
    for chunk in moves.chunks(wanted):
        for number, on, data in connection.execute(_PAYLOAD, {"ids": chunk}):
            try:
                found[number] = unpack(vault, leases[number].key, payload_place(number, on), data)
            except VaultError as error:
                raise unopened(payload, number, error) from None
    for number in wanted:
        if number not in found:
            raise tampered(payload, number)
    return found


def _opened(vault: Vault, key: str, row: Any) -> Due:
    """What is hidden in a row, once it is certain that nobody edited it. Raises :class:`LedgerError`."""
    matter = DELIVERY.open(vault, key, row[:_MATTER])
    named = RESOURCE.open(vault, key, row[_MATTER:_NAMED])
    STANDING.check(vault, row[_NAMED:_THERE])
    mark, _, state, _, _, _, last, _ = row[_THERE:]
    if mark is not None:
        # It was open, and settled before; or somebody opened it again.
        raise tampered(delivery, row[0])
    _, _, kind, _, role, generation, _, resource_type = row[_MATTER : _MATTER + 8]
    _, server, _, _, acked = row[_NAMED : _THERE - 1]
    asked = Asked(
        kind,
        named.record,
        role,
        generation,
        matter.revision,
        resource_type,
        _ACTIONS[row[4]],
        matter.subject,
        _SERVERS[server],
        acked is not None,
    )
    return Due(row[0], row[1], state, last, row, matter, asked)


def _delivery(due: Due, lease: Lease, bodies: dict[int, bytes]) -> Delivery:
    row, asked = due.row, due.asked
    number, of, _, event, _, content, mapping, urgent, run, _, blob, start, length = row[: _MATTER - 1]
    _, _, version, server_id, acked = row[_NAMED : _THERE - 1]
    _, _, state, attempts, looks, reason, last, begun_at = row[_THERE:]
    return Delivery(
        number,
        lease,
        of,
        asked.kind,
        asked.record,
        asked.role,
        asked.generation,
        asked.revision,
        asked.action,
        asked.resource_type,
        row[_MATTER + 8],
        content,
        mapping,
        urgent,
        event,
        run,
        State.UNKNOWN if state == State.UNKNOWN else State.CLAIMED,
        attempts,
        looks,
        reason,
        last,
        begun_at,
        asked.server,
        version,
        server_id,
        acked,
        asked.subject,
        None if blob is None else bodies[blob][start : start + length],
    )
