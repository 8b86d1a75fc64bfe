"""What a gate says of the deliveries that a claim is about to hand out, and how it is kept.

Each distinct answer of a patient at a site is one row; deliveries and events name its number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, select

from fhirbridge.ledger import moves
from fhirbridge.ledger.consents import Asked, Verdict
from fhirbridge.ledger.enqueue import inserted
from fhirbridge.ledger.evidence import consents_of
from fhirbridge.ledger.gate import Gate
from fhirbridge.ledger.locks import Seen
from fhirbridge.ledger.moves import Move
from fhirbridge.ledger.payload import Codec
from fhirbridge.ledger.schema import decision
from fhirbridge.ledger.states import State

Due = Mapping[int, Sequence[tuple[Row[Any], Asked]]]
"""By number of the lane, the deliveries that are due."""

_THERE = select(decision.c.digest, decision.c.id).where(decision.c.digest.in_(bindparam("digests", expanding=True)))


class Asker(NamedTuple):
    """For whom it is decided: the patient's key and row."""

    key: str
    patient: Seen


@dataclass(slots=True)
class Judged:
    """What may go of each lane, each with the number of its decision; until when; and what may not."""

    out: dict[int, list[tuple[Row[Any], int]]] = field(default_factory=dict)
    until: dict[int, float] = field(default_factory=dict)
    stopped: list[Move] = field(default_factory=list)


def judge(
    connection: Connection, gate: Gate, site: str, lanes: Mapping[int, Asker], due: Due, now: float, codec: Codec
) -> Judged:
    """Ask about everything that is ``due``. The patients are shared by this transaction."""
    _teach(connection, gate, [lanes[number] for number in due], codec)
    answers = {
        number: gate.decide(lanes[number].key, lanes[number].patient.version, [asked for _, asked in rows], now)
        for number, rows in due.items()
    }
    numbers = _kept(
        connection, site, [(lanes[at].patient.id, one) for at, said in answers.items() for one in said], now
    )
    judged = Judged()
    for number, rows in due.items():
        patient = lanes[number].patient.id
        out: list[tuple[Row[Any], int]] = []
        for (row, _), said in zip(rows, answers[number], strict=True):
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


def _teach(connection: Connection, gate: Gate, askers: Sequence[Asker], codec: Codec) -> None:
    unknown = [one.key for one in askers if not gate.knows(one.key, one.patient.version)]
    if unknown:
        for consents in consents_of(connection, unknown, codec).values():
            gate.learn(consents)


def _stopped(row: Row[Any], said: Verdict, kept: int) -> Move:
    """A queued delivery waits for other consents; a doubt about which nobody may ask any more is left to people."""
    reason = f"consent.{said.reason}"
    if row.state == State.UNKNOWN:
        return Move(
            row.id, row.resource, "give-up", State.UNKNOWN, State.PARKED, reason, bundle=row.bundle, decision=kept
        )
    return Move(row.id, row.resource, "block", State.QUEUED, State.BLOCKED, reason, decision=kept, review_at=said.until)


def _kept(
    connection: Connection, site: str, said: Sequence[tuple[int, Verdict]], now: float
) -> dict[tuple[int, int], int]:
    """The numbers of decisions, by patient and by ``id`` of the verdict; written down where they are new."""
    distinct = {(patient, id(one)): one for patient, one in said}
    digests = {at: _digest(site, at[0], one) for at, one in distinct.items()}
    numbers: dict[str, int] = {}
    for chunk in moves.chunks(sorted(set(digests.values()))):
        numbers.update((digest, number) for digest, number in connection.execute(_THERE, {"digests": chunk}))
    new = {
        digests[at]: {
            "at": now,
            "site": site,
            "patient": at[0],
            "act": one.act,
            "effect": "permit" if one.permit else "deny",
            "reason": one.reason,
            "consents": one.consents,
            "trail": one.trail,
            "digest": digests[at],
        }
        for at, one in distinct.items()
        if digests[at] not in numbers
    }
    numbers.update(zip(new, inserted(connection, decision, list(new.values())), strict=True))
    return {at: numbers[digest] for at, digest in digests.items()}


def _digest(site: str, patient: int, one: Verdict) -> str:
    said = (site, str(patient), one.act, str(one.permit), one.reason, one.consents, one.trail)
    return hashlib.sha256("\0".join(said).encode()).hexdigest()
