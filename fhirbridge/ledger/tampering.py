"""Looking for rows that are not as the ledger wrote them: each proof is made anew and compared, nothing is changed.

What changes all the time carries no proof, and an edit of it is not seen here: who holds a lane, until when and what is
due (``fhirbridge_lane``), when an open delivery goes next, its attempts and its last reason, when consents became
effective, how a bundle ended, which of a patient's own decisions a delivery names. Nor is a deleted line of the
history, a decision or a bundle that nothing names any more, or the body of a delivery that is over (``purge`` deletes
those). Putting back a whole older file is not seen either: nothing in it is wrong. The audit trail knows of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, Table, bindparam, func, select

from fhirbridge.errors import LedgerError, VaultError
from fhirbridge.ledger import keep
from fhirbridge.ledger.evidence import Papers, evidence_of
from fhirbridge.ledger.payload import unpack
from fhirbridge.ledger.schema import bundle, consent, decision, delivery, event, kept, lane, patient, payload, resource
from fhirbridge.ledger.seals import (
    BUNDLE,
    CONSENT,
    DECISION,
    DELIVERY,
    EVENT,
    RESOURCE,
    SETTLED,
    STANDING,
    TALLY,
    Paper,
    payload_place,
)
from fhirbridge.ledger.states import FAILED, OPEN, State
from fhirbridge.ledger.store import Store
from fhirbridge.ledger.tally import check as check_tally
from fhirbridge.vault import Vault

_PAGE = 1_000
# Blobs of 256 KB.
_FEW = 50
# What has not gone yet, or waits for a person, needs its body.
_NEEDED = OPEN | FAILED | {State.BLOCKED}


class Tampered(NamedTuple):
    """A row that is not as it was written. ``what`` says which part of it, in words."""

    table: str
    id: int | str
    what: str


Row = Sequence[Any]
Check = Callable[[Vault, Row], Iterator[str]]


class _Reading(NamedTuple):
    """How the rows of a table are read, by ``key`` in pages, and what is wrong with one."""

    table: Table
    key: ColumnElement[Any]
    rows: Select[Any]
    check: Check
    page: int = _PAGE


def tampered(store: Store, vault: Vault) -> Iterator[Tampered]:
    """Every row that is not as it was written; each page is a transaction of its own. See the module's docstring."""
    for reading in _READINGS:
        first = True
        after: Any = None
        while first or after is not None:
            with store.read_anything() as connection:
                rows = _page(connection, reading, after)
            first, after = False, rows[-1][0] if len(rows) == reading.page else None
            for row in rows:
                for what in reading.check(vault, row):
                    yield Tampered(reading.table.name, row[0], what)
    yield from _patients(store, vault)
    yield from _kept(store, vault)


def _page(connection: Connection, reading: _Reading, after: Any) -> list[Row]:
    statement = reading.rows if after is None else reading.rows.where(reading.key > bindparam("after"))
    statement = statement.order_by(reading.key).limit(reading.page)
    return _raw(connection, statement, {} if after is None else {"after": after})


def _raw(connection: Connection, statement: Select[Any], values: dict[str, Any]) -> list[Row]:
    """The rows as the driver gives them: what SQLAlchemy makes of values it may not be able to make of edited ones."""
    compiled = statement.compile(dialect=connection.dialect, compile_kwargs={"render_postcompile": True})
    whole = {**compiled.params, **values}
    places = compiled.positiontup
    found = connection.exec_driver_sql(str(compiled), whole if places is None else tuple(whole[one] for one in places))
    return [tuple(row) for row in found]


def _holds(prove: Callable[..., object], *values: object) -> bool:
    try:
        prove(*values)
    except (LedgerError, VaultError, ValueError, TypeError):
        # Text that is no text cannot even be compared.
        return False
    return True


def _truth(value: object) -> object:
    # SQLite keeps a truth as a number.
    return bool(value) if value in (0, 1) else value


def _with_truth(values: Row, place: int) -> Row:
    return (*values[:place], _truth(values[place]), *values[place + 1 :])


