"""The runner: one cell of the matrix, and the crash loop.

Every worker is a process of its own; the server's commit log is the judge.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.bench import Bench, bench, charts
from tests.faults.cells import Cell
from tests.faults.injections import INJECTIONS, NEW_TOKEN, OLD_TOKEN, Scene
from tests.faults.judge import Report, judge
from tests.faults.points import BETWEEN, POINTS
from tests.faults.processes import Ended, Process
from tests.faults.proxy import Proxy, Rule
from tests.faults.stores import LedgerStore
from tests.faults.subjects import Subject

# How long a fault lasts when the worker goes on in spite of it, and how often a worker is started to finish.
PATIENCE = 5.0
STARTS = 20
RENEWAL = "lease-renewal"
# A worker that does not come to its point must not do all the work meanwhile.
_AT_LAST = "before-ack:5=leave"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of a cell: what the judge found, whether the point was reached, whether the work came to an end;
    ``errors`` is what the workers wrote, ``direction`` where a clock jumped, ``release`` what was spoken.
    """

    cell: Cell
    store: str
    personality: str
    report: Report
    reached: bool
    ended: bool
    hung: bool = False
    errors: str = ""
    direction: int = 1
    release: str = "r4"

    @property
    def is_good(self) -> bool:
        """The promise: nothing lost in silence, nothing extra; reached, and ended."""
        return self.reached and self.ended and not self.hung and self.report.unharmed


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

    def withdraw(self) -> Process:
        """Start the clinic's process in which the first patient withdraws."""
        command = self.subject.withdrawal(self.bench.folder, self.store.url)
        return self.bench.worker(command, **self.store.environment())

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


@contextmanager
def experiment(
    subject: Subject, folder: Path, store: LedgerStore, personality: str, *options: str
) -> Iterator[Experiment]:
    """Everything started, the worker not yet."""
    words = ("--release", subject.release, *options)
    with bench(folder, personality, *words, patients=subject.patients()) as one:
        command = subject.prepare(folder, one.base, store.url)
        store.arm()
        yield Experiment(subject, one, store, command)


def run_cell(
    cell: Cell, subject: Subject, folder: Path, store: LedgerStore, personality: str, *, direction: int = 1
) -> Outcome:
    """Run a cell: to its point, the injection there, on to the end of the work, and judged."""
    with experiment(subject, folder, store, personality) as one:
        subject.token(folder, OLD_TOKEN)
        gate = None
        if cell.in_network or cell.point == RENEWAL:
            gate = one.bench.proxy.add(Rule(BETWEEN.get(cell.point, "connected"), "hold", at=2))
        if cell.in_network:
            assert gate is not None
            worker = one.start()
            reached = _is_held(gate, worker)
        else:
            worker = one.start(**_orders(cell.point))
            reached = worker.wait().how == "stopped"
        with worker:
            scene = Scene(
                cell, one.bench, store, worker, one.start, one.withdraw, subject.patients()[0], gate, direction
            )
            if reached:
                INJECTIONS[cell.run](scene)
                worker.go_on()
                if gate is not None:
                    gate.go_on.set()
                _wait_out(scene)
        one.bench.proxy.clear()
        one.bench.lab.no_faults()
        subject.token(folder, NEW_TOKEN)
        ended = one.finish()
        hung = one.hung or worker.hung or any(other.hung for other in scene.others)
        errors = (folder / "worker.errors").read_text("utf-8").strip()
        return Outcome(
            cell, store.name, personality, one.verdict(), reached, ended, hung, errors, direction, subject.release
        )


def _orders(point: str) -> dict[str, str]:
    """What makes a worker stop at a point: the second time it comes there, so that something has happened before.

    A lease is renewed only while a lane takes long: while one exchange is held.
    """
    if point == RENEWAL:
        return {"LAB_AT": f"{point}=stop", "LAB_LEASE": "1"}
    # All lanes are queued in one commit, and may be claimed in one.
    once = point.endswith("enqueue-commit") or point == "after-claim"
    return {"LAB_AT": f"{point}=stop" if once else f"{point}:2=stop"}


