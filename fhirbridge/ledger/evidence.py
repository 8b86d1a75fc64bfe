"""The consents of patients: every revision kept, the newest handed to whoever decides.

``version`` of a patient grows with every change, under the lock of the patient's row. The time of the request is read
after that lock is held: whatever was begun by the older consents was begun before it. The row carries a mark over the
version and every revision, so none can be taken away, or put back to an older state, without being missed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from fhirbridge.errors import VaultError
from fhirbridge.ledger import locks, moves
from fhirbridge.ledger.consents import Consents, Evidence, Patient
from fhirbridge.ledger.numbers import allot
from fhirbridge.ledger.payload import pack, unpack
from fhirbridge.ledger.revision import rank
from fhirbridge.ledger.schema import IS_REQUESTED, consent, patient
from fhirbridge.ledger.seals import CONSENT, Paper, body_place, consents_mark, name_of, tampered, unopened
from fhirbridge.vault import Vault

_WIDTH = CONSENT.width
_ALL = (
    select(patient.c.id.label("of"), patient.c.key, patient.c.version, patient.c.seal.label("proof"))
    .add_columns(*CONSENT.columns())
    .outerjoin(consent, consent.c.patient == patient.c.id)
    .where(patient.c.key.in_(bindparam("keys", expanding=True)))
    .order_by(patient.c.id, consent.c.id)
)
_BODIES = select(consent.c.id, consent.c.body).where(consent.c.id.in_(bindparam("ids", expanding=True)))
_KEEP = insert(consent)
_CHANGED = (
    update(patient)
    .where(patient.c.id == bindparam("it"))
    .values(version=patient.c.version + 1, requested_at=bindparam("now"), seal=bindparam("proof"))
)
_PROVEN = update(patient).where(patient.c.id == bindparam("it")).values(seal=bindparam("proof"))
_PATIENT = select(
    patient.c.key, patient.c.version, patient.c.requested_at, patient.c.effective_version, patient.c.effective_at
)
_ONE = _PATIENT.where(patient.c.key == bindparam("key"))
_REQUESTED = _PATIENT.where(IS_REQUESTED).order_by(patient.c.id).limit(bindparam("most"))


@dataclass(slots=True)
class Papers:
    """A patient's revisions as they are kept, by number: source, digest, and what is sealed of each."""

    number: int
    key: str
    version: int
    kept: dict[int, tuple[str, str, Paper]] = field(default_factory=dict)

    def mark(self, vault: Vault) -> bytes:
        """The mark of the patient's row."""
        digests = [(number, digest) for number, (_, digest, _) in self.kept.items()]
        return consents_mark(vault, self.number, self.key, self.version, digests)

    def check(self, vault: Vault, proof: bytes | None) -> None:
        """Raises :class:`LedgerError` (``ledger.tampered``) where the row's mark is not that of all of this."""
        if proof is None and not self.kept and not self.version:
            return
        if not isinstance(proof, bytes) or not hmac.compare_digest(self.mark(vault), proof):
            raise tampered(patient, self.number)

    @property
    def newest(self) -> dict[tuple[str, str], int]:
        """The number of the revision that counts, by source and record."""
        found: dict[tuple[str, str], int] = {}
        for number, (source, _, paper) in self.kept.items():
            before = found.get((source, paper.record))
            if before is None or paper.rank >= self.kept[before][2].rank:
                found[source, paper.record] = number
        return found