_WITHDRAWN = RESOURCE.bound.index("withdrawn")
_URGENT = DELIVERY.bound.index("urgent")
_acked = delivery.alias("acked")
_owner = patient.alias("owner")


def _resource(vault: Vault, row: Row) -> Iterator[str]:
    named, standing = row[: RESOURCE.width], row[RESOURCE.width : -3]
    key, acked_of, acked_state = row[-3:]
    if key is None or not _holds(RESOURCE.open, vault, key, _with_truth(named, _WITHDRAWN)):
        yield "which resource it is"
    if not _holds(STANDING.check, vault, standing):
        yield "what the site is known to hold"
    elif standing[4] is not None and (acked_of, acked_state) != (row[0], State.ACKED):
        yield "the delivery that the site acknowledged last"


def _delivery(vault: Vault, row: Row) -> Iterator[str]:
    matter, end = row[: DELIVERY.width], row[DELIVERY.width : DELIVERY.width + SETTLED.width]
    key, of_lane, blob, named, decided, decided_of, sent, sent_on = row[DELIVERY.width + SETTLED.width :]
    state, mark = end[1], end[-1]
    if key is None or of_lane != matter[2] or not _holds(DELIVERY.open, vault, key, _with_truth(matter, _URGENT)):
        yield "what is to be delivered"
    if (mark is not None) if state in OPEN else not _holds(SETTLED.check, vault, end):
        yield "where it stands"
    if state in _NEEDED and matter[10] is not None and blob is None:
        yield "its body is gone"
    if named is not None and (decided is None or decided_of != key):
        yield "the decision on it"
    if sent is not None and sent_on != matter[2]:
        yield "the bundle it went in"


def _lane(vault: Vault, row: Row) -> Iterator[str]:
    proof, count, known = row[: TALLY.width], row[-2], row[-1]
    if known is None:
        yield "its patient is gone"
    if not _holds(check_tally, vault, proof) or proof[3] != count:
        yield "how many deliveries there are of it"


def _bundle(vault: Vault, row: Row) -> Iterator[str]:
    if not _holds(BUNDLE.check, vault, row):
        yield "what was sent"


def _event(vault: Vault, row: Row) -> Iterator[str]:
    if row[-1] is None or not _holds(EVENT.check, vault, row[1:-1]):
        yield "what happened"


def _decision(vault: Vault, row: Row) -> Iterator[str]:
    if row[-1] is None or not _holds(DECISION.open, vault, row[-1], row[:-1]):
        yield "what was decided"


def _payload(vault: Vault, row: Row) -> Iterator[str]:
    number, on, data, key = row
    if key is None or not _holds(unpack, vault, key, payload_place(number, on), data):
        yield "the bodies"


