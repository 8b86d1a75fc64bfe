"""``sync``: sources read on from where they were left, what is new queued, everything delivered; once or on and on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from fhirbridge.errors import Fault
from fhirbridge.ledger import FAILED, OPEN, Ledger, State
from fhirbridge.site import Site
from fhirbridge.sources import Line
from fhirbridge.sync.enqueue import Intake
from fhirbridge.sync.incremental import Reading, Taken, Taking
from fhirbridge.sync.rate import keep_rate
from fhirbridge.sync.runs import new_run
from fhirbridge.sync.ways import check_writable
from fhirbridge.sync.worker import Sleep, Worker


@dataclass(slots=True)
class Round:
    """What one round did: lines read, records that brought something new, lines refused, records left aside because
    they are from before the start of the backfill, and the run's deliveries."""

    run: str
    read: int = 0
    new: int = 0
    refused: int = 0
    before_start: int = 0
    states: dict[State, int] = field(default_factory=dict)

    @property
    def well(self) -> bool:
        """Whether nothing was refused, set aside, or left."""
        return not self.refused and not any(self.states.get(one) for one in OPEN | FAILED)


class Service:
    """The rounds of one site. ``refuse`` is handed every line that cannot be a record here.

    ``clock`` gives epoch seconds; ``sleep`` waits for some.
    """

    def __init__(
        self,
        site: Site,
        ledger: Ledger,
        readings: Callable[[Taking], Sequence[Reading]],
        refuse: Callable[[Line], object],
        *,
        clock: Callable[[], float] = time.time,
        sleep: Sleep | None = None,
    ) -> None:
        self._site, self._ledger, self._readings, self._refuse = site, ledger, readings, refuse
        self._clock = clock
        keep_rate(site, clock, sleep)
        self._worker = Worker(site, ledger, clock=clock, sleep=sleep)
        self._checked = False

    @property
    def stopped(self) -> Fault | None:
        """Why nothing more goes to this site until somebody acts, if that is so."""
        return self._worker.stopped

    def round(self, patience: float) -> Round:
        """Read what is new, and deliver for as long as something is due within ``patience`` seconds.

        What is read is queued whether or not the site answers. Raises :class:`SourceError`, :class:`LedgerError`,
        :class:`ConfigError` and, when the site does not answer at all, :class:`SiteUnreachable`.
        """
        done = Round(new_run(self._clock()))
        intake = Intake(self._ledger, self._site.name, self._site.mappings.binding, done.run)
        for taken in self._taken(Taking(self._site, self._ledger, intake)):
            done.read += len(taken.offered) + len(taken.refused) + taken.before_start
            done.before_start += taken.before_start
            done.refused += len(taken.refused)
            done.new += sum(bool(one.queued) for one in taken.offered)
            for line in taken.refused:
                self._refuse(line)
        self._check()
        self._worker.run(lambda: True, patience)
        done.states = self._ledger.of_run(done.run, self._site.name)
        return done

    def _taken(self, taking: Taking) -> Iterator[Taken]:
        for reading in self._readings(taking):
            yield from reading.take()

    def _check(self) -> None:
        if not self._checked:
            self._site.check()
            check_writable(self._worker.ways, (kind.resource_type for kind in self._site.mappings.kinds.values()))
            self._checked = True
