"""Sealing everything under the active key, batch by batch, while workers go on.

A batch is a transaction that holds the lanes, or the patients, of its rows: whoever changes such a row holds them too.
A row says by itself under which key it is sealed, so a run that was broken off is gone on with by starting it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Column, Connection, Select, Table, bindparam, func, literal, select, update

from fhirbridge.errors import VaultError
from fhirbridge.ledger import keep, locks, moves
from fhirbridge.ledger.schema import consent, decision, delivery, kept, lane, patient, payload, resource
from fhirbridge.ledger.seals import CONSENT, DECISION, DELIVERY, RESOURCE, body_place, payload_place, unopened
from fhirbridge.ledger.seals import Sealed as Part
from fhirbridge.ledger.store import Store
from fhirbridge.vault import Vault, key_named

_BATCH, _FEW = 500, 20


class _Column(NamedTuple):
    """A sealed column: the rows with what they are bound to, and the patient as last; the place of one; the lock."""

    column: Column[Any]
    rows: Select[Any]
    place: Callable[[Any], tuple[Any, ...]]
    lock: Callable[[Connection, Sequence[Any]], object]
    batch: int = _BATCH

    @property
    def table(self) -> Table:
        return self.column.table


def _lanes(connection: Connection, rows: Sequence[Any]) -> None:
    locks.lanes(connection, [row.on for row in rows])


def _patients(connection: Connection, rows: Sequence[Any]) -> None:
    locks.hold_patients(connection, [row.owner for row in rows])


def _of_lane(part: Part[Any]) -> Select[Any]:
    table = part.table
    return select(*part.columns(), table.c.lane.label("on"), lane.c.key.label("owner")).join(
        lane, lane.c.id == table.c.lane
    )


def _of_patient(part: Part[Any]) -> Select[Any]:
    return select(*part.columns(), patient.c.key.label("owner")).join(patient, patient.c.id == part.table.c.patient)


def _bound(part: Part[Any]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    return lambda row: part.place(row[: part.width - 1])


_COLUMNS = (
    _Column(resource.c.seal, _of_lane(RESOURCE), _bound(RESOURCE), _lanes),
    _Column(delivery.c.seal, _of_lane(DELIVERY), _bound(DELIVERY), _lanes),
    _Column(
        payload.c.data,
        select(payload.c.id, payload.c.data, payload.c.lane.label("on"), lane.c.key.label("owner")).join(
            lane, lane.c.id == payload.c.lane
        ),
        lambda row: payload_place(row.id, row.on),
        _lanes,
        _FEW,
    ),
    _Column(consent.c.seal, _of_patient(CONSENT), _bound(CONSENT), _patients),
    _Column(
        consent.c.body,
        select(consent.c.id, consent.c.body, consent.c.digest, patient.c.key.label("owner"))
        .join(patient, patient.c.id == consent.c.patient)
        .where(consent.c.body.is_not(None)),
        lambda row: body_place(row.id, row.digest),
        _patients,
    ),
    _Column(decision.c.seal, _of_patient(DECISION), _bound(DECISION), _patients),
)


def rekey(store: Store, vault: Vault) -> Iterator[int]:
    """Seal everything under the active key; after each batch, how many values it was.

    Raises :class:`LedgerError` for one that does not open: nothing is lost, what was done is done.
    """
    for one in _COLUMNS:
        after = 0
        while True:
            with store.write() as connection:
                last, count = _batch(connection, vault, one, after)
            if last is None:
                break
            after = last
            yield count
    with store.write() as connection:
        count = _kept(connection, vault)
    yield count
    store.forget()


def _batch(connection: Connection, vault: Vault, one: _Column, after: int) -> tuple[int | None, int]:
    key = one.table.c.id
    older = func.substr(one.column, 1, len(vault.prefix)) != literal(vault.prefix)
    found = connection.execute(one.rows.where(key > after, older).order_by(key).limit(one.batch)).all()
    if not found:
        return None, 0
    one.lock(connection, found)
    # Whoever held a lane or a patient may have sealed some of them anew meanwhile, or deleted them.
    again = one.rows.where(key.in_(bindparam("ids", expanding=True)), older)
    change = update(one.table).where(key == bindparam("it")).values({one.column.name: bindparam("sealed")})
    rows = []
    for row in connection.execute(again, {"ids": [row.id for row in found]}):
        try:
            plain = vault.open(row.owner, one.place(row), row._mapping[one.column.name])
        except VaultError as error:
            raise unopened(one.table, row.id, error) from None
        rows.append({"it": row.id, "sealed": vault.seal(row.owner, one.place(row), plain)})
    moves.many(connection, change, rows)
    return found[-1].id, len(rows)


def _kept(connection: Connection, vault: Vault) -> int:
    rows = connection.execute(select(kept.c.scope, kept.c.name, kept.c.value)).all()
    older = [row for row in rows if not row.value.startswith(vault.prefix)]
    for row in older:
        plain = keep.opened(vault, row.scope, row.name, row.value)
        sealed = vault.seal(keep.CLINIC, keep.place(row.scope, row.name), plain.encode())
        # One that was set anew meanwhile is sealed anew already.
        same = (kept.c.scope == row.scope, kept.c.name == row.name, kept.c.value == row.value)
        connection.execute(update(kept).where(*same).values(value=sealed))
    return len(older)


def sealed_under(connection: Connection) -> dict[str, int]:
    """How many values are sealed under each key, by its name."""
    found: dict[str, int] = {}
    for column in (*(one.column for one in _COLUMNS), kept.c.value):
        size = func.substr(column, 2, 1)
        lengths = connection.execute(select(size).where(column.is_not(None)).distinct()).scalars()
        for length in sorted(bytes(one) for one in lengths):
            head = func.substr(column, 1, 2 + int.from_bytes(length))
            counted = select(head, func.count()).where(size == length).group_by(head)
            for start, count in connection.execute(counted):
                name = key_named(bytes(start))
                found[name] = found.get(name, 0) + count
    return found
