"""A worker: claims lanes, works on several at once, keeps their leases, and can be stopped at any moment.

Everything it does is in the ledger before it happens, so whatever ends it, the next one goes on from there.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from fhirbridge.audit import concerning
from fhirbridge.errors import ConsentChanged, Fault, LeaseLost
from fhirbridge.ledger import Claim, Lease, Ledger
from fhirbridge.site import Site
from fhirbridge.sync.bench import Bench, Tell, nobody
from fhirbridge.sync.denials import Denials
from fhirbridge.sync.gate import gate_of
from fhirbridge.sync.lane import LaneWork
from fhirbridge.sync.points import At, nowhere
from fhirbridge.sync.runs import new_run
from fhirbridge.sync.watch import longest_send
from fhirbridge.sync.ways import Ways
from fhirbridge.sync.withdrawal import Following

Sleep: TypeAlias = Callable[[float], object]
# Somebody else may settle what we wait for, or take a lane; not longer than this without a look.
_LONGEST_NAP = 5.0
# While a lane is at work others may become due.
_BETWEEN_LOOKS = 0.25
LEASE = 60.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How a worker works: lanes at once, deliveries of one claim, seconds of a lease."""

    threads: int = 4
    limit: int = 2_000
    lease: float = LEASE


DEFAULT = Settings()


class Worker:
    """Delivers what the ledger has for one site.

    ``clock`` gives epoch seconds and ``sleep`` waits for some; ``at`` is called at each named point; ``tell`` hears
    what became of each delivery in each attempt. ``run`` is on what is taken back because a consent was withdrawn.
    One worker is run by one thread at a time; many may share a ledger.
    """

    def __init__(
        self,
        site: Site,
        ledger: Ledger,
        *,
        settings: Settings = DEFAULT,
        clock: Callable[[], float] = time.time,
        sleep: Sleep | None = None,
        chance: Random | None = None,
        at: At = nowhere,
        tell: Tell = nobody,
        run: str = "",
    ) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._site = site.name
        self._ledger = ledger
        self._settings = settings
        self._clock = clock
        self._at = at
        self._waking = threading.Event()
        self._told_to_stop = False
        self._sleep = self._waking.wait if sleep is None else sleep
        # Only for jitter.
        self._bench = Bench(site, ledger, clock=clock, chance=chance or Random(), at=at, tell=tell)  # noqa: S311
        gate = gate_of(site)
        self._audit = site.audit
        self._gate = Denials(gate, site.mappings.binding)
        self._following = Following(site, ledger, gate, run or new_run(clock()))
        self._timeout = longest_send(site.settings)
        self._idle = False
        self._leases: dict[int, Lease] = {}
        self._lock = threading.Lock()
        self._renewed = time.monotonic()

    @property
    def ways(self) -> Ways:
        """How the site is written to."""
        return self._bench.ways

    @property
    def stopped(self) -> Fault | None:
        """Why nothing more goes to this site until somebody acts, if that is so."""
        return self._bench.stopped

    @property
    def idle(self) -> bool:
        """Whether the last claim found nothing that may go now: what is blocked then stays so for the time being."""
        return self._idle

    def stop(self) -> None:
        """Begin nothing more; :meth:`run` ends when what is under way has been settled. For signal handlers too."""
        self._told_to_stop = True
        self._halt()

    def _halt(self) -> None:
        self._bench.stopping.set()
        self._waking.set()

    def run(self, goes_on: Callable[[], bool], patience: float) -> None:
        """Deliver while ``goes_on``, waiting ``patience`` seconds at most in all for what is not due yet.

        Ends early when the site sends everybody away. What is not done stays in the ledger. Raises
        :class:`LedgerError` and :class:`AuditUnavailable`, after which it may be called again; whatever ends it,
        requests under way are finished and settled first.
        """
        left = patience
        self._idle = False
        running: set[Future[None]] = set()
        with ThreadPoolExecutor(self._settings.threads, thread_name_prefix="lane") as pool:
            try:
                while (not self._bench.ended and goes_on()) or running:
                    if not self._bench.ended and goes_on():
                        running |= {pool.submit(self._work, one) for one in self._claim(len(running))}
                    if running:
                        running = self._wait(running)
                        continue
                    nap = self._nap(left)
                    if nap is None:
                        return
                    started = self._clock()
                    self._sleep(nap)
                    left -= max(nap, self._clock() - started)
            except BaseException:
                # The lanes finish the request they are at, and settle it, while the pool is closed.
                self._halt()
                raise
            finally:
                pool.shutdown(wait=True)
                self._give_back()
                if not self._told_to_stop:
                    self._bench.stopping.clear()
                    self._waking.clear()

    def _claim(self, busy: int) -> list[Claim]:
        """Lease as many lanes as there are hands free."""
        pace = self._bench.pace
        lanes = min(self._settings.threads, pace.width) - busy
        if lanes <= 0 or not pace.may_begin(self._clock(), busy):
            return []
        settings = self._settings
        claims = self._ledger.claim(
            self._site, self.name, gate=self._gate, timeout=self._timeout, lanes=lanes, limit=settings.limit,
            lease=settings.lease,
        )  # fmt: skip
        if self._following.draw(self._clock()) and not claims:
            # What is to be taken back is due at once.
            return self._claim(busy)
        self._idle = not claims
        with self._lock:
            self._leases |= {one.lease.lane: one.lease for one in claims}
        self._audit.denies(self._gate.take())
        if claims:
            self._at("after-claim")
        return claims

    def _wait(self, running: set[Future[None]]) -> set[Future[None]]:
        """Wait until a lane is done, or something else may be due; keep the leases meanwhile."""
        done, running = wait(running, timeout=_BETWEEN_LOOKS, return_when=FIRST_COMPLETED)
        for one in done:
            one.result()
        if time.monotonic() - self._renewed > self._settings.lease / 3:
            self._renew()
        return running

    def _nap(self, left: float) -> float | None:
        """How long until something may be due; ``None`` if nothing will be in time."""
        due = self._ledger.next_due(self._site)
        if due is None:
            return None
        until = max(due, self._bench.pace.until) - self._clock()
        if until > left or left <= 0:
            return None
        return min(max(until, 0.01), _LONGEST_NAP)

    def _work(self, claim: Claim) -> None:
        # Where somebody else has the lane by now, the ledger has changed nothing on our word.
        with contextlib.suppress(LeaseLost):
            try:
                with concerning(claim.lease.key):
                    LaneWork(self._bench, claim).run()
            except ConsentChanged:
                # Our requests are over. What has not gone is decided anew by whoever claims the lane next.
                self._ledger.release([claim.lease])
        # A lane that was left in the middle is given back in the end.
        if not self._bench.ended:
            with self._lock:
                self._leases.pop(claim.lease.lane, None)

    def _renew(self) -> None:
        self._renewed = time.monotonic()
        self._at("lease-renewal")
        with self._lock:
            held = list(self._leases.values())
        for one in held:
            try:
                (renewed,) = self._ledger.renew([one], self._settings.lease)
            except LeaseLost:
                with self._lock:
                    self._leases.pop(one.lane, None)
            else:
                with self._lock:
                    if one.lane in self._leases:
                        self._leases[one.lane] = renewed

    def _give_back(self) -> None:
        """What was claimed and not sent is free for others at once; what was sent and not answered is in doubt."""
        with self._lock:
            held, self._leases = list(self._leases.values()), {}
        if held:
            self._ledger.release(held)
