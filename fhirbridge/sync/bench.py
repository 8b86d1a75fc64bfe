"""What the lanes of one worker share: the site, the ledger, how to write, the site's pace, and whom to tell."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from random import Random
from typing import TypeAlias

from fhirbridge.errors import Fault
from fhirbridge.fhir.bundle import EntryOutcome
from fhirbridge.ledger import Delivery, Ledger, State
from fhirbridge.site import Site
from fhirbridge.sync.pace import Pace
from fhirbridge.sync.points import At, nowhere
from fhirbridge.sync.resolve import Elsewhere
from fhirbridge.sync.retry import Decision, Do, Happened, Sent, decide, row_for
from fhirbridge.sync.watch import guard
from fhirbridge.sync.ways import Ways


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one delivery in one attempt. ``outcome`` is the entry's, ``faults`` say why it is not there."""

    delivery: Delivery
    to: State
    reason: str
    outcome: EntryOutcome
    faults: tuple[Fault, ...] = field(default=())


Tell: TypeAlias = Callable[[Report], None]


def nobody(report: Report) -> None:
    """Tells nobody."""


class Bench:
    """Shared by threads. ``clock`` gives epoch seconds, ``at`` is called at each named point with its name."""

    def __init__(
        self,
        site: Site,
        ledger: Ledger,
        *,
        clock: Callable[[], float],
        chance: Random,
        at: At = nowhere,
        tell: Tell = nobody,
    ) -> None:
        self.site = site
        self.ledger = ledger
        guard(site.client)
        self.ways = Ways(site, ledger)
        self.elsewhere = Elsewhere(site, ledger, self.ways.limit.entries, clock)
        self.clock = clock
        self.at = at
        self.tell = tell
        self.stopping = threading.Event()
        self.stopped: Fault | None = None
        self._chance = chance
        self._pace = Pace()
        self._succeeded_at: float | None = None
        self._lock = threading.Lock()
        binding = site.mappings.binding
        self.key = binding.clinic.id_key
        self.bases = binding.bases
        self.revision_systems = binding.code_systems("revision")
        self.record_key = binding.code_system("record-key")

    @property
    def pace(self) -> Pace:
        """How fast the site may be asked now."""
        return self._pace

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be begun."""
        return self.stopping.is_set() or self.stopped is not None

    def decide(self, happened: Happened, sent: Sent, fault: Fault) -> Decision:
        """What the retry table says; the site's trouble slows everybody down, and ``stop`` ends the run."""
        with self._lock:
            if row_for(happened, sent).scope == "site":
                sent = replace(sent, attempt=max(sent.attempt, self._pace.failures + 1))
            decision = decide(happened, sent, now=self.clock(), chance=self._chance.random())
            if decision.do is Do.STOP and decision.reason == "no-bundles" and self.ways.without_bundles():
                return replace(decision, do=Do.AGAIN, scope="request")
            if decision.scope == "site":
                self._pace = self._pace.failed(decision.at)
            # A token that was given to us cannot be renewed here: asking again would lock the account.
            if decision.do in (Do.STOP, Do.REFRESH) and self.stopped is None:
                self.stopped = fault
        return decision

    def went_well(self) -> None:
        """The site has answered as it should."""
        with self._lock:
            self._pace = self._pace.succeeded()
            self._succeeded_at = self.clock()

    def others_passed(self, deliveries: Iterable[Delivery]) -> bool:
        """Whether the site has done work since these were tried last: an outage uses up nobody's attempts."""
        begun = [one.begun_at for one in deliveries if one.begun_at is not None]
        return self._succeeded_at is not None and bool(begun) and self._succeeded_at >= min(begun)
