"""What a site's work tells the trail: every request before it leaves and how it ended, every denial, what is handed
out, and what is done to the clinic's own keeping.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from fhirbridge.audit.acts import BUNDLES, DENIAL, EXPORT, REQUESTS, Act
from fhirbridge.audit.concern import patient_of_thread
from fhirbridge.audit.interaction import Interaction, Masks, Place
from fhirbridge.audit.moment import instant
from fhirbridge.audit.shape import Shape
from fhirbridge.audit.trail import Trail
from fhirbridge.client.witness import Announced, Nobody, Request, Witness
from fhirbridge.errors import AuditUnavailable
from fhirbridge.fhir.bundle import Address
from fhirbridge.fhir.json import Tree, dump

WELL, REFUSED, FAILED = "0", "4", "8"
# Of what was denied in one decision so many are named, the others counted: consent explain has them all.
_MOST_DENIED = 200
How: TypeAlias = Literal["transaction", "batch", "create", "update", "delete"]


@dataclass(frozen=True, slots=True)
class Leaving:
    """What is about to be written at a site: ``bundle`` is the id that the ledger has of it (a UUID in hex), ``how`` a
    bundle's form, or what is done to one resource; ``new``: nothing of it was there before. ``patient`` is the key of
    the lane, ``addresses`` are type and id of each resource."""

    bundle: str
    how: How
    new: bool
    patient: str
    addresses: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Denied:
    """A denial of the consent gate: ``act`` is what it was asked, ``reason`` its code, ``version`` that of the
    patient's consents, ``consents`` the addresses of those that said so."""

    patient: str
    act: str
    reason: str
    version: int
    consents: Sequence[Address]
    addresses: Sequence[Address]


class Ending(Announced, Protocol):
    """An announcement whose parts may end differently."""

    def settled(self, code: str, parts: Sequence[tuple[int, str]]) -> None:
        """Hear how each part ended that did not end well: its place, and its state. ``code`` is a status, or ours."""


class Auditor(Witness, Protocol):
    """Hears what happens at a site, or to the clinic's own keeping. Whatever it raises, nothing leaves."""

    def sends(self, leaving: Leaving) -> Ending:
        """Hear of a write, and have it on disk. Raises :class:`AuditUnavailable`."""

    def denies(self, denied: Sequence[Denied]) -> None:
        """Hear of denials. Raises :class:`AuditUnavailable`."""

    def hands_out(self, parts: Sequence[tuple[str, Sequence[Address]]]) -> None:
        """Hear of what leaves fhirbridge as a file: patients' keys with the addresses of what is theirs; on disk."""

    def record(self, act: Act, *, patient: str = "", details: Sequence[tuple[str, str]] = ()) -> None:
        """Hear of an act on the clinic's own keeping before it is done; on disk. ``details``: words and numbers of
        ours, nothing of a record. Raises :class:`AuditUnavailable`."""

    def close(self) -> None:
        """End the trail for now. Raises :class:`AuditUnavailable` where anything of it could not be written."""


