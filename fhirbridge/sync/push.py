"""Push: record → parts → ledger → bundle → site, and one outcome back for each record.

Everything is in the ledger before it is sent, so a push that broke off is finished by the next one, whatever records
that is started with. What another worker delivers meanwhile counts as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random

from fhirbridge.errors import AuditUnavailable, Fault, LedgerError, Refused, SiteUnreachable
from fhirbridge.fhir.bundle import EntryOutcome
from fhirbridge.ledger import FAILED, OPEN, Decision, Known, Ledger, State, Where
from fhirbridge.mapping import Part
from fhirbridge.site import Site
from fhirbridge.sources.lines import Line
from fhirbridge.sync.backfill import Backfill
from fhirbridge.sync.bench import Report, Tell, nobody
from fhirbridge.sync.blocked import blocked
from fhirbridge.sync.enqueue import Identity, Intake, Offered
from fhirbridge.sync.evidence import evidence_of
from fhirbridge.sync.outcomes import RecordOutcome, combine
from fhirbridge.sync.plan import Planned, planned
from fhirbridge.sync.points import At, nowhere
from fhirbridge.sync.rate import keep_rate
from fhirbridge.sync.reason import Reason
from fhirbridge.sync.runs import new_run
from fhirbridge.sync.ways import check_writable
from fhirbridge.sync.worker import DEFAULT, Settings, Sleep, Worker

# How many lines are looked at together, to bring a patient's records into one bundle. Bounds the memory.
WINDOW = 1_000
# How long a push waits, in all, for a site that asks for patience.
PATIENCE = 30.0
_OVER = frozenset(State) - OPEN
# Between looks at what other workers have done, in seconds.
_BETWEEN_LOOKS = 1.0


@dataclass(frozen=True, slots=True)
class How:
    """How a push works: the run's id, whether to send what only the mapping changed, seconds of patience, who hears
    what became of each delivery, and what tests hold in their hands."""

    run: str = ""
    resend: bool = False
    patience: float = PATIENCE
    settings: Settings = DEFAULT
    clock: Callable[[], float] = time.time
    sleep: Sleep | None = None
    chance: Random | None = None
    at: At = nowhere
    tell: Tell = nobody


def push(lines: Iterable[Line], site: Site, ledger: Ledger, how: How = How()) -> Iterator[RecordOutcome]:
    """Deliver records and yield the outcome of each, in no particular order.

    A refused line or record never holds up another. Raises :class:`ConfigError` before anything is sent,
    :class:`SiteUnreachable` when the site could not be reached in time, :class:`LedgerError` and
    :class:`AuditUnavailable`, each after an outcome for every line that was read; what was not delivered stays in the
    ledger.
    """
    keep_rate(site, how.clock, how.sleep)
    site.check()
    run = _Run(site, ledger, how)
    waiting = iter(lines)
    while window := list(islice(waiting, WINDOW)):
        yield from run.window(window)
    run.finish()


class _Run:
    """One push: an intake, a worker, and who waits for what."""

    def __init__(self, site: Site, ledger: Ledger, how: How) -> None:
        self._site, self._ledger, self._how = site, ledger, how
        self._run = how.run or new_run(how.clock())
        self._intake = Intake(ledger, site.name, site.mappings.binding, self._run, how.at)
        self._worker = Worker(
            site, ledger, settings=how.settings, clock=how.clock, sleep=how.sleep, chance=how.chance,
            at=how.at, tell=self._hear, run=self._run,
        )  # fmt: skip
        check_writable(self._worker.ways, (kind.resource_type for kind in site.mappings.kinds.values()))
        self._backfill = Backfill(site, ledger)
        self._waiting: set[Identity] = set()
        self._queued: set[Identity] = set()
        self._reports: dict[Identity, Report] = {}
        self._looked = 0.0
        self._key = site.mappings.binding.clinic.id_key
        self._concerned: set[str] = set()

    def window(self, window: Sequence[Line]) -> Iterator[RecordOutcome]:
        """Queue these lines, deliver, and tell of each."""
        ready: list[Planned] = []
        early, others = self._backfill.apart(window)
        yield from (RecordOutcome(line, "before_start") for line in early)
        for line in others:
            found = _plan(line, self._site)
            if isinstance(found, Planned):
                ready.append(found)
            else:
                yield found
        evidence = list(evidence_of(window, self._key))
        self._concerned.update(one.patient for one in evidence)
        offered = self._intake.take(ready, evidence=evidence, resend=self._how.resend)
        self._replay([identity for one in offered for identity in one.failed])
        self._queued = {identity for one in offered for identity in one.queued}
        earlier = (several for one in offered for several in (one.underway, one.superseded, one.failed, one.blocked))
        concerned = self._queued.union(*earlier)
        self._waiting = set(concerned)
        self._reports = {}
        try:
            self._worker.run(self._goes_on, self._how.patience)
        except (KeyboardInterrupt, LedgerError, AuditUnavailable):
            rows = self._rows_if_any(concerned)
            yield from (self._outcome(one, rows) for one in offered)
            raise
        # What others settled, or an earlier push, is no longer waited for, but has to be told of.
        rows = self._rows(concerned)
        yield from (self._outcome(one, rows) for one in offered)
        away = next((one for identity in self._waiting for one in self._unreachable(identity)), None)
        if away is not None:
            raise SiteUnreachable(away.reason, code=away.code, hint=away.hint)

    def finish(self) -> None:
        """Deliver what the consents of this push released, and take back what they withdrew. Raises as :meth:`window`.

        A consent may stand behind the records that wait for it. What is not done in time goes with the next push.
        """
        if self._concerned:
            self._worker.run(self._something_follows, self._how.patience)

    def _something_follows(self) -> bool:
        if any(one.key in self._concerned for one in self._ledger.requested()):
            return True
        states = {} if self._worker.idle else self._ledger.of_run(self._run, self._site.name)
        return any(states.get(one) for one in OPEN)

    def _hear(self, report: Report) -> None:
        self._how.tell(report)
        one = report.delivery
        identity = (one.kind, one.record, one.role, one.generation)
        self._reports[identity] = report
        if report.to in _OVER:
            self._waiting.discard(identity)

    def _goes_on(self) -> bool:
        """Whether anything of this push is still on its way; others may have delivered it."""
        if self._waiting and time.monotonic() - self._looked > _BETWEEN_LOOKS:
            self._looked = time.monotonic()
            rows = self._rows(self._waiting)
            # What is blocked may be free in a moment, as long as a claim has not found that there is nothing to do.
            over = _OVER if self._worker.idle else _OVER - {State.BLOCKED}
            self._waiting -= {identity for identity, row in rows.items() if row.state in over}
        return bool(self._waiting)

    def _rows(self, identities: Iterable[Identity]) -> dict[Identity, Known]:
        records = {identity[:2] for identity in identities}
        if not records:
            return {}
        found = self._ledger.known(self._site.name, records)
        return {(row.kind, row.record, row.role, row.generation): row for row in found}

    def _rows_if_any(self, identities: Iterable[Identity]) -> dict[Identity, Known]:
        """The same, for somebody who is about to tell of a failure of the ledger."""
        try:
            return self._rows(identities)
        except LedgerError:
            return {}

    def _replay(self, identities: Sequence[Identity]) -> None:
        """Push again what was set aside: that somebody pushes it once more is the decision of a person."""
        rows = self._rows(identities)
        ids = tuple(
            row.newest for identity in identities if (row := rows[identity]).newest is not None and row.state in FAILED
        )
        if ids:
            self._ledger.replay(Where(site=self._site.name, ids=ids))

    def _unreachable(self, identity: Identity) -> Iterator[Fault]:
        report = self._reports.get(identity)
        if report is not None and Reason.read(report.reason).why == "unreachable":
            yield from report.faults

    def _outcome(self, offered: Offered, rows: dict[Identity, Known]) -> RecordOutcome:
        line, dropped = offered.planned.line, offered.planned.dropped
        if offered.conflicting:
            return RecordOutcome(line, "refused", faults=(_CONFLICT,), dropped=dropped)
        if offered.withdrawn:
            return RecordOutcome(line, "refused", faults=(_RETRACTED,), dropped=dropped)
        # A line that only repeats one of the same push has changed nothing.
        repeated = dict.fromkeys(offered.superseded, False) | {
            identity: identity not in self._queued
            for identity in (*offered.underway, *offered.failed, *offered.blocked)
        }
        ours = repeated | dict.fromkeys(offered.queued, True)
        entries: list[tuple[Part, EntryOutcome]] = []
        faults: list[Fault] = []
        for offer, answer in offered.answers:
            if answer.decision is Decision.MOVED:
                entries.append((offer.part, EntryOutcome("failed")))
            elif offer.identity not in ours:
                entries.append((offer.part, EntryOutcome("unchanged")))
            else:
                outcome, said = self._entry(offer.identity, rows, ours=ours[offer.identity])
                entries.append((offer.part, outcome))
                faults += said
        return combine(line, entries, tuple(dict.fromkeys(faults)), dropped)

    def _entry(
        self, identity: Identity, rows: dict[Identity, Known], *, ours: bool
    ) -> tuple[EntryOutcome, tuple[Fault, ...]]:
        """What became of one resource; ``ours``: it was this record that sent it."""
        report, row = self._reports.get(identity), rows.get(identity)
        delivered = report is not None and report.to is State.ACKED
        if not delivered and row is not None and row.state is State.ACKED:
            # Another worker has settled it since.
            return EntryOutcome("updated" if ours else "unchanged", version=row.version), ()
        if row is not None and row.state is State.BLOCKED:
            return EntryOutcome("blocked"), (blocked(row.kind, row.record, row.reason),)
        if row is not None and row.state in (State.UNKNOWN, State.IN_FLIGHT):
            return EntryOutcome("unknown"), () if report is None else report.faults
        if report is None:
            stopped = self._worker.stopped
            return EntryOutcome("failed"), (stopped or _WAITS,)
        if delivered and not ours:
            return EntryOutcome("unchanged", version=report.outcome.version), ()
        return report.outcome, report.faults


def _plan(line: Line, site: Site) -> Planned | RecordOutcome:
    if line.record is None:
        return RecordOutcome(line, "refused", faults=line.faults)
    try:
        return planned(line, line.record, site.mappings, site.policies)
    except Refused as error:
        return RecordOutcome(line, "refused", faults=error.faults)


_CONFLICT = Fault(
    "revision.conflict", "revision", "the same revision of this record came with other content", "raise the revision"
)
_RETRACTED = Fault(
    "record.retracted", "id", "the record was retracted at the site", "what is to stand there needs a new record"
)
_WAITS = Fault("site.waits", "", "it waits in the ledger", "push or sync goes on with it")