def keep(connection: Connection, vault: Vault, offered: Sequence[Evidence], clock: Callable[[], float]) -> list[str]:
    """Write down what is new; the keys of the patients for whom that changes anything.

    An older revision than the newest is kept and changes nothing. Raises :class:`LedgerError` (``ledger.revision``).
    """
    if not offered:
        return []
    keys = {one.patient for one in offered}
    locks.make_patients(connection, keys)
    locks.hold_patients(connection, keys)
    now = clock()
    held = papers_of(connection, vault, keys)
    changed, touched = set(), set()
    rows: list[dict[str, Any]] = []
    for number, one in zip(allot(connection, consent, len(offered)), offered, strict=True):
        papers = held[one.patient]
        order, content = rank(one.revision), _content(one)
        said = (one.source, one.record, order, content)
        digest = vault.mark((name_of(consent), "digest", one.patient, *said)).hex()
        if any(digest == kept for _, kept, _ in papers.kept.values()):
            continue
        if all(
            order >= paper.rank
            for source, _, paper in papers.kept.values()
            if (source, paper.record) == (one.source, one.record)
        ):
            changed.add(one.patient)
        touched.add(one.patient)
        paper = Paper(one.record, str(one.revision), order, content, one.reason)
        papers.kept[number] = (one.source, digest, paper)
        row = {"id": number, "patient": papers.number, "source": one.source, "at": now, "digest": digest}
        body = None if one.body is None else pack(vault, one.patient, body_place(number, digest), one.body)
        rows.append(row | {"seal": CONSENT.seal(vault, one.patient, row, paper), "body": body})
    moves.many(connection, _KEEP, rows)
    for key in changed:
        held[key].version += 1
    proofs = {key: {"it": held[key].number, "proof": held[key].mark(vault)} for key in touched}
    moves.many(connection, _CHANGED, [proofs[key] | {"now": now} for key in sorted(changed)])
    moves.many(connection, _PROVEN, [proofs[key] for key in sorted(touched - changed)])
    return sorted(changed)


def _content(one: Evidence) -> str:
    said = one.reason.encode() if one.body is None else one.body
    return hashlib.sha256((b"unreadable|" if one.body is None else b"body|") + said).hexdigest()


def papers_of(connection: Connection, vault: Vault, keys: Iterable[str]) -> dict[str, Papers]:
    """What is kept of patients, by key, proven. Raises :class:`LedgerError` (``ledger.tampered``)."""
    found: dict[str, Papers] = {}
    proofs: dict[str, bytes | None] = {}
    for chunk in moves.chunks(sorted(set(keys))):
        for row in connection.execute(_ALL, {"keys": chunk}):
            number, key, version, proofs[row.key] = row[:4]
            papers = found.setdefault(key, Papers(number, key, version))
            if row.id is not None:
                papers.kept[row.id] = (row.source, row.digest, CONSENT.open(vault, key, row[4:]))
    for key, papers in found.items():
        papers.check(vault, proofs[key])
    return found


def consents_of(connection: Connection, vault: Vault, keys: Iterable[str]) -> dict[str, Consents]:
    """The newest revisions, by patient; a patient of whom nothing is known has none.

    Raises :class:`LedgerError` (``ledger.tampered``) where they are not as they were written.
    """
    wanted = sorted(set(keys))
    held = papers_of(connection, vault, wanted)
    newest = {number: key for key, papers in held.items() for number in papers.newest.values()}
    bodies: dict[int, bytes | None] = {}
    for chunk in moves.chunks(sorted(newest)):
        bodies.update((number, body) for number, body in connection.execute(_BODIES, {"ids": chunk}))
    found = {}
    for key in wanted:
        papers = held.get(key)
        if papers is None:
            found[key] = Consents(key, 0)
            continue
        several = [_evidence(vault, papers, number, bodies) for number in papers.newest.values()]
        found[key] = Consents(key, papers.version, tuple(sorted(several, key=lambda one: (one.source, one.record))))
    return found


def _evidence(vault: Vault, papers: Papers, number: int, bodies: Mapping[int, bytes | None]) -> Evidence:
    source, digest, paper = papers.kept[number]
    return evidence_of(vault, papers.key, number, source, digest, paper, bodies[number])


def evidence_of(
    vault: Vault, key: str, number: int, source: str, digest: str, paper: Paper, body: bytes | None
) -> Evidence:
    """A revision as it was kept. Raises :class:`LedgerError` where its body is not that."""
    try:
        said = None if body is None else unpack(vault, key, body_place(number, digest), body)
    except VaultError as error:
        raise unopened(consent, number, error) from None
    revision = int(paper.revision) if paper.revision.isdecimal() else paper.revision
    found = Evidence(key, source, paper.record, revision, said, paper.reason)
    if _content(found) != paper.content:
        raise tampered(consent, number)
    return found


def one(connection: Connection, key: str) -> Patient | None:
    """How far the newest change of a patient's consents has come."""
    row = connection.execute(_ONE, {"key": key}).one_or_none()
    return None if row is None else Patient(*row)


def requested(connection: Connection, most: int) -> list[Patient]:
    """The patients of whom a change is not effective yet."""
    return [Patient(*row) for row in connection.execute(_REQUESTED, {"most": most})]
