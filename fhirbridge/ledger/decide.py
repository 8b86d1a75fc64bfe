"""Whether an item goes: a pure decision on what the ledger knows of its identity."""

from __future__ import annotations

from dataclasses import dataclass

from fhirbridge.ledger.states import Action, Server, State
from fhirbridge.ledger.words import Decision, Enqueued, Item


@dataclass(slots=True)
class Newest:
    """The newest delivery of an identity. ``id`` is None while it is not written yet."""

    id: int | None
    action: Action
    content: str
    mapping: str
    state: State
    reason: str


@dataclass(slots=True)
class Identity:
    """What is known of one identity; ``rank`` is that of the newest revision that was offered."""

    id: int | None
    lane: str
    rank: str
    withdrawn: bool
    server: Server
    newest: Newest


def decide(item: Item, rank: str, known: Identity | None, latest: int, *, resend: bool) -> Decision:
    """What becomes of ``item``.

    ``rank`` is its revision's (see :func:`fhirbridge.ledger.revision.rank`), ``latest`` the highest generation known of
    its record and role. With ``resend``, content that only a new version of the mapping changed goes too.
    """
    retracts = item.action is Action.RETRACT
    if item.generation < latest and not retracts:
        return Decision.OUTDATED
    if known is None:
        return Decision.QUEUED
    if known.lane != item.lane:
        return Decision.MOVED
    if known.withdrawn:
        return Decision.UNCHANGED if retracts else Decision.RETRACTED
    if rank < known.rank:
        return Decision.OUTDATED
    if retracts:
        return Decision.QUEUED
    if item.content == known.newest.content:
        return Decision.UNCHANGED
    if rank > known.rank or (resend and item.mapping != known.newest.mapping):
        return Decision.QUEUED
    return Decision.CONFLICT if item.mapping == known.newest.mapping else Decision.REMAPPED


def told(decision: Decision, known: Identity | None) -> Enqueued:
    """The answer to whoever offered the item: the decision, and how the identity stands."""
    if known is None:
        return Enqueued(decision)
    return Enqueued(decision, known.server, known.newest.state, known.newest.reason)
