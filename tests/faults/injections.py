"""How each injection of ``cells.toml`` is carried out at the moment when the worker, or its exchange, stands still."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from tests.faults.bench import Bench
from tests.faults.cells import Cell
from tests.faults.experiment import Experiment, Revocation
from tests.faults.points import BETWEEN, HOUR
from tests.faults.processes import Process
from tests.faults.proxy import Rule, Stage
from tests.faults.stores import LedgerStore

Undo: TypeAlias = Callable[[], None]
OLD_TOKEN, NEW_TOKEN = "the-first-token", "the-second-token"
# Seconds to wait for what may be blocked by the worker that stands still.
_MOMENT = 2.0
PASSING = (408, 409, 425, 429, 500, 502, 503, 504)


@dataclass
class Scene:
    """One run of a cell at its moment. ``direction`` is that of a clock's jump, or what the worker does while a consent
    is withdrawn; ``gate`` the rule that holds the exchange, where there is one.

    ``others`` are processes to wait for, ``undo`` what ends the fault.
    """

    cell: Cell
    one: Experiment
    worker: Process
    gate: Rule | None = None
    direction: int = 1
    others: list[Process] = field(default_factory=list)
    undo: list[Undo] = field(default_factory=list)

    @property
    def bench(self) -> Bench:
        return self.one.bench

    @property
    def store(self) -> LedgerStore:
        return self.one.store

    def spoil(self, rule: Rule) -> None:
        """A rule for the exchange that is under way, or for the next one if there is none."""
        if self.gate is None:
            self.bench.proxy.add(rule)
        else:
            self.gate.then.append(rule)

    @property
    def stage(self) -> Stage:
        """Where the exchange is, or the first stage of the next one."""
        return BETWEEN.get(self.cell.point, "connected")

    @property
    def after_commit(self) -> Stage:
        """The next stage at which the server has committed and the client does not know it."""
        return "mid-reply" if self.stage == "mid-reply" else "committed"


def kill(scene: Scene) -> None:
    """What had not left the worker does not leave it any more."""
    scene.worker.kill()
    _withhold(scene)


def stop(scene: Scene) -> None:
    """It stands already if it stopped itself; another one finds its lease ended and does the work.

    A server gives up a request that does not arrive for an hour, so what had not left the worker arrives no more.
    """
    if scene.gate is not None:
        scene.worker.stop()
    with scene.one.start(LAB_CLOCK=f"skip+{int(HOUR)}") as other:
        other.wait()
    _withhold(scene)


def _withhold(scene: Scene) -> None:
    if scene.gate is not None and scene.stage in ("connected", "mid-request"):
        scene.gate.then.append(Rule(scene.stage, "close"))


def power_cut(scene: Scene) -> None:
    kill(scene)
    scene.store.power_cut()


def disk_full(scene: Scene) -> None:
    scene.undo.append(scene.store.fill())


def lock(scene: Scene) -> None:
    scene.undo.append(scene.store.lock())


def clock(scene: Scene) -> None:
    scene.worker.signal(signal.SIGUSR1 if scene.direction > 0 else signal.SIGUSR2)


def refuse(scene: Scene) -> None:
    scene.bench.proxy.refuse()
    scene.undo.append(scene.bench.proxy.accept)


def reset(scene: Scene) -> None:
    scene.spoil(Rule(scene.stage, "reset"))


def stall(scene: Scene) -> None:
    """What had left the worker arrives all the same, after its timeout and before it looks."""
    scene.spoil(Rule(scene.stage, "stall"))


def truncate(scene: Scene) -> None:
    scene.spoil(Rule("mid-request" if scene.stage == "mid-request" else "mid-reply", "close"))


def repeat(scene: Scene) -> None:
    scene.bench.lab.faults({"do": "repeat", "kind": "write"})


def statuses(scene: Scene) -> None:
    """Each with its own number of the write that it hits; Retry-After is a second where there is one."""
    faults: list[dict[str, Any]] = [
        {"do": "status", "kind": "write", "at": number, "status": status} for number, status in enumerate(PASSING, 1)
    ]
    for fault in faults:
        if fault["status"] in (429, 503):
            fault["retry_after"] = "1"
    last = len(PASSING) + 1
    faults += [
        {"do": "status", "kind": "bundle", "at": last, "status": 413, "code": "too-long"},
        {"do": "status", "kind": "write", "at": last + 1, "status": 422, "code": "business-rule"},
    ]
    scene.bench.lab.faults(*faults)


def reorder(scene: Scene) -> None:
    scene.bench.lab.faults({"do": "reorder", "kind": "bundle"})


def stale(scene: Scene) -> None:
    """Patients are found all the same: a clinic whose patients nobody knows has nothing to deliver."""
    scene.bench.lab.faults({"do": "stale", "kind": "search", "path": "^(?!Patient)", "commits": 50})
    scene.spoil(Rule(scene.after_commit, "reset"))


def lag(scene: Scene) -> None:
    """The first look after a write knows nothing of it, the second does: that one comes when a minute has passed."""
    scene.bench.lab.lag(1)
    scene.undo.append(lambda: scene.bench.lab.lag(0))
    scene.spoil(Rule(scene.after_commit, "reset"))


def revoke_token(scene: Scene) -> None:
    scene.bench.lab.tokens(NEW_TOKEN)


def merge(scene: Scene) -> None:
    """The other patient must be there first: some servers refuse references into nowhere."""
    patient = scene.one.subject.patients()[0]
    other = {**patient, "id": "survivor", "identifier": []}
    scene.bench.lab.commit("PUT", other)
    link = [{"other": {"reference": "Patient/survivor"}, "type": "replaced-by"}]
    scene.bench.lab.commit("PUT", {**patient, "active": False, "link": link})


def withdraw(scene: Scene) -> None:
    """It is committed before the worker goes on, unless the worker stands in a transaction that it has to wait for.

    In the other direction the worker stands still until another one has made the withdrawal effective; where the
    exchange is held, nothing moves until the worker's timeout.
    """
    assert isinstance(scene.one, Revocation)
    clinic = scene.one.withdraw()
    scene.others.append(clinic)
    waiting = threading.Thread(target=clinic.wait, daemon=True)
    waiting.start()
    waiting.join(_MOMENT)
    if scene.direction > 0 or waiting.is_alive():
        return
    if scene.cell.in_network:
        stall(scene)
        return
    if scene.gate is not None:
        scene.gate.go_on.set()
    scene.others.append(scene.one.start())
    scene.one.until_effective()


def second(scene: Scene) -> None:
    scene.others.append(scene.one.start())


INJECTIONS: Mapping[str, Callable[[Scene], None]] = MappingProxyType(
    {
        "kill": kill,
        "stop": stop,
        "power-cut": power_cut,
        "disk-full": disk_full,
        "lock": lock,
        "clock": clock,
        "refuse": refuse,
        "reset": reset,
        "stall": stall,
        "truncate": truncate,
        "repeat": repeat,
        "statuses": statuses,
        "reorder": reorder,
        "stale": stale,
        "lag": lag,
        "revoke-token": revoke_token,
        "merge": merge,
        "withdraw": withdraw,
        "second": second,
    }
)
