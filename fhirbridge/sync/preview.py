"""``plan``: what a push of these records would do. Nothing is written, here or there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, TypeAlias

from fhirbridge.audit import concerning
from fhirbridge.errors import Fault, Refused
from fhirbridge.fhir.json import Tree, parse_object
from fhirbridge.ledger import FAILED, Action, Decision, Enqueued, Ledger, Server, State
from fhirbridge.records import Ref
from fhirbridge.site import Site
from fhirbridge.sources.lines import Line
from fhirbridge.sync.backfill import Backfill
from fhirbridge.sync.blocked import AREA, blocked
from fhirbridge.sync.conflict import Clash, differences
from fhirbridge.sync.enqueue import Intake, Offer
from fhirbridge.sync.evidence import evidence_of
from fhirbridge.sync.foresight import Foresight
from fhirbridge.sync.identity import lane_of
from fhirbridge.sync.plan import Planned, planned
from fhirbridge.sync.push import WINDOW
from fhirbridge.sync.strategy import Refusal
from fhirbridge.sync.ways import Ways

Would: TypeAlias = Literal["create", "update", "retract", "resend", "unchanged", "waiting", "conflict", "blocked"]
WOULD: tuple[Would, ...] = ("create", "update", "retract", "resend", "unchanged", "waiting", "conflict", "blocked")


@dataclass(frozen=True, slots=True)
class Step:
    """What would become of one resource. ``lane`` stands for its patient, ``changes`` are paths with keyed hashes.

    ``waits``: it is blocked by the patient's consents alone, so that nothing has to be mended.
    """

    kind: str
    record: str
    role: str
    lane: str
    would: Would
    faults: tuple[Fault, ...] = ()
    changes: tuple[Clash, ...] = ()
    waits: bool = False

    def as_json(self) -> Tree:
        """The step as one line."""
        tree: Tree = {
            "kind": self.kind,
            "id": self.record,
            "role": self.role,
            "patient": self.lane,
            "would": self.would,
        }
        if self.faults:
            tree["faults"] = [fault.as_json() for fault in self.faults]
        if self.changes:
            tree["changes"] = [{"path": one.path, "was": one.base, "is": one.ours} for one in self.changes]
        return tree


class Preview:
    """The steps of a push that is not made at ``now`` (epoch seconds). ``look``: ask the site for the patients of what
    would be sent. ``aside`` counts the records from before the start of the site's backfill."""

    def __init__(
        self, site: Site, ledger: Ledger, now: float, *, resend: bool = False, diff: bool = False, look: bool = True
    ) -> None:
        self._site, self._ledger = site, ledger
        self._resend, self._diff, self._look = resend, diff, look
        self._foresight = Foresight(site, ledger, now)
        self._ways = Ways(site, ledger)
        self._intake = Intake(ledger, site.name, site.mappings.binding, "plan")
        self._key = site.mappings.binding.clinic.id_key
        self._backfill = Backfill(site, ledger)
        self.aside = 0
        self._charts: dict[str, Fault | None] = {}

    def steps(self, lines: Iterable[Line]) -> Iterator[Step]:
        """One step for each resource, and one for a record that cannot be mapped. Raises :class:`SiteError`."""
        waiting = iter(lines)
        while window := list(islice(waiting, WINDOW)):
            self._foresight.take(evidence_of(window, self._key))
            ready: list[Planned] = []
            early, others = self._backfill.apart(window)
            self.aside += len(early)
            for line in others:
                record = line.record
                if record is None:
                    yield Step("", "", "", "", "blocked", line.faults)
                    continue
                try:
                    ready.append(planned(line, record, self._site.mappings, self._site.policies))
                except Refused as error:
                    lane = lane_of(record.patient, self._key)
                    yield Step(record.kind, record.id, "", lane, "blocked", error.faults)
            yield from self._window(ready)

    def _window(self, ready: Sequence[Planned]) -> Iterator[Step]:
        for one in self._intake.preview(ready, resend=self._resend):
            for offer, answer in one.answers:
                yield self._step(one.planned.record.patient, offer, answer)

    def _step(self, patient: Ref, offer: Offer, answer: Enqueued) -> Step:
        item = offer.item
        would = _would(offer, answer)
        faults: tuple[Fault, ...] = ()
        changes: tuple[Clash, ...] = ()
        waits = False
        if would in ("create", "update", "waiting"):
            verdict = self._foresight.verdict(item, acked=answer.server is Server.PRESENT)
            if not verdict.permit:
                would, waits = "blocked", True
                faults = (blocked(item.kind, item.record, f"{AREA}{verdict.reason}"),)
        if would in ("create", "update"):
            fault = self._blocked(patient, offer)
            if fault is not None:
                would, faults = "blocked", (fault,)
            elif would == "update" and self._diff:
                changes = self._changes(offer)
        return Step(item.kind, item.record, item.role, item.lane, would, faults, changes, waits)

    def _blocked(self, patient: Ref, offer: Offer) -> Fault | None:
        way = self._ways.of(offer.item.resource_type)
        if isinstance(way, Refusal):
            return Fault(f"write.{way.reason}", "", way.message, way.hint)
        if not self._look:
            return None
        lane = offer.item.lane
        if lane not in self._charts:
            with concerning(lane):
                found = self._site.patients.find(patient)
            self._charts[lane] = found if isinstance(found, Fault) else None
        return self._charts[lane]

    def _changes(self, offer: Offer) -> tuple[Clash, ...]:
        item = offer.item
        for row in self._ledger.known(self._site.name, [(item.kind, item.record)]):
            if (row.role, row.generation) == (item.role, item.generation) and row.acked is not None:
                kept = self._ledger.bodies([row.acked])
                if row.acked in kept:
                    return differences(parse_object(kept[row.acked]), offer.part.resource, self._key)
        return ()


def _would(offer: Offer, answer: Enqueued) -> Would:
    match answer.decision:
        case Decision.QUEUED if offer.item.action is Action.RETRACT:
            return "retract"
        case Decision.QUEUED:
            return "update" if answer.server is Server.PRESENT else "create"
        case Decision.CONFLICT | Decision.RETRACTED:
            return "conflict"
        case Decision.REMAPPED:
            return "resend"
        case Decision.MOVED:
            return "blocked"
        case Decision.UNCHANGED if answer.state in FAILED:
            return "blocked"
        case Decision.UNCHANGED if answer.state is State.BLOCKED:
            return "update" if answer.server is Server.PRESENT else "create"
        case Decision.UNCHANGED if answer.state not in (None, State.ACKED):
            return "waiting"
        case _:
            return "unchanged"


def counted(steps: Iterable[Step]) -> dict[str, Counter[Would]]:
    """Steps by kind and by what would be done."""
    found: dict[str, Counter[Would]] = {}
    for step in steps:
        found.setdefault(step.kind or "(unreadable)", Counter())[step.would] += 1
    return found
