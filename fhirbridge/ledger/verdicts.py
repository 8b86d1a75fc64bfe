"""What a gate says of the deliveries that a claim is about to hand out, and how it is kept.

Each distinct answer of a patient at a site is one row; deliveries and events name its number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

from sqlalchemy import Connection, bindparam, insert, select

from fhirbridge.ledger import moves
from fhirbridge.ledger.consents import Asked, Verdict
from fhirbridge.ledger.evidence import consents_of
from fhirbridge.ledger.gate import Gate
from fhirbridge.ledger.locks import Seen
from fhirbridge.ledger.moves import Move
from fhirbridge.ledger.numbers import allot
from fhirbridge.ledger.schema import decision
from fhirbridge.ledger.seals import DECISION, Grounds, name_of
from fhirbridge.ledger.states import State
from fhirbridge.vault import Vault


class Due(Protocol):
    """A delivery that is due, as far as a verdict concerns it."""

    @property
    def id(self) -> int:
        """Its number."""

    @property
    def resource(self) -> int:
        """That of its identity."""

    @property
    def state(self) -> str:
        """``queued``, or ``unknown``: a doubt."""

    @property
    def bundle(self) -> str | None:
        """The attempt that a doubt is about."""

    @property
    def asked(self) -> Asked:
        """What a gate is asked about it."""


D = TypeVar("D", bound=Due)
_KEEP = insert(decision)
_THERE = select(decision.c.digest, decision.c.id).where(decision.c.digest.in_(bindparam("digests", expanding=True)))


class Asker(NamedTuple):
    """For whom it is decided: the patient's key and row."""

    key: str
    patient: Seen


@dataclass(slots=True)
class Judged(Generic[D]):
    """What may go of each lane, each with the number of its decision; until when; and what may not."""

    out: dict[int, list[tuple[D, int]]] = field(default_factory=dict)
    until: dict[int, float] = field(default_factory=dict)
    stopped: list[Move] = field(default_factory=list)


def judge(
    connection: Connection,
    vault: Vault,
    gate: Gate,
    site: str,
    lanes: Mapping[int, Asker],
    due: Mapping[int, Sequence[D]],
    now: float,
) -> Judged[D]:
    """Ask about everything that is ``due``, by number of the lane. The patients are shared by this transaction."""
    _teach(connection, vault, gate, [lanes[number] for number in due])
    answers = {
        number: gate.decide(lanes[number].key, lanes[number].patient.version, [one.asked for one in rows], now)
        for number, rows in due.items()
    }
    numbers = _kept(connection, vault, site, [(lanes[at], one) for at, said in answers.items() for one in said], now)
    judged: Judged[D] = Judged()
    for number, rows in due.items():
        patient = lanes[number].patient.id
        out: list[tuple[D, int]] = []
        for row, said in zip(rows, answers[number], strict=True):
            kept = numbers[patient, id(said)]
            if not said.permit:
                judged.stopped.append(_stopped(row, said, kept))
                continue
            out.append((row, kept))
            if said.until is not None:
                judged.until[number] = min(said.until, judged.until.get(number, said.until))
        if out:
            judged.out[number] = out
    return judged


def _teach(connection: Connection, vault: Vault, gate: Gate, askers: Sequence[Asker]) -> None:
    unknown = [one.key for one in askers if not gate.knows(one.key, one.patient.version)]
    if unknown:
        for consents in consents_of(connection, vault, unknown).values():
            gate.learn(consents)


def _stopped(row: Due, said: Verdict, kept: int) -> Move:
    """A queued delivery waits for other consents; a doubt about which nobody may ask any more is left to people."""
    reason = f"consent.{said.reason}"
    if row.state == State.UNKNOWN:
        return Move(
            row.id, row.resource, "give-up", State.UNKNOWN, State.PARKED, reason, bundle=row.bundle, decision=kept
        )
    return Move(row.id, row.resource, "block", State.QUEUED, State.BLOCKED, reason, decision=kept, review_at=said.until)


def _kept(
    connection: Connection, vault: Vault, site: str, said: Sequence[tuple[Asker, Verdict]], now: float
) -> dict[tuple[int, int], int]:
    """The numbers of decisions, by patient and by ``id`` of the verdict; written down where they are new."""
    distinct = {(asker.patient.id, id(one)): (asker.key, one) for asker, one in said}
    digests = {at: _digest(vault, site, at[0], one) for at, (_, one) in distinct.items()}
    numbers: dict[str, int] = {}
    for chunk in moves.chunks(sorted(set(digests.values()))):
        numbers.update((digest, number) for digest, number in connection.execute(_THERE, {"digests": chunk}))
    new = {digests[at]: (at[0], *distinct[at]) for at in distinct if digests[at] not in numbers}
    rows = []
    for number, (digest, (patient, key, one)) in zip(allot(connection, decision, len(new)), new.items(), strict=True):
        row = {
            "id": number,
            "at": now,
            "site": site,
            "patient": patient,
            "act": one.act,
            "effect": "permit" if one.permit else "deny",
            "reason": one.reason,
            "digest": digest,
        }
        rows.append(row | {"seal": DECISION.seal(vault, key, row, Grounds(one.consents, one.trail))})
        numbers[digest] = number
    moves.many(connection, _KEEP, rows)
    return {at: numbers[digest] for at, digest in digests.items()}


def _digest(vault: Vault, site: str, patient: int, one: Verdict) -> str:
    said = (site, patient, one.act, one.permit, one.reason, one.consents, one.trail)
    return vault.mark((name_of(decision), "digest", *said)).hex()
