"""The runner: one cell of the matrix, and the crash loop.

Every worker is a process of its own; the server's commit log is the judge.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.cells import Cell
from tests.faults.experiment import Experiment, experiment, revocation
from tests.faults.injections import INJECTIONS, NEW_TOKEN, OLD_TOKEN, Scene
from tests.faults.judge import Report
from tests.faults.personalities import PERSONALITIES
from tests.faults.points import BETWEEN, POINTS, TO_WRITE
from tests.faults.processes import Ended, Process
from tests.faults.proxy import Proxy, Rule
from tests.faults.revoked import HANDLINGS
from tests.faults.stores import LedgerStore
from tests.faults.subjects import Subject

# How long a fault lasts when the worker goes on in spite of it.
PATIENCE = 5.0
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


def run_cell(
    cell: Cell,
    subject: Subject,
    folder: Path,
    store: LedgerStore,
    personality: str,
    *,
    direction: int = 1,
    ledger: str = "",
) -> Outcome:
    """Run a cell: to its point, the injection there, on to the end of the work, and judged.

    ``ledger`` names a wrong one of :data:`tests.faults.work.LEDGERS`: the judge has to notice.
    """
    with _opened(cell, subject, folder, store, personality, direction) as one:
        one.environment = {"LAB_LEDGER": ledger} if ledger else {}
        subject.token(folder, OLD_TOKEN)
        gate = None
        if cell.in_network or cell.point == RENEWAL:
            gate = one.bench.proxy.add(Rule(BETWEEN.get(cell.point, "connected"), "hold", at=2))
        if cell.in_network:
            assert gate is not None
            worker = one.start()
            reached = _is_held(gate, worker)
        else:
            worker = one.start(**_orders(cell, direction))
            reached = worker.wait().how == "stopped"
        with worker:
            scene = Scene(cell, one, worker, gate, direction)
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


def _opened(
    cell: Cell, subject: Subject, folder: Path, store: LedgerStore, personality: str, direction: int
) -> AbstractContextManager[Experiment]:
    if cell.run != "withdraw":
        return experiment(subject, folder, store, personality)
    # What the patient wants of the past: each of it at each point, spread over stores, personalities and directions.
    spread = (POINTS.index(cell.point), list(PERSONALITIES).index(personality), len(store.name), direction)
    return revocation(subject, folder, store, personality, HANDLINGS[sum(spread) % len(HANDLINGS)])


def _orders(cell: Cell, direction: int) -> dict[str, str]:
    """What makes a worker stop at a point: the second time it comes there, so that something has happened before.

    A lease is renewed only while a lane takes long: while one exchange is held.
    """
    point = cell.point
    if point == RENEWAL:
        return {"LAB_AT": f"{point}=stop", "LAB_LEASE": "1"}
    if (point, cell.run, direction) == ("after-token", "withdraw", -1):
        # In one direction the consent is withdrawn from who asks, in the other from who writes.
        return {"LAB_AT": f"{TO_WRITE}:2=stop"}
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
