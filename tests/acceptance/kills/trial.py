"""The trial: deliver under kills, and let the server lose what it acknowledged; what does verify find and mend?"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fhirbridge import config
from fhirbridge.fhir.bundle import Address
from fhirbridge.sync.opening import open_ledger
from tests.acceptance.kills.clinic import SITE, Clinic
from tests.acceptance.kills.delivery import ROOT, Delivery, Tally
from tests.acceptance.kills.judge import Verdict, judge
from tests.acceptance.kills.servers import Server, keep_copy, put_back


@dataclass(frozen=True, slots=True)
class Verified:
    """What ``fhirbridge verify`` said: resources by finding, those that it found wrong, and its exit code."""

    counts: Mapping[str, int]
    wrong: Mapping[str, frozenset[Address]]
    code: int

    def agrees(self, verdict: Verdict, acknowledged: frozenset[Address]) -> bool:
        """Whether it found exactly what the judge misses of what was acknowledged, and nothing else wrong."""
        told = {"missing": verdict.missing & acknowledged, "older": verdict.older & acknowledged}
        wanted = {name: places for name, places in told.items() if places}
        return self.wrong == wanted and self.code == bool(wanted)


@dataclass(frozen=True, slots=True)
class Stage:
    """One line of the table: the judge and ``verify`` at one moment, and whether both say what they must."""

    name: str
    seconds: float
    verdict: Verdict
    verified: Verified
    is_good: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """How a trial goes: kills, the lease of a worker in seconds, and what decides about chance."""

    worker_kills: int
    server_kills: int
    lease: float
    seed: int


class Trial:
    """One clinic, one server. ``folder`` is for a copy of the server's data."""

    def __init__(self, server: Server, clinic: Clinic, folder: Path, plan: Plan) -> None:
        self._server, self._clinic, self._copy, self._plan = server, clinic, folder / "older", plan
        self._delivery = Delivery(clinic, server, lease=plan.lease)
        self._began = time.monotonic()

    @property
    def tally(self) -> Tally:
        """What was killed."""
        return self._delivery.tally

    @property
    def is_complete(self) -> bool:
        """Whether every kill that was asked for took place, and the delivery came to its end."""
        done = (self.tally.worker_kills, self.tally.server_kills)
        return self.tally.ended and done == (self._plan.worker_kills, self._plan.server_kills)

    def stages(self) -> Iterator[Stage]:
        """Deliver under kills, lose something, mend it."""
        self._clinic.register_patients()
        dice = random.Random(self._plan.seed)  # noqa: S311 - repeatable on purpose
        self._delivery.run(dice, self._plan.worker_kills, self._plan.server_kills, self._while_dead)
        if self._server.keeps:
            yield self._clean("after the kills")
            self._server.kill()
            put_back(self._server, self._copy)
            self._server.start()
            yield self._lost("older data put back")
        else:
            yield self._lost("after the kills")
        code = verify(self._clinic, "--repair").code
        # What was refused because something that it names was lost goes now.
        self._delivery.run(dice, 0, 0, self._while_dead)
        last = self._clean("repaired")
        yield self._stage(last.name, last.verdict, last.verified, last.is_good and code == 0)

    def _while_dead(self, kill: int) -> None:
        if self._server.keeps and kill == self._plan.server_kills // 2:
            keep_copy(self._server, self._copy)

    def _clean(self, name: str) -> Stage:
        """Everything is there once, and ``verify`` finds each resource intact."""
        verdict, verified = self._judge(), verify(self._clinic, "--duplicates")
        whole = self._acknowledged() == self._clinic.wanted.keys() and verified.counts["intact"] == verdict.wanted
        # A server that has lost what others refer to refuses whole bundles for it.
        proven = not verdict.unproven or not self._server.keeps
        return self._stage(name, verdict, verified, verdict.is_good and verified.code == 0 and whole and proven)

    def _lost(self, name: str) -> Stage:
        """Something is lost, or the trial shows nothing; ``verify`` names each of it."""
        verdict, verified = self._judge(), verify(self._clinic)
        found = verified.agrees(verdict, self._acknowledged())
        return self._stage(name, verdict, verified, bool(verified.wrong) and found)

    def _stage(self, name: str, verdict: Verdict, verified: Verified, good: bool) -> Stage:
        return Stage(name, time.monotonic() - self._began, verdict, verified, good)

    def _judge(self) -> Verdict:
        return judge(self._clinic, self._server.release)

    def _acknowledged(self) -> frozenset[Address]:
        """What the ledger believes to be there: the rest is known to be waiting, or set aside."""
        settings = config.load(self._clinic.config, {}, self._clinic.config.parent)
        with open_ledger(settings) as ledger:
            rows = (row for row in ledger.each_known(SITE) if row.acked is not None)
            return frozenset(Address(row.resource_type, row.server_id or row.resource_id) for row in rows)


def verify(clinic: Clinic, *options: str) -> Verified:
    """Run ``fhirbridge verify``."""
    command = [sys.executable, "-c", "from fhirbridge.cli.main import main; main()"]
    arguments = ["--config", str(clinic.config), "verify", "--site", SITE, "--json", *options]
    run = subprocess.run([*command, *arguments], check=False, cwd=ROOT, capture_output=True)
    assert run.stdout, run.stderr.decode()
    said: dict[str, Any] = json.loads(run.stdout)
    wrong: dict[str, frozenset[Address]] = {}
    for one in said["wrong"]:
        place = Address(*one["resource"].split("/"))
        wrong[one["finding"]] = wrong.get(one["finding"], frozenset()) | {place}
    return Verified(said["found"], wrong, run.returncode)
