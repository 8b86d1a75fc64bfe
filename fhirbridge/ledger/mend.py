"""What people and ``verify`` do to the ledger: take over what the site holds, replay, send once more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, case, func, insert, select, update

from fhirbridge.ledger import locks, moves
from fhirbridge.ledger.enqueue import made
from fhirbridge.ledger.look import conditions
from fhirbridge.ledger.moves import Move
from fhirbridge.ledger.numbers import allot
from fhirbridge.ledger.revision import rank
from fhirbridge.ledger.schema import IS_FAILED, delivery, lane, patient, payload, resource
from fhirbridge.ledger.seals import DELIVERY, RESOURCE, SETTLED, STANDING, Matter, Named
from fhirbridge.ledger.settle import Learnt
from fhirbridge.ledger.settle import learn as write_down
from fhirbridge.ledger.states import Action, Server, State, after
from fhirbridge.ledger.words import Adopted, Where
from fhirbridge.vault import Vault

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
_RESOURCES = insert(resource)
_LANES = select(resource.c.lane).where(resource.c.id.in_(bindparam("ids", expanding=True)))
_NEWEST = (
    select(func.max(delivery.c.id)).where(delivery.c.resource == resource.c.id).correlate(resource).scalar_subquery()
)
_AGAIN = update(delivery).where(delivery.c.id == bindparam("it")).values(attempts=0, looks=0)


def adopt(connection: Connection, vault: Vault, found: Sequence[Adopted], *, site: str, run: str, now: float) -> int:
    """Write down what the site holds, as deliveries that it acknowledged. Identities that are known are left alone."""
    lanes = locks.lanes_of(connection, site, {one.lane for one in found})
    there = _there(connection, vault, site, found)
    new = {
        (one.kind, one.record, one.role, one.generation): one
        for one in found
        if (one.kind, vault.token(one.record), one.role, one.generation) not in there
    }
    resources, deliveries = [], []
    of, numbers = allot(connection, resource, len(new)), allot(connection, delivery, len(new))
    for owner, number, one in zip(of, numbers, new.values(), strict=True):
        withdrawn = one.server is Server.RETRACTED
        row: dict[str, Any] = {
            "id": owner,
            "site": site,
            "kind": one.kind,
            "record": vault.token(one.record),
            "role": one.role,
            "generation": one.generation,
            "lane": lanes[one.lane],
            "resource_type": one.resource_type,
            "resource_id": one.resource_id,
            "withdrawn": withdrawn,
            "server": one.server,
            "version": one.version,
            "server_id": one.server_id,
            "acked": number,
        }
        row["seal"] = RESOURCE.seal(vault, one.lane, row, Named(one.record, str(one.revision), rank(one.revision)))
        row["standing"] = STANDING.of(vault, row)
        resources.append(row)
        row = {
            "id": number,
            "resource": owner,
            "lane": lanes[one.lane],
            "state": after("import", None),
            "event": 0.0,
            "next_at": now,
            "settled_at": now,
            "attempts": 0,
            "looks": 0,
            "bundle": None,
            "reason": "",
            "version": one.version,
            "action": Action.RETRACT if withdrawn else Action.PUT,
            "content": one.content,
            "mapping": one.mapping,
            "urgent": False,
            "run": run,
            "enqueued_at": now,
            "payload": None,
            "start": 0,
            "length": 0,
        }
        row["seal"] = DELIVERY.seal(vault, one.lane, row, Matter(str(one.revision), ""))
        row["mark"] = SETTLED.of(vault, row)
        deliveries.append(row)
    moves.many(connection, _RESOURCES, resources)
    made(connection, vault, deliveries)
    moves.many(connection, _FOUND, [{"it": lanes[key]} for key in sorted({one.lane for one in new.values()})])
    story = [
        {"resource": row["resource"], "delivery": row["id"], "at": now, "event": "import"}
        | {"after": row["state"], "reason": ""}
        for row in deliveries
    ]
    moves.tell(connection, vault, story)
    return len(new)


def _there(connection: Connection, vault: Vault, site: str, found: Sequence[Adopted]) -> set[tuple[str, str, str, int]]:
    """By kind, hash of the record, role and generation."""
    records: dict[str, set[str]] = {}
    for one in found:
        records.setdefault(one.kind, set()).add(vault.token(one.record))
    return {
        (kind, *row)
        for kind, several in records.items()
        for chunk in moves.chunks(sorted(several))
        for row in connection.execute(_THERE, {"site": site, "kind": kind, "records": chunk})
    }


def learn(
    connection: Connection,
    vault: Vault,
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
    write_down(connection, vault, [Learnt(number, server, version, server_id)])
    said = f"{server}: {reason}" if reason else server
    moves.tell(connection, vault, [{"resource": number, "at": now, "event": "learn", "reason": said}])


def _lock_of(connection: Connection, resources: Sequence[int]) -> None:
    locks.lanes(
        connection,
        [one for chunk in moves.chunks(resources) for one in connection.execute(_LANES, {"ids": chunk}).scalars()],
    )


def replay(connection: Connection, vault: Vault, where: Where, now: float) -> int:
    """Failed deliveries back to the queue, their attempts counted anew; not those that a newer revision overtook.

    Raises :class:`LedgerError` (``ledger.tampered``) where one of them did not fail as it says.
    """
    chosen = select(*SETTLED.columns(), delivery.c.resource, delivery.c.lane, delivery.c.urgent).join(
        resource, resource.c.id == delivery.c.resource
    )
    chosen = chosen.where(IS_FAILED, delivery.c.id == _NEWEST, *conditions(vault, where))
    locks.lanes(connection, [row.lane for row in connection.execute(chosen)])
    rows = connection.execute(chosen).all()
    for row in rows:
        SETTLED.check(vault, row[: SETTLED.width])
    back = [
        Move(row.id, row.resource, "replay", State(row.state), after("replay", State(row.state)), "", now)
        for row in rows
    ]
    moves.apply(connection, vault, back, now)
    moves.many(connection, _AGAIN, [{"it": row.id} for row in rows])
    moves.ready(connection, _pressing(rows), now)
    return len(rows)


def resend(connection: Connection, vault: Vault, resources: Sequence[int], *, run: str, now: float) -> int:
    """The newest body of each identity once more, where the site had acknowledged it and it is not withdrawn.

    Not what was purged. Raises :class:`LedgerError` (``ledger.tampered``) for one that was edited.
    """
    _lock_of(connection, resources)
    rows: list[Any] = []
    for chunk in moves.chunks(sorted(set(resources))):
        chosen = (
            select(delivery, lane.c.key)
            .join(resource, resource.c.id == delivery.c.resource)
            .join(lane, lane.c.id == delivery.c.lane)
            .join(payload, payload.c.id == delivery.c.payload)
            .where(
                resource.c.id.in_(chunk),
                resource.c.withdrawn.is_(False),
                delivery.c.id == _NEWEST,
                delivery.c.state == State.ACKED,
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
        "mark": None,
    }
    copies = []
    for number, row in zip(allot(connection, delivery, len(rows)), rows, strict=True):
        old = dict(row._mapping)
        key = old.pop("key")
        SETTLED.check(vault, [old[name] for name in (*SETTLED.bound, SETTLED.column)])
        hidden = DELIVERY.open(vault, key, [old[name] for name in (*DELIVERY.bound, DELIVERY.column)])
        copy = old | anew | {"id": number}
        copies.append(copy | {"seal": DELIVERY.seal(vault, key, copy, hidden)})
    made(connection, vault, copies)
    moves.ready(connection, _pressing(rows), now)
    return len(rows)


def _pressing(rows: Sequence[Any]) -> dict[int, int]:
    orders: dict[int, int] = {}
    for row in rows:
        orders[row.lane] = min(orders.get(row.lane, 1), int(not row.urgent))
    return orders
