"""Lines → records → parts → the items of the ledger.

Mapping is done here, before anything is stored; who sends never maps. What no longer belongs to a record is withdrawn
in the same call: a projection that a correction took away, a record that was in the wrong patient's chart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from fhirbridge.binding import MAPPING_VERSION, Binding
from fhirbridge.fhir.json import dump
from fhirbridge.ledger import FAILED, OPEN, Action, Decision, Enqueued, Evidence, Item, Known, Ledger, Server, State
from fhirbridge.mapping import PRIMARY, Part
from fhirbridge.records import DateTime, Instant, Record
from fhirbridge.sync.evidence import with_moved
from fhirbridge.sync.identity import content_of, lane_of
from fhirbridge.sync.plan import Planned, RevisionKey, revision_key, revision_of
from fhirbridge.sync.points import At, nowhere
from fhirbridge.sync.retraction import WITH_CONSENT
from fhirbridge.sync.subject import text_of

# When a record's matter took place, by the field that says so; the first that is there counts.
_WHEN = ("started_at", "measured_at", "performed_at", "signed_at", "onset", "detected_at", "recorded_at")
URGENT = frozenset({"AdverseEvent"})

Identity: TypeAlias = tuple[str, str, str, int]  # kind, record, role, generation
Rows: TypeAlias = Mapping[tuple[str, str], Sequence[Known]]


@dataclass(frozen=True, slots=True)
class Offer:
    """One resource of a record as it is offered to the ledger. ``decided`` is set where it must not even be offered."""

    item: Item = field(repr=False)
    part: Part
    decided: Decision | None = None

    @property
    def identity(self) -> Identity:
        """Which resource it is, whatever its revision."""
        return self.item.kind, self.item.record, self.item.role, self.item.generation


@dataclass(frozen=True, slots=True)
class Offered:
    """A record with the ledger's decision on each of its resources."""

    planned: Planned
    answers: tuple[tuple[Offer, Enqueued], ...]

    @property
    def conflicting(self) -> bool:
        """Whether this revision came before with other content."""
        return any(answer.decision is Decision.CONFLICT for _, answer in self.answers)

    @property
    def withdrawn(self) -> bool:
        """Whether the record was retracted, so that no revision of it goes any more."""
        return any(answer.decision is Decision.RETRACTED for _, answer in self.answers)

    @property
    def failed(self) -> list[Identity]:
        """Resources of this very content that were set aside before."""
        return [offer.identity for offer, answer in self.answers if _stands(answer) and answer.state in FAILED]

    @property
    def queued(self) -> list[Identity]:
        """Resources that this record put on their way."""
        return [offer.identity for offer, answer in self.answers if answer.decision is Decision.QUEUED]

    @property
    def underway(self) -> list[Identity]:
        """Resources of this very content that were on their way already."""
        return [offer.identity for offer, answer in self.answers if _stands(answer) and answer.state in OPEN]

    @property
    def blocked(self) -> list[Identity]:
        """Resources of this very content that wait for the patient's consent already."""
        return [offer.identity for offer, answer in self.answers if _stands(answer) and answer.state is State.BLOCKED]

    @property
    def superseded(self) -> list[Identity]:
        """Resources of which a newer revision goes instead."""
        return [offer.identity for offer, answer in self.answers if answer.decision is Decision.SUPERSEDED]


def _stands(answer: Enqueued) -> bool:
    return answer.decision is Decision.UNCHANGED


def moment_of(record: Record) -> DateTime | Instant | None:
    """When a record's matter took place, as the record says it."""
    found: Iterator[DateTime | Instant | None] = (getattr(record, name, None) for name in _WHEN)
    return next((one for one in found if one is not None), None)


def happened(record: Record) -> float:
    """The same in epoch seconds; 0 where the record does not say."""
    moment = moment_of(record)
    return 0.0 if moment is None else float(moment.as_datetime().timestamp())


