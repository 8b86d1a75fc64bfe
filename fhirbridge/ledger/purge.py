"""Deleting what nothing needs any more: bodies, what decisions looked at, older papers.

What stays proves that something was sent and lets it be taken back: which resource it is, each delivery and how it
ended, the bundles, the decisions, and of each consent the newest revision, so that what was denied stays denied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, or_, select, update

from fhirbridge.errors import LedgerError, VaultError
from fhirbridge.ledger import locks, moves
from fhirbridge.ledger.evidence import papers_of
from fhirbridge.ledger.payload import blank, pack, unpack
from fhirbridge.ledger.schema import IS_OPEN, consent, delivery, lane, payload, resource
from fhirbridge.ledger.seals import CONSENT, DELIVERY, Matter, Paper, payload_place, unopened
from fhirbridge.ledger.states import FAILED, OPEN, Server, State
from fhirbridge.vault import Vault

# Lanes of one transaction.
_LANES = 50
_NEWEST = (
    select(func.max(delivery.c.id)).where(delivery.c.resource == resource.c.id).correlate(resource).scalar_subquery()
)
_DELIVERIES = (
    select(
        *DELIVERY.columns(),
        delivery.c.state,
        delivery.c.settled_at,
        resource.c.withdrawn,
        resource.c.server,
        or_(delivery.c.id == resource.c.acked, delivery.c.id == _NEWEST).label("last"),
    )
    .join(resource, resource.c.id == delivery.c.resource)
    .where(delivery.c.lane == bindparam("on"))
    .order_by(delivery.c.id)
)
_LANES_OF = select(lane.c.id, lane.c.site, lane.c.key).where(lane.c.key.in_(bindparam("keys", expanding=True)))
_OPEN = select(func.count()).where(delivery.c.lane.in_(bindparam("lanes", expanding=True)), IS_OPEN)
_BLOB = select(payload.c.data).where(payload.c.id == bindparam("it"))
_DROP = delete(payload).where(payload.c.id == bindparam("it"))
_BLANK = update(payload).where(payload.c.id == bindparam("it")).values(data=bindparam("new"))
_FORGET = (
    update(delivery)
    .where(delivery.c.id == bindparam("it"))
    .values(payload=bindparam("blob"), start=bindparam("begin"), length=bindparam("size"), seal=bindparam("sealed"))
)
_PAPER = select(*CONSENT.columns(), consent.c.body).where(consent.c.id.in_(bindparam("ids", expanding=True)))
_TEAR = update(consent).where(consent.c.id == bindparam("it")).values(body=None, seal=bindparam("sealed"))
_WAITS = FAILED | {State.BLOCKED}
_GONE = (Server.RETRACTED, Server.GONE, Server.ABSENT)


class Purged(NamedTuple):
    """What was deleted: bodies, subjects of decisions, older revisions of consents; and bodies that something needs."""

    bodies: int = 0
    subjects: int = 0
    papers: int = 0
    needed: int = 0

    def plus(self, other: Purged) -> Purged:
        """Both together."""
        return Purged(*[one + more for one, more in zip(self, other, strict=True)])


Needs = Callable[[Any], bool]


def of_patient(connection: Connection, vault: Vault, key: str) -> Purged:
    """Delete what is finished of one patient, at all sites.

    Raises :class:`LedgerError` (``ledger.open``) while anything is on its way.
    """
    lanes = connection.execute(_LANES_OF, {"keys": [key]}).all()
    locks.lanes(connection, [one.id for one in lanes])
    if connection.execute(_OPEN, {"lanes": [one.id for one in lanes]}).scalar():
        raise LedgerError(
            "something of this patient is on its way",
            code="ledger.open",
            hint="push or sync until nothing is, then purge; fhirbridge status tells",
        )
    done = Purged()
    for one in lanes:
        done = done.plus(_lane(connection, vault, one.id, key, _body_waits, _subject_of_there))
    return done.plus(Purged(papers=_papers(connection, vault, key)))


def of_lanes(connection: Connection, vault: Vault, lanes: Sequence[tuple[int, str]], before: float) -> Purged:
    """Delete what was over before then, of lanes with their patients' keys, and is not the last of its identity."""

    def needs(row: Any) -> bool:
        return row.last or row.state in OPEN | _WAITS or row.settled_at >= before

    locks.lanes(connection, [number for number, _ in lanes])
    done = Purged()
    for number, key in lanes:
        done = done.plus(_lane(connection, vault, number, key, needs, needs))
    return done


