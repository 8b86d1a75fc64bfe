"""What goes into the ledger and what comes out of it. Times are epoch seconds.

A body is patient data: it is in no ``repr``. What a claim makes thousands of are structs of msgspec, which cost a tenth
of a dataclass and are nothing to the garbage collector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from fhirbridge.ledger.states import Action, Server, State


@dataclass(frozen=True, slots=True)
class Item:
    """One resource of one revision of a record, to be delivered to a site.

    ``lane`` is the keyed hash of the patient's identifier, ``content`` the content hash, ``event`` when it happened
    (the order within the lane; ties keep the order of the call), ``urgent`` an adverse event, whose lane goes first.
    ``body`` is FHIR JSON; a retraction by DELETE has none. ``revision`` is a number or a FHIR instant. ``subject`` is
    what a decision on it looks at (codes, labels, period), as the caller writes it; the ledger only keeps it.
    """

    kind: str
    record: str
    role: str
    revision: int | str
    resource_type: str
    resource_id: str
    lane: str
    content: str
    mapping: str
    body: bytes | None = field(repr=False)
    action: Action = Action.PUT
    urgent: bool = False
    event: float = 0.0
    generation: int = 0
    subject: str = field(default="", repr=False)


class Decision(StrEnum):
    """What became of an item that was offered."""

    QUEUED = "queued"
    UNCHANGED = "unchanged"
    OUTDATED = "outdated"
    MOVED = "moved"
    CONFLICT = "conflict"
    REMAPPED = "remapped"
    RETRACTED = "retracted"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Enqueued:
    """The decision on one item; ``state`` and ``reason`` are those of the newest delivery of its identity, if any."""

    decision: Decision
    server: Server = Server.UNSEEN
    state: State | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Adopted:
    """A resource of ours that was read from the site, for a ledger that does not know it."""

    kind: str
    record: str
    role: str
    generation: int
    revision: int | str
    resource_type: str
    resource_id: str
    lane: str
    content: str
    mapping: str
    server: Server
    version: str | None
    server_id: str | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's hold on a lane until ``until``. ``fence`` grows with every claim of the lane.

    What it was handed was decided under version ``consents`` and may begin before ``permitted_until``; a request may
    last ``timeout`` seconds.
    """

    lane: int
    key: str
    site: str
    worker: str
    fence: int
    until: float
    consents: int
    timeout: float
    permitted_until: float | None = None


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """A delivery in a worker's hands, with what is known of the site's copy.

    ``state`` is ``claimed``, or ``unknown``: a doubt to resolve about the attempt ``bundle`` begun at ``begun_at``.
    ``acked`` is the delivery that the site acknowledged last (see ``Ledger.bodies``).
    """

    id: int
    lease: Lease
    resource: int
    kind: str
    record: str
    role: str
    generation: int
    revision: str
    action: Action
    resource_type: str
    resource_id: str
    content: str
    mapping: str
    urgent: bool
    event: float
    run: str
    state: State
    attempts: int
    looks: int
    reason: str
    bundle: str | None
    begun_at: float | None
    server: Server
    version: str | None
    server_id: str | None
    acked: int | None
    subject: str
    body: bytes | None

    def __repr__(self) -> str:
        """Without what is patient data."""
        return f"Delivery(id={self.id}, resource={self.resource}, state={self.state.value!r})"


@dataclass(frozen=True, slots=True)
class Claim:
    """A leased lane and what it hands out, in the order in which it has to go."""

    lease: Lease
    deliveries: tuple[Delivery, ...]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A bundle about to be sent: an id never used before, its deliveries of one lane, the hash of its bytes."""

    id: str
    deliveries: Sequence[Delivery]
    digest: str


class Result(msgspec.Struct, frozen=True, gc=False):
    """What became of one delivery. ``bundle`` is given where it was begun.

    ``next_at`` goes with ``queued`` and ``unknown``. ``version``, ``server_id`` and ``server`` are what was learnt of
    the site's copy. ``reason`` is a code, never a value.
    """

    delivery: Delivery
    to: State
    bundle: str | None = None
    reason: str = ""
    next_at: float | None = None
    version: str | None = None
    server_id: str | None = None
    server: Server | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a bundle ended, as a code for the history."""

    bundle: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Rescued:
    """What was taken back from workers: lanes, deliveries that had not gone, deliveries that may have arrived."""

    lanes: int = 0
    queued: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class Known:
    """An identity at a site: what the site holds, and the newest delivery that was asked for.

    ``revision`` is the newest that was seen, be its content the same as that of an older one. ``subject`` is that of
    what the site acknowledged last, or else of the newest delivery.
    """

    resource: int
    kind: str
    record: str
    role: str
    generation: int
    lane: str
    resource_type: str
    resource_id: str
    server: Server
    version: str | None
    server_id: str | None
    withdrawn: bool
    revision: str
    acked: int | None
    acked_revision: str | None
    acked_content: str | None
    acked_mapping: str | None
    acked_at: float | None
    newest: int | None
    state: State | None
    reason: str
    action: Action | None
    content: str | None
    mapping: str | None
    subject: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Where:
    """Which deliveries: everything that is given has to hold. ``reason`` is the beginning of one."""

    site: str | None = None
    kind: str | None = None
    record: str | None = None
    role: str | None = None
    run: str | None = None
    reason: str | None = None
    resource_type: str | None = None
    states: tuple[State, ...] = ()
    ids: tuple[int, ...] = ()
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A delivery as it is listed.

    ``decision`` is the number of the one it was handed out or blocked by, ``review_at`` when a block may end by itself.
    """

    id: int
    resource: int
    site: str
    kind: str
    record: str
    role: str
    generation: int
    revision: str
    action: Action
    resource_type: str
    resource_id: str
    content: str
    mapping: str
    run: str
    urgent: bool
    state: State
    reason: str
    attempts: int
    looks: int
    next_at: float
    enqueued_at: float
    settled_at: float | None
    bundle: str | None
    version: str | None
    decision: int | None
    review_at: float | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand.

    The oldest are times of enqueueing of what has not arrived: queued to unknown, parked, rejected.
    """

    counts: Mapping[tuple[str, str, State], int]
    oldest_unsent: float | None
    oldest_urgent: float | None
    leased: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened to a record."""

    at: float
    event: str
    role: str
    generation: int
    revision: str
    delivery: int | None = None
    before: State | None = None
    after: State | None = None
    bundle: str | None = None
    reason: str = ""
    worker: str = ""
    attempt: int | None = None
    run: str = ""
    version: str | None = None
    decision: int | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A document that is kept with a site, and when it was kept."""

    text: str
    at: float