class Intake:
    """Offers records to the ledger for one site. ``run`` is on all that is queued; ``at`` hears of named points."""

    def __init__(self, ledger: Ledger, site: str, binding: Binding, run: str, at: At = nowhere) -> None:
        self._ledger = ledger
        self._site = site
        self._binding = binding
        self._key = binding.clinic.id_key
        self._at = at
        self.run = run

    def take(
        self,
        records: Sequence[Planned],
        *,
        evidence: Iterable[Evidence] = (),
        resend: bool = False,
        marks: Mapping[str, str] | None = None,
    ) -> list[Offered]:
        """Queue what is new of ``records``, all or nothing; one answer for each, in their order.

        ``evidence`` are the consents that came along, ``marks`` how far a source was read: both are kept in the same
        transaction. ``resend`` also queues what only another mapping version says otherwise. Raises
        :class:`LedgerError`.
        """

        found = with_moved(evidence, self._ledger)

        def store(items: Sequence[Item]) -> list[Enqueued]:
            return self._ledger.enqueue(
                items, site=self._site, run=self.run, resend=resend, marks=marks or {}, evidence=found
            )

        self._at("before-enqueue-commit")
        offered = self._decide(records, store)
        self._at("after-enqueue-commit")
        return offered

    def preview(self, records: Sequence[Planned], *, resend: bool = False) -> list[Offered]:
        """The same answers, with nothing written."""
        return self._decide(records, lambda items: self._ledger.preview(items, site=self._site, resend=resend))

    def _decide(self, records: Sequence[Planned], store: Callable[[Sequence[Item]], list[Enqueued]]) -> list[Offered]:
        rows: dict[tuple[str, str], list[Known]] = {}
        for known in self._ledger.known(self._site, {one.key for one in records}):
            rows.setdefault((known.kind, known.record), []).append(known)
        newest: dict[tuple[str, str], RevisionKey] = {}
        for one in records:
            own = revision_key(one.record.revision)
            newest[one.key] = max(newest.get(one.key, own), own)
        offers = [self._offers(one, rows, newest[one.key]) for one in records]
        items = [offer.item for several in offers for offer in several if offer.decided is None]
        answers = iter(store(items))
        return [
            Offered(
                one,
                tuple(
                    (offer, next(answers) if offer.decided is None else Enqueued(offer.decided)) for offer in several
                ),
            )
            for one, several in zip(records, offers, strict=True)
        ]

    def _offers(self, one: Planned, rows: Rows, newest: RevisionKey) -> list[Offer]:
        """The parts of a record, and what of it has to be withdrawn; ``newest`` is its newest revision in this call."""
        record, known = one.record, rows.get(one.key, ())
        lane, event = lane_of(record.patient, self._key), happened(record)
        current = _newest_generations(known)
        moved = [row for row in current.values() if row.lane != lane and not row.withdrawn]
        refused = Decision.SUPERSEDED if revision_key(record.revision) < newest else _not_newer(record, moved)
        offers = []
        for part in one.parts:
            row = current.get(part.role)
            generation = 0 if row is None else row.generation
            decided = refused
            if row is not None and refused is None and self._starts_anew(row, part, current, lane):
                generation += 1
                decided = _outdated(record, row)
            offers.append(self._offer(record, part, generation, lane, event, decided))
        if refused is None:
            kept = {offer.identity for offer in offers}
            offers += [
                self._withdrawal(record, row, event)
                for row in current.values()
                if _is_there(row) and (row.kind, row.record, row.role, row.generation) not in kept
            ]
        return offers

    def _starts_anew(self, row: Known, part: Part, current: Mapping[str, Known], lane: str) -> bool:
        """Another patient's resource is never written over; a projection may come back after it was taken away, and
        everything that was taken back with a consent."""
        if row.lane != lane or _taken_with_consent(row):
            return True
        primary = current.get(PRIMARY)
        return row.withdrawn and part.role != PRIMARY and primary is not None and not primary.withdrawn

    def _offer(
        self, record: Record, part: Part, generation: int, lane: str, event: float, decided: Decision | None
    ) -> Offer:
        own = part.id if generation == 0 else self._id(record.kind, record.id, part.role, generation)
        resource = part.resource | {"id": own}
        item = Item(
            kind=record.kind,
            record=record.id,
            role=part.role,
            revision=record.revision,
            resource_type=part.resource_type,
            resource_id=own,
            lane=lane,
            content=content_of(resource, self._key),
            mapping=MAPPING_VERSION,
            body=dump(resource),
            urgent=part.resource_type in URGENT,
            event=event,
            generation=generation,
            subject=text_of(record, Part(part.role, part.resource_type, own, resource)),
        )
        return Offer(item, Part(part.role, part.resource_type, own, resource), decided)

    def _withdrawal(self, record: Record, row: Known, event: float) -> Offer:
        bodies = self._ledger.bodies([row.newest]) if row.newest is not None else {}
        item = withdrawal(row, record.revision, event, bodies.get(row.newest or 0))
        return Offer(item, Part(row.role, row.resource_type, row.resource_id, {}))

    def _id(self, kind: str, record: str, role: str, generation: int) -> str:
        return self._binding.resource_id(kind, record, f"{role}~{generation}")


def withdrawal(
    row: Known, revision: int | str, event: float = 0.0, body: bytes | None = None, *, how: str = "", why: str = ""
) -> Item:
    """The item that takes back a resource; what is to be written in its place is decided when it goes.

    ``body`` is what was sent last, by which the resource is found where the site gave it its id; ``how`` is
    :data:`~fhirbridge.sync.retraction.BY_DELETE` where it must be deleted, whatever its type, and ``why``
    :data:`~fhirbridge.sync.retraction.WITH_CONSENT` where it follows from a withdrawn consent.
    """
    return Item(
        kind=row.kind,
        record=row.record,
        role=row.role,
        revision=revision,
        resource_type=row.resource_type,
        resource_id=row.resource_id,
        lane=row.lane,
        content=why,
        mapping=MAPPING_VERSION,
        body=body,
        action=Action.RETRACT,
        urgent=row.resource_type in URGENT,
        event=event,
        generation=row.generation,
        subject=how,
    )


def _newest_generations(known: Iterable[Known]) -> dict[str, Known]:
    found: dict[str, Known] = {}
    for row in known:
        if row.role not in found or found[row.role].generation < row.generation:
            found[row.role] = row
    return found


def _not_newer(record: Record, moved: Sequence[Known]) -> Decision | None:
    """What forbids that a record changes its patient: only a newer revision may."""
    if not moved:
        return None
    newest = max(revision_key(revision_of(row.revision)) for row in moved)
    own = revision_key(record.revision)
    if own < newest:
        return Decision.OUTDATED
    return Decision.CONFLICT if own == newest else None


def _taken_with_consent(row: Known) -> bool:
    return row.withdrawn and row.action is Action.RETRACT and row.content == WITH_CONSENT


def _outdated(record: Record, row: Known) -> Decision | None:
    """What forbids that a record comes back: it is older than what was taken back."""
    if not _taken_with_consent(row):
        return None
    older = revision_key(record.revision) < revision_key(revision_of(row.revision))
    return Decision.OUTDATED if older else None


def _is_there(row: Known) -> bool:
    """Whether the site may hold a resource, or something is on its way to it."""
    if row.withdrawn or row.server in (Server.GONE, Server.RETRACTED):
        return False
    return row.server is not Server.ABSENT or row.state in OPEN | FAILED | {State.BLOCKED}
