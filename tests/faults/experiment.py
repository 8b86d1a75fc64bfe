"""One experiment: a subject on a bench over a store, and what can be done with it until the judge is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.bench import Bench, bench, charts
from tests.faults.judge import Report, judge
from tests.faults.processes import Ended, Process
from tests.faults.proxy import Arrival
from tests.faults.revoked import MARGIN, Handling, findings, together
from tests.faults.stores import LedgerStore
from tests.faults.subjects import Subject

# How often a worker is started to finish.
STARTS = 20


@dataclass
class Experiment:
    """A subject on a bench over a store. ``environment`` is what every worker is started with."""

    subject: Subject
    bench: Bench
    store: LedgerStore
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    hung: bool = field(default=False)

    def start(self, **environment: str) -> Process:
        """Start a worker; its waits take no time unless told otherwise."""
        always = {"LAB_CLOCK": "skip", **self.store.environment(), **self.environment}
        return self.bench.worker(self.command, **(always | environment))

    def finish(self) -> bool:
        """Start workers one after the other until one says that nothing is left to do."""
        for _ in range(STARTS):
            with self.start() as worker:
                ended = worker.wait()
                self.hung = self.hung or worker.hung
                if ended == Ended("exited", 0) or worker.hung:
                    return not worker.hung
        return False

    def verdict(self) -> Report:
        """What the judge says now."""
        surfaced = self.subject.surfaced(self.bench.folder, self.store.url)
        where = charts(self.subject.patients())
        return judge(self.subject.events(), self.bench.commits(), charts=where, surfaced=surfaced)


class Revocation(Experiment):
    """An experiment in which the first patient withdraws, and gives consent again when all that follows is done.

    Until then the workers' clock is that of the machine, which the proxy's is too.
    """

    def __init__(
        self, subject: Subject, one: Bench, store: LedgerStore, command: Sequence[str], handling: Handling
    ) -> None:
        super().__init__(subject, one, store, command)
        self._handling = handling
        self._signer = subject.signer()
        self._arrivals: list[Arrival] = []
        self._withdrawn = False
        self._before: Report | None = None
        one.proxy.witness = self._arrivals.append

    def start(self, **environment: str) -> Process:
        """Start a worker."""
        return super().start(**({"LAB_CLOCK": "real"} if self._before is None else {}) | environment)

    def withdraw(self) -> Process:
        """Start the clinic's process in which the patient withdraws."""
        self._withdrawn = True
        return self._hand_over(self._signer.withdraw(self.bench.folder, self.store.url, self._handling))

    def until_effective(self) -> None:
        """Wait until the withdrawal is effective, or ought to be."""
        self._signer.wait(self.store.url, self._signer.longest(self.bench.folder) + MARGIN)

    def finish(self) -> bool:
        """Finish, judge, have consent given again, and finish once more.

        Where it did not come to a withdrawal there is nothing to judge.
        """
        if not super().finish():
            return False
        if not self._withdrawn:
            return True
        commits, came = self.bench.commits(), list(self._arrivals)
        told = self._signer.told(self.bench.folder, self.store.url, commits, self._handling)
        self._before = findings(self.subject.events(), commits, came, told)
        with self._hand_over(self._signer.renew(self.bench.folder, self.store.url)) as clinic:
            return clinic.wait() == Ended("exited", 0) and super().finish()

    def verdict(self) -> Report:
        """What both judges say."""
        after = super().verdict()
        return after if self._before is None else together(self._before, after, self._signer.fates(self.store.url))

    def _hand_over(self, command: Sequence[str]) -> Process:
        return self.bench.worker(command, **self.store.environment())


@contextmanager
def experiment(
    subject: Subject, folder: Path, store: LedgerStore, personality: str, *options: str
) -> Iterator[Experiment]:
    """Everything started, the worker not yet."""
    with _set_up(subject, folder, store, personality, options) as (one, command):
        yield Experiment(subject, one, store, command)


@contextmanager
def revocation(
    subject: Subject, folder: Path, store: LedgerStore, personality: str, handling: Handling
) -> Iterator[Revocation]:
    """The same for a withdrawal; ``handling`` is what the patient wants of what is at the site."""
    with _set_up(subject, folder, store, personality, ()) as (one, command):
        yield Revocation(subject, one, store, command, handling)


@contextmanager
def _set_up(
    subject: Subject, folder: Path, store: LedgerStore, personality: str, options: Sequence[str]
) -> Iterator[tuple[Bench, Sequence[str]]]:
    words = ("--release", subject.release, *options)
    with bench(folder, personality, *words, patients=subject.patients()) as one:
        command = subject.prepare(folder, one.base, store.url)
        store.arm()
        yield one, command
