"""A delivery that is disturbed: the worker and the server are killed and started again until everything is there."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.acceptance.kills.clinic import Clinic
from tests.acceptance.kills.servers import Server

ROOT = Path(__file__).resolve().parents[3]
# Kills are spread over this share of the delivery, and come so many seconds later at most: anywhere in an exchange.
_LATEST = 0.98
_SPREAD = 0.1
_LOOK = 0.02
# Between the end of a worker that could not finish and the next one.
_REST = 0.5
# Workers that may end by themselves one after the other without having brought anything there.
_TRIES = 3
_LONGEST = 3_600.0
_ACKNOWLEDGED = "SELECT count(*) FROM fhirbridge_delivery WHERE state = 'acked'"
_IN_FLIGHT = "SELECT count(*) FROM fhirbridge_delivery WHERE state = 'in_flight'"


@dataclass(slots=True)
class Tally:
    """What happened: kills that met a living process, workers started, deliveries that were under way at a kill of the
    worker, and whether the last worker said that all is delivered."""

    worker_kills: int = 0
    server_kills: int = 0
    workers: int = 0
    in_flight: int = 0
    ended: bool = False


@dataclass(frozen=True, slots=True)
class _Kill:
    """Who dies when so many resources are acknowledged."""

    at: float
    whom: Literal["worker", "server"]


class Delivery:
    """A clinic's way to a server. ``lease`` is the workers', in seconds."""

    def __init__(self, clinic: Clinic, server: Server, *, lease: float) -> None:
        self._clinic, self._server, self._lease = clinic, server, lease
        self.tally = Tally()

    def run(self, dice: random.Random, workers: int, servers: int, dead: Callable[[int], None]) -> None:
        """Deliver, with so many kills, until a worker says that all is delivered, or some in a row could not.

        ``dead`` is called with the number of each kill of the server, from 0, before that is started again.
        """
        total = self._clinic.writes
        chosen = [_Kill(at * total, "worker") for at in _moments(dice, workers)]
        chosen += [_Kill(at * total, "server") for at in _moments(dice, servers)]
        waiting = sorted(chosen, key=lambda one: one.at)
        self.tally.ended = False
        vain = done = 0
        while vain < _TRIES and not self.tally.ended:
            with self._worker() as worker:
                while waiting and worker.poll() is None:
                    if self._count(_ACKNOWLEDGED) < waiting[0].at:
                        time.sleep(_LOOK)
                        continue
                    time.sleep(dice.uniform(0, _SPREAD))
                    if waiting[0].whom == "server":
                        self._kill_server(dead)
                        waiting.pop(0)
                    elif worker.poll() is None:
                        self._kill(worker)
                        waiting.pop(0)
                code = worker.wait(_LONGEST)
            self.tally.ended = code == 0 and not waiting
            before, done = done, self._count(_ACKNOWLEDGED)
            vain = vain + 1 if code >= 0 and done == before else 0
            if code > 0:
                time.sleep(_REST)

    @contextmanager
    def _worker(self) -> Iterator[subprocess.Popen[bytes]]:
        self.tally.workers += 1
        options = ["--config", str(self._clinic.config), "--lease", str(self._lease), *map(str, self._clinic.files)]
        with (self._clinic.config.parent / "worker.log").open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "tests.acceptance.kills.worker", *options],
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=log,
            )
        try:
            yield worker
        finally:
            worker.kill()
            worker.wait()

    def _kill(self, worker: subprocess.Popen[bytes]) -> None:
        worker.kill()
        if worker.wait() < 0:
            self.tally.worker_kills += 1
            self.tally.in_flight += self._count(_IN_FLIGHT)

    def _kill_server(self, dead: Callable[[int], None]) -> None:
        self._server.kill()
        dead(self.tally.server_kills)
        self.tally.server_kills += 1
        self._server.start()

    def _count(self, statement: str) -> int:
        """Look into the ledger without holding it: who opens it next finds it as the dead worker left it."""
        if not self._clinic.ledger.exists():
            return 0
        with closing(sqlite3.connect(f"file:{self._clinic.ledger}?mode=ro", uri=True, timeout=10)) as database:
            try:
                return int(database.execute(statement).fetchone()[0])
            except sqlite3.OperationalError:
                # It is only being made.
                return 0


def _moments(dice: random.Random, count: int) -> list[float]:
    """Shares of a delivery, one at random in each of ``count`` equal parts of it."""
    return [(number + dice.random()) / count * _LATEST for number in range(count)]
