"""What can become of a delivery: every state, and every move between two of them, in one table.

Nothing moves a delivery but by a row of :data:`TRANSITIONS`; the tests walk all of them, and ``docs/ledger.md`` draws
them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from fhirbridge.errors import LedgerError


class State(StrEnum):
    """Where a delivery stands."""

    QUEUED = "queued"
    CLAIMED = "claimed"
    IN_FLIGHT = "in_flight"
    UNKNOWN = "unknown"
    ACKED = "acked"
    REJECTED = "rejected"
    PARKED = "parked"
    SUPERSEDED = "superseded"
    RETRACTED = "retracted"
    BLOCKED = "blocked"


OPEN = frozenset({State.QUEUED, State.CLAIMED, State.IN_FLIGHT, State.UNKNOWN})
FAILED = frozenset({State.PARKED, State.REJECTED})
HELD = frozenset({State.CLAIMED, State.IN_FLIGHT})


class Action(StrEnum):
    """What a delivery asks of the site: to hold the resource, or to hold it no longer."""

    PUT = "put"
    RETRACT = "retract"


class Server(StrEnum):
    """What the site is known to hold under an identity; ``unseen`` means that nobody has looked or been told."""

    UNSEEN = "unseen"
    ABSENT = "absent"
    PRESENT = "present"
    RETRACTED = "retracted"
    GONE = "gone"
    CONFLICT = "conflict"


class Transition(NamedTuple):
    """One legal move. ``before`` is None where the delivery is only being made."""

    event: str
    before: State | None
    after: State
    why: str


S = State
TRANSITIONS: tuple[Transition, ...] = (
    Transition("enqueue", None, S.QUEUED, "new or changed content"),
    Transition("import", None, S.ACKED, "read from the site after the ledger was lost"),
    Transition("supersede", None, S.SUPERSEDED, "a newer revision came in the same call"),
    Transition("claim", S.QUEUED, S.CLAIMED, "a worker leased the lane"),
    Transition("block", S.QUEUED, S.BLOCKED, "the patient's consents do not permit it"),
    Transition("unblock", S.BLOCKED, S.QUEUED, "the consents changed, or their time came: it is decided anew"),
    Transition("begin", S.CLAIMED, S.IN_FLIGHT, "its bundle is stored; bytes may leave"),
    # What the answer said.
    Transition("ack", S.IN_FLIGHT, S.ACKED, "the site proved it"),
    Transition("doubt", S.IN_FLIGHT, S.UNKNOWN, "broke off after the first byte, or no proof"),
    Transition("reject", S.IN_FLIGHT, S.REJECTED, "the site refused it"),
    Transition("park", S.IN_FLIGHT, S.PARKED, "a person has to look"),
    Transition("again", S.IN_FLIGHT, S.QUEUED, "certainly not done; goes again later"),
    # What was found out before sending.
    Transition("adopt", S.CLAIMED, S.ACKED, "the site already holds exactly this"),
    Transition("hold", S.CLAIMED, S.PARKED, "must not go: wrong or doubtful patient, conflict, deleted"),
    Transition("defer", S.CLAIMED, S.QUEUED, "cannot go yet"),
    # How a doubt ends.
    Transition("confirm", S.UNKNOWN, S.ACKED, "looked: it is there"),
    Transition("look", S.UNKNOWN, S.UNKNOWN, "looked: still no proof"),
    Transition("resend", S.UNKNOWN, S.QUEUED, "looked: not there, or the strategy is safe to repeat"),
    Transition("give-up", S.UNKNOWN, S.PARKED, "cannot be told from here, or the consents forbid to ask"),
    # A worker that stopped, or died.
    Transition("release", S.CLAIMED, S.QUEUED, "the worker gave the lane back, or its lease ran out"),
    Transition("lose", S.IN_FLIGHT, S.UNKNOWN, "the worker gave up the lane, or its lease ran out"),
    # A newer revision of the same resource.
    Transition("supersede", S.QUEUED, S.SUPERSEDED, "a newer revision goes instead"),
    Transition("supersede", S.CLAIMED, S.SUPERSEDED, "instead of back to the queue"),
    Transition("supersede", S.IN_FLIGHT, S.SUPERSEDED, "instead of back to the queue"),
    Transition("supersede", S.UNKNOWN, S.SUPERSEDED, "instead of back to the queue"),
    Transition("supersede", S.PARKED, S.SUPERSEDED, "a newer revision goes instead"),
    Transition("supersede", S.REJECTED, S.SUPERSEDED, "a newer revision goes instead"),
    Transition("supersede", S.BLOCKED, S.SUPERSEDED, "a newer revision goes instead"),
    # A retraction wins over every late retry.
    Transition("withdraw", S.QUEUED, S.RETRACTED, "the retraction goes instead"),
    Transition("withdraw", S.CLAIMED, S.RETRACTED, "instead of back to the queue"),
    Transition("withdraw", S.IN_FLIGHT, S.RETRACTED, "instead of back to the queue"),
    Transition("withdraw", S.UNKNOWN, S.RETRACTED, "instead of back to the queue"),
    Transition("withdraw", S.PARKED, S.RETRACTED, "the retraction goes instead"),
    Transition("withdraw", S.REJECTED, S.RETRACTED, "the retraction goes instead"),
    Transition("withdraw", S.BLOCKED, S.RETRACTED, "the retraction goes instead"),
    # A person decided.
    Transition("replay", S.PARKED, S.QUEUED, "somebody said: send it again"),
    Transition("replay", S.REJECTED, S.QUEUED, "somebody said: send it again"),
)
del S

_AFTER = {(one.event, one.before): one.after for one in TRANSITIONS}
# What a worker may report of a delivery that it holds, by where it stands and where it is to go.
_REPORTS = frozenset(
    {"ack", "doubt", "reject", "park", "again", "adopt", "hold", "defer", "confirm", "look", "resend", "give-up"}
)
_REPORTED = {(one.before, one.after): one.event for one in TRANSITIONS if one.event in _REPORTS}


def after(event: str, before: State | None) -> State:
    """Where ``event`` takes a delivery.

    Raises :class:`LedgerError` (``ledger.transition``) where the table has no row.
    """
    try:
        return _AFTER[event, before]
    except KeyError:
        raise _illegal(f"{event} of a delivery that is {before or 'not there'}") from None


def reported(before: State, wanted: State) -> str:
    """The event by which a worker's report takes a delivery to ``wanted``. Raises as :func:`after`."""
    try:
        return _REPORTED[before, wanted]
    except KeyError:
        raise _illegal(f"from {before} to {wanted}") from None


def _illegal(move: str) -> LedgerError:
    return LedgerError(
        f"a move that does not exist: {move}", code="ledger.transition", hint="the moves are drawn in docs/ledger.md"
    )