def each_lane(connection: Connection, site: str | None, after: int) -> list[tuple[int, str]]:
    """The next lanes, of one site or all, with the keys of their patients."""
    chosen = select(lane.c.id, lane.c.key).where(lane.c.id > after).order_by(lane.c.id).limit(_LANES)
    if site is not None:
        chosen = chosen.where(lane.c.site == site)
    return [(number, key) for number, key in connection.execute(chosen)]


def _body_waits(row: Any) -> bool:
    return row.state in _WAITS


def _subject_of_there(row: Any) -> bool:
    """By what a later change of the consents is judged, while the site may hold it."""
    return row.state in _WAITS or (row.last and not row.withdrawn and row.server not in _GONE)


def _lane(
    connection: Connection, vault: Vault, number: int, key: str, needs_body: Needs, needs_subject: Needs
) -> Purged:
    rows = connection.execute(_DELIVERIES, {"on": number}).all()
    kept: dict[int, list[tuple[int, int]]] = {}
    freed: set[int] = set()
    changes = []
    done = Purged()
    for row in rows:
        hidden = DELIVERY.open(vault, key, row[: DELIVERY.width])
        body, subject = row.payload is not None, bool(hidden.subject)
        if body and needs_body(row):
            kept.setdefault(row.payload, []).append((row.start, row.length))
            done = done.plus(Purged(needed=1))
            body = False
        if subject and needs_subject(row):
            subject = False
        if not body and not subject:
            continue
        done = done.plus(Purged(bodies=int(body), subjects=int(subject)))
        if body:
            freed.add(row.payload)
        values = dict(zip(DELIVERY.bound, row, strict=False))
        if body:
            values |= {"payload": None, "start": 0, "length": 0}
        sealed = DELIVERY.seal(vault, key, values, Matter(hidden.revision, "" if subject else hidden.subject))
        changes.append(
            {"it": row.id, "blob": values["payload"], "begin": values["start"], "size": values["length"]}
            | {"sealed": sealed}
        )
    moves.many(connection, _FORGET, changes)
    for blob in sorted(freed):
        _free(connection, vault, number, key, blob, kept.get(blob, []))
    return done


def _free(connection: Connection, vault: Vault, on: int, key: str, blob: int, kept: Sequence[tuple[int, int]]) -> None:
    """Drop a blob of which nothing is needed; of another, blank all but what is."""
    if not kept:
        connection.execute(_DROP, {"it": blob})
        return
    data = connection.execute(_BLOB, {"it": blob}).scalar_one()
    place = payload_place(blob, on)
    try:
        whole = unpack(vault, key, place, data)
    except VaultError as error:
        raise unopened(payload, blob, error) from None
    connection.execute(_BLANK, {"it": blob, "new": pack(vault, key, place, blank(whole, kept))})


def _papers(connection: Connection, vault: Vault, key: str) -> int:
    """The bodies of the revisions of consents that count no more."""
    locks.hold_patients(connection, [key])
    papers = papers_of(connection, vault, [key]).get(key)
    if papers is None:
        return 0
    newest = set(papers.newest.values())
    rows = []
    for chunk in moves.chunks([number for number in papers.kept if number not in newest]):
        for row in connection.execute(_PAPER, {"ids": chunk}):
            if row.body is not None:
                old = papers.kept[row.id][2]
                values = dict(zip(CONSENT.bound, row, strict=False))
                torn = Paper(old.record, old.revision, old.rank, "", old.reason)
                rows.append({"it": row.id, "sealed": CONSENT.seal(vault, key, values, torn)})
    moves.many(connection, _TEAR, rows)
    return len(rows)