class Audit:
    """Writes it into a trail. ``clock`` gives epoch seconds. May be shared by threads."""

    def __init__(self, trail: Trail, shape: Shape, masks: Masks, clock: Callable[[], float]) -> None:
        self._trail, self._shape, self._masks, self._clock = trail, shape, masks, clock
        self._lost: AuditUnavailable | None = None

    def asks(self, request: Request) -> Announced:
        """See :class:`Auditor`. What takes nothing of a patient along is on disk with whatever comes next."""
        asked = self._masks.asked(request.method, request.address, request.body, request.inside)
        own, patient = str(uuid.uuid4()), patient_of_thread()
        entities = self._patient(patient)
        if asked.query is not None:
            entities.append(self._shape.query(asked.query))
        elif asked.interaction in ("read", "vread", "create", "update", "delete"):
            entities += map(self._shape.data, asked.places[:1])
        else:
            entities += self._shape.members(asked.places)
        act = REQUESTS[asked.interaction]
        return self._announce(act, own, [*entities, self._shape.transaction(own)], patient, durable=not asked.quiet)

    def sends(self, leaving: Leaving) -> Ending:
        """See :class:`Auditor`."""
        own = str(uuid.UUID(leaving.bundle))
        alone: dict[str, Interaction] = {"create": "create", "update": "update", "delete": "delete"}
        if leaving.how in alone:
            act = REQUESTS[alone[leaving.how]]
            what = [self._shape.data(self._masks.place(*one)) for one in leaving.addresses]
        else:
            act = BUNDLES[leaving.how, leaving.new]
            what = [self._shape.bundle(leaving.bundle), *self._written(leaving.addresses)]
        entities = [*self._patient(leaving.patient), *what, self._shape.transaction(own)]
        return self._announce(act, own, entities, leaving.patient, durable=True)

    def denies(self, denied: Sequence[Denied]) -> None:
        """See :class:`Auditor`."""
        for one in denied:
            addresses = [f"{place.type}/{place.id or place.keyed}" for place in self._places(one.addresses)]
            more = len(addresses) - _MOST_DENIED
            details = [
                ("act", one.act),
                ("reason", one.reason),
                ("consents-version", str(one.version)),
                *(("denied", address) for address in addresses[:_MOST_DENIED]),
                *((("denied-more", str(more)),) if more > 0 else ()),
            ]
            consents = [self._shape.consent(place) for place in self._places(one.consents)]
            self._tell(DENIAL, [self._shape.subject(one.patient, details), *consents], one.patient, REFUSED, one.reason)

    def hands_out(self, parts: Sequence[tuple[str, Sequence[Address]]]) -> None:
        """See :class:`Auditor`."""
        for number, (patient, addresses) in enumerate(parts, start=1):
            entities = [*self._patient(patient), *self._shape.members(self._places(addresses))]
            self._tell(EXPORT, entities, patient, WELL, "", durable=number == len(parts))

    def record(self, act: Act, *, patient: str = "", details: Sequence[tuple[str, str]] = ()) -> None:
        """See :class:`Auditor`."""
        self._tell(act, [*self._patient(patient), self._shape.kept(details)], patient, WELL, "", durable=True)

    def close(self) -> None:
        """See :class:`Auditor`."""
        lost, self._lost = self._lost, None
        self._trail.close()
        if lost is not None:
            raise lost

    def ended(self, own: str, code: str, words: str, parts: Sequence[tuple[int, str]]) -> None:
        """Write down how something ended that was announced. It is done already, so a failure is raised by the next
        announcement, or at the end."""
        outcome: Tree = {"of": own, "at": instant(self._clock()), "code": code, "words": words}
        try:
            self._trail.append("outcome", dump(outcome | ({"parts": parts} if parts else {})))
        except AuditUnavailable as error:
            self._lost = error

    def _announce(self, act: Act, own: str, entities: Iterable[bytes], patient: str, *, durable: bool) -> _Announcement:
        event = self._shape.event(act, own, instant(self._clock()), entities, patient=patient)
        self._trail.append("event", event, durable=durable)
        self._lost = None
        return _Announcement(own, self)

    def _tell(
        self, act: Act, entities: Iterable[bytes], patient: str, code: str, words: str, *, durable: bool = False
    ) -> None:
        """An event that is over when it is told."""
        event = self._shape.event(act, str(uuid.uuid4()), instant(self._clock()), entities, patient=patient)
        self._trail.append("event", event[:-1] + b"," + dump(self._shape.outcome(code, words))[1:], durable=durable)

    def _written(self, addresses: Sequence[tuple[str, str]]) -> list[bytes]:
        """The entries of a bundle. Those of ours, mostly all of them, are not looked at one by one."""
        places = [f"{kind}/{own}" for kind, own in addresses]
        if self._masks.are_ours(places):
            return self._shape.references(places)
        return self._shape.members([self._masks.place(*one) for one in addresses])

    def _patient(self, key: str) -> list[bytes]:
        return [self._shape.patient_text(key)] if key else []

    def _places(self, addresses: Iterable[Address]) -> list[Place]:
        return [self._masks.place(one.type, one.id) for one in addresses]


@dataclass(slots=True)
class _Announcement:
    id: str
    _audit: Audit = field(repr=False)
    _over: bool = False

    def ended(self, status: int | None, code: str = "") -> None:
        """See :class:`fhirbridge.client.witness.Announced`."""
        self._end(_outcome(status), str(status) if status is not None else code, ())

    def settled(self, code: str, parts: Sequence[tuple[int, str]]) -> None:
        """See :class:`Ending`."""
        self._end(_outcome(int(code)) if code.isdecimal() else WELL if code == "deleted" else FAILED, code, parts)

    def _end(self, code: str, words: str, parts: Sequence[tuple[int, str]]) -> None:
        if not self._over:
            self._over = True
            self._audit.ended(self.id, code, words, parts)


def _outcome(status: int | None) -> str:
    if status is None:
        return FAILED
    return WELL if status < 400 else REFUSED if status < 500 else FAILED


class Silence(Nobody):
    """Hears nothing and writes nothing: where the trail is turned off, and in what is no part of it."""

    def sends(self, leaving: Leaving) -> Ending:
        """See :class:`Auditor`."""
        return _Unheard(str(uuid.UUID(leaving.bundle)))

    def denies(self, denied: Sequence[Denied]) -> None:
        """See :class:`Auditor`."""

    def hands_out(self, parts: Sequence[tuple[str, Sequence[Address]]]) -> None:
        """See :class:`Auditor`."""

    def record(self, act: Act, *, patient: str = "", details: Sequence[tuple[str, str]] = ()) -> None:
        """See :class:`Auditor`."""

    def close(self) -> None:
        """See :class:`Auditor`."""


@dataclass(frozen=True, slots=True)
class _Unheard:
    id: str

    def ended(self, status: int | None, code: str = "") -> None:
        """See :class:`Ending`."""

    def settled(self, code: str, parts: Sequence[tuple[int, str]]) -> None:
        """See :class:`Ending`."""


SILENCE: Auditor = Silence()