_COUNT = select(func.count()).where(delivery.c.lane == lane.c.id).correlate(lane).scalar_subquery()
_READINGS = (
    _Reading(
        resource,
        resource.c.id,
        select(
            *RESOURCE.columns(),
            *STANDING.columns(prefix="there_"),
            lane.c.key,
            _acked.c.resource.label("acked_of"),
            _acked.c.state.label("acked_state"),
        )
        .outerjoin(lane, lane.c.id == resource.c.lane)
        .outerjoin(_acked, _acked.c.id == resource.c.acked),
        _resource,
    ),
    _Reading(
        delivery,
        delivery.c.id,
        select(
            *DELIVERY.columns(),
            *SETTLED.columns(prefix="end_"),
            lane.c.key,
            resource.c.lane.label("of_lane"),
            payload.c.id.label("blob"),
            delivery.c.decision.label("named"),
            decision.c.id.label("decided"),
            _owner.c.key.label("decided_of"),
            delivery.c.bundle.label("sent"),
            bundle.c.lane.label("sent_on"),
        )
        .outerjoin(lane, lane.c.id == delivery.c.lane)
        .outerjoin(resource, resource.c.id == delivery.c.resource)
        .outerjoin(payload, payload.c.id == delivery.c.payload)
        .outerjoin(decision, decision.c.id == delivery.c.decision)
        .outerjoin(_owner, _owner.c.id == decision.c.patient)
        .outerjoin(bundle, bundle.c.id == delivery.c.bundle),
        _delivery,
    ),
    _Reading(
        lane,
        lane.c.id,
        select(*TALLY.columns(), _COUNT.label("count"), patient.c.id.label("known")).outerjoin(
            patient, patient.c.key == lane.c.key
        ),
        _lane,
    ),
    _Reading(bundle, bundle.c.id, select(*BUNDLE.columns()), _bundle),
    _Reading(
        event,
        event.c.id,
        select(event.c.id, *EVENT.columns(prefix="e_"), resource.c.id.label("there")).outerjoin(
            resource, resource.c.id == event.c.resource
        ),
        _event,
    ),
    _Reading(
        decision,
        decision.c.id,
        select(*DECISION.columns(), patient.c.key).outerjoin(patient, patient.c.id == decision.c.patient),
        _decision,
    ),
    _Reading(
        payload,
        payload.c.id,
        select(payload.c.id, payload.c.lane, payload.c.data, lane.c.key).outerjoin(lane, lane.c.id == payload.c.lane),
        _payload,
        _FEW,
    ),
)
_PAPERS = (
    select(patient.c.id.label("of"), patient.c.key, patient.c.version, patient.c.seal.label("proof"), consent.c.body)
    .add_columns(*CONSENT.columns())
    .outerjoin(consent, consent.c.patient == patient.c.id)
    .order_by(patient.c.id, consent.c.id)
)
_STRAYS = select(consent.c.id).outerjoin(patient, patient.c.id == consent.c.patient).where(patient.c.id.is_(None))


def _patients(store: Store, vault: Vault) -> Iterator[Tampered]:
    """Patients, with all their consents."""
    ids = _Reading(patient, patient.c.id, select(patient.c.id), _bundle, _FEW)
    after: Any = None
    while True:
        with store.read_anything() as connection:
            numbers = [row[0] for row in _page(connection, ids, after)]
            rows = _raw(connection, _PAPERS.where(patient.c.id.in_(numbers)), {}) if numbers else []
        if not numbers:
            break
        after = numbers[-1]
        for number in numbers:
            yield from _papers(vault, [row for row in rows if row[0] == number])
    with store.read_anything() as connection:
        for (number,) in _raw(connection, _STRAYS, {}):
            yield Tampered(consent.name, number, "whose it is")


def _papers(vault: Vault, rows: Sequence[Row]) -> Iterator[Tampered]:
    number, key, version, proof = rows[0][:4]
    papers = Papers(number, key, version)
    for *_, body, at, of, source, when, digest, seal in rows:
        if at is None:
            continue
        if not _holds(_believed, vault, key, (at, of, source, when, digest, seal), body):
            yield Tampered(consent.name, at, "what the consent says")
        # The patient's mark is over the digests alone.
        papers.kept[at] = (source, digest, _UNREAD)
    if proof is None and not papers.kept and not version:
        return
    if not _holds(papers.check, vault, proof):
        yield Tampered(patient.name, number, "the version of the consents, or one of them is gone")


_UNREAD = Paper("", "", "", "", "")


def _believed(vault: Vault, key: str, values: Row, body: bytes | None) -> None:
    paper = CONSENT.open(vault, key, values)
    number, _, source, _, digest, _ = values
    # Of one that was purged nothing is left.
    if body is not None or paper.content:
        evidence_of(vault, key, number, source, digest, paper, body)


def _kept(store: Store, vault: Vault) -> Iterator[Tampered]:
    with store.read_anything() as connection:
        rows = _raw(connection, select(kept.c.scope, kept.c.name, kept.c.value), {})
    for scope, name, value in rows:
        if not _holds(keep.opened, vault, scope, name, value):
            yield Tampered(kept.name, f"{scope}/{name}", "the value")
