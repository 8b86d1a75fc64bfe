"""The consents of patients: every revision kept, the newest handed to whoever decides.

``version`` of a patient grows with every change, under the lock of the patient's row. The time of the request is read
after that lock is held: whatever was begun by the older consents was begun before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, exists, insert, or_, select, update

from fhirbridge.ledger import locks, moves
from fhirbridge.ledger.consents import Consents, Evidence, Patient
from fhirbridge.ledger.payload import Codec, unpacked
from fhirbridge.ledger.revision import rank
from fhirbridge.ledger.schema import IS_REQUESTED, consent, patient

_SEEN = select(consent.c.patient, consent.c.source, consent.c.record, consent.c.rank, consent.c.content).where(
    consent.c.patient.in_(bindparam("patients", expanding=True))
)
_KEEP = insert(consent)
_CHANGED = (
    update(patient)
    .where(patient.c.id == bindparam("it"))
    .values(version=patient.c.version + 1, requested_at=bindparam("now"))
)
_newer = consent.alias("newer")
_NEWEST = (
    select(
        patient.c.key,
        patient.c.version,
        consent.c.source,
        consent.c.record,
        consent.c.revision,
        consent.c.codec,
        consent.c.body,
        consent.c.reason,
    )
    .select_from(patient)
    .outerjoin(
        consent,
        and_(
            consent.c.patient == patient.c.id,
            ~exists().where(
                _newer.c.patient == consent.c.patient,
                _newer.c.source == consent.c.source,
                _newer.c.record == consent.c.record,
                or_(_newer.c.rank > consent.c.rank, and_(_newer.c.rank == consent.c.rank, _newer.c.id > consent.c.id)),
            ),
        ),
    )
    .where(patient.c.key.in_(bindparam("keys", expanding=True)))
)
_PATIENT = select(
    patient.c.key, patient.c.version, patient.c.requested_at, patient.c.effective_version, patient.c.effective_at
)
_ONE = _PATIENT.where(patient.c.key == bindparam("key"))
_REQUESTED = _PATIENT.where(IS_REQUESTED).order_by(patient.c.id).limit(bindparam("most"))


def keep(connection: Connection, offered: Sequence[Evidence], clock: Callable[[], float], codec: Codec) -> list[str]:
    """Write down what is new; the keys of the patients for whom that changes anything.

    An older revision than the newest is kept and changes nothing. Raises :class:`LedgerError` (``ledger.revision``).
    """
    if not offered:
        return []
    keys = {one.patient for one in offered}
    locks.make_patients(connection, keys)
    held = locks.hold_patients(connection, keys)
    now = clock()
    known: dict[tuple[int, str, str], set[tuple[str, str]]] = {}
    for chunk in moves.chunks(sorted(one.id for one in held.values())):
        for number, source, record, order, content in connection.execute(_SEEN, {"patients": chunk}):
            known.setdefault((number, source, record), set()).add((order, content))
    changed: dict[str, int] = {}
    rows = []
    for one in offered:
        number = held[one.patient].id
        seen = known.setdefault((number, one.source, one.record), set())
        order, content = rank(one.revision), _content(one)
        if (order, content) in seen:
            continue
        if all(order >= older for older, _ in seen):
            changed[one.patient] = number
        seen.add((order, content))
        rows.append(_row(one, number, order, content, now, codec))
    moves.many(connection, _KEEP, rows)
    moves.many(connection, _CHANGED, [{"it": number, "now": now} for number in changed.values()])
    return sorted(changed)


def _content(one: Evidence) -> str:
    said = one.reason.encode() if one.body is None else one.body
    return hashlib.sha256((b"unreadable|" if one.body is None else b"body|") + said).hexdigest()


def _row(one: Evidence, number: int, order: str, content: str, now: float, codec: Codec) -> dict[str, Any]:
    return {
        "patient": number,
        "source": one.source,
        "record": one.record,
        "revision": str(one.revision),
        "rank": order,
        "content": content,
        "codec": None if one.body is None else codec.name,
        "body": None if one.body is None else codec.pack(one.body, one.patient),
        "reason": one.reason,
        "at": now,
    }


def consents_of(connection: Connection, keys: Iterable[str], codec: Codec) -> dict[str, Consents]:
    """The newest revisions, by patient; a patient of whom nothing is known has none."""
    found: dict[str, tuple[int, list[Evidence]]] = {key: (0, []) for key in keys}
    for chunk in moves.chunks(sorted(found)):
        for row in connection.execute(_NEWEST, {"keys": chunk}):
            _, several = found[row.key]
            found[row.key] = (row.version, several)
            if row.record is not None:
                several.append(_evidence(row, codec))
    return {
        key: Consents(key, version, tuple(sorted(several, key=lambda one: (one.source, one.record))))
        for key, (version, several) in found.items()
    }


def _evidence(row: Any, codec: Codec) -> Evidence:
    body = None if row.codec is None else unpacked(codec, row.codec, row.body, row.key)
    revision = int(row.revision) if row.revision.isdecimal() else row.revision
    return Evidence(row.key, row.source, row.record, revision, body, row.reason)


def one(connection: Connection, key: str) -> Patient | None:
    """How far the newest change of a patient's consents has come."""
    row = connection.execute(_ONE, {"key": key}).one_or_none()
    return None if row is None else Patient(*row)


def requested(connection: Connection, most: int) -> list[Patient]:
    """The patients of whom a change is not effective yet."""
    return [Patient(*row) for row in connection.execute(_REQUESTED, {"most": most})]