def _is_held(gate: Rule, worker: Process) -> bool:
    """Wait for the gate, or for the end of a worker that never comes to it."""
    over = threading.Event()

    def watch() -> None:
        worker.wait()
        over.set()
        gate.held.set()

    threading.Thread(target=watch, daemon=True).start()
    gate.held.wait()
    return not over.is_set()


def _wait_out(scene: Scene) -> None:
    """Wait for the workers; the fault ends with the first of them, or when it has lasted long enough."""
    once = threading.Lock()

    def end() -> None:
        with once:
            while scene.undo:
                scene.undo.pop()()

    timer = threading.Timer(PATIENCE, end)
    timer.start()
    try:
        scene.worker.wait()
        end()
        for other in scene.others:
            other.wait()
    finally:
        timer.cancel()
        end()


@dataclass(frozen=True, slots=True)
class Crashes:
    """What a crash loop came to: kills by point, and the judge's report."""

    kills: dict[str, int]
    cut: int
    ended: bool
    report: Report


def crash_loop(
    one: Experiment,
    *,
    kills: int,
    cut: float = 0.05,
    workers: int = 1,
    seed: int = 1,
    server_kills: int = 0,
    points: Sequence[str] = POINTS,
) -> Crashes:
    """Kill workers at ``points`` until there were so many kills, or nothing is left to do; then let one finish.

    ``cut`` of the replies never arrive though the server has committed. ``server_kills`` times the server is killed
    too. With several workers the one that is killed need not be the one whose exchange stands still.
    """
    dice = random.Random(seed)  # noqa: S311 - repeatable on purpose
    cutting = one.bench.proxy.add(Rule("committed", "reset", rate=cut, seed=seed))
    counts = dict.fromkeys(POINTS, 0)
    when = [round(kills * (n + 1) / (server_kills + 1)) for n in range(server_kills)]
    done = False
    while sum(counts.values()) < kills and not done:
        victims = [_victim(one, dice, points) for _ in range(workers)]
        for victim in victims:
            with victim.worker:
                ended = victim.meet_the_end(one.bench.proxy)
                counts[victim.point] += ended.how == "killed"
                done = done or ended == Ended("exited", 0)
        if when and sum(counts.values()) >= when[0]:
            when.pop(0)
            one.bench.restart_server()
    ended_well = one.finish()
    return Crashes(counts, cutting.hits, ended_well, one.verdict())


@dataclass(frozen=True, slots=True)
class _Victim:
    """A worker that will be killed at a point, by its own hand or by ours while ``gate`` holds its exchange."""

    point: str
    worker: Process
    gate: Rule | None = None

    def meet_the_end(self, proxy: Proxy) -> Ended:
        """Wait for it; the worker may have come to the end of its work before."""
        if self.gate is not None and self.point in BETWEEN and _is_held(self.gate, self.worker):
            self.worker.kill()
        ended = self.worker.wait()
        if self.gate is not None:
            # What had not left the worker does not leave it any more.
            if ended.how == "killed" and self.gate.stage in ("connected", "mid-request"):
                self.gate.then.append(Rule(self.gate.stage, "close"))
            proxy.remove(self.gate)
        return ended


def _victim(one: Experiment, dice: random.Random, points: Sequence[str]) -> _Victim:
    point, passing = dice.choice(points), dice.randint(1, 3)
    if point not in BETWEEN and point != RENEWAL:
        often = 1 if point.endswith("enqueue-commit") else passing
        return _Victim(point, one.start(LAB_AT=f"{point}:{often}=kill,{_AT_LAST}"))
    # For all from there on: an exchange may be cut before it comes to this stage.
    gate = one.bench.proxy.add(Rule(BETWEEN.get(point, "connected"), "hold", at=passing, times=0))
    orders = {"LAB_AT": f"{point}=kill,{_AT_LAST}", "LAB_LEASE": "1"} if point == RENEWAL else {"LAB_AT": _AT_LAST}
    return _Victim(point, one.start(**orders), gate)
