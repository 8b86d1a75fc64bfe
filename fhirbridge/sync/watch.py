"""What a lane asks before each of its requests: may this patient's data still go to this site?

The ledger answers with a moment by which the request has to have left; after that nothing of it leaves any more
(:mod:`fhirbridge.client.bounded`). So a withdrawal takes effect within that time, whatever becomes of a worker.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fhirbridge.client.rest import Client
from fhirbridge.client.transport import LONGEST_CONNECT
from fhirbridge.config import SiteSettings
from fhirbridge.errors import ConsentChanged
from fhirbridge.ledger import Lease, Ledger


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """Turns a moment of the ledger's clock into one of ``time.monotonic``.

    Made before the ledger is asked, so that a process that is stopped in between finds its time gone. ``last`` is how
    long the last block of a request may take to leave, in seconds: it has to begin that much earlier.
    """

    monotonic: float
    clock: float
    last: float

    @classmethod
    def started(cls, clock: Callable[[], float], timeout: float) -> Stopwatch:
        """A stopwatch for a request to a site with this ``timeout``; ``clock`` gives epoch seconds as the ledger's."""
        monotonic = time.monotonic()
        return cls(monotonic, clock(), _last_block(timeout))

    def until(self, moment: float) -> float:
        """When the last block of a request has to begin that must be over at ``moment``."""
        return self.monotonic + (moment - self.clock) - self.last


def longest_send(settings: SiteSettings) -> float:
    """Seconds after which nothing of a request leaves any more that was permitted."""
    return settings.timeout + _last_block(settings.timeout)


def _last_block(timeout: float) -> float:
    return min(timeout, LONGEST_CONNECT)


@dataclass(frozen=True, slots=True)
class _Held:
    client: Client
    ledger: Ledger
    lease: Lease
    clock: Callable[[], float]
    timeout: float


class _Lane(threading.local):
    """The lane that this thread is at work on."""

    held: _Held | None = None


_lane = _Lane()


def guard(client: Client) -> None:
    """Have each request of a client ask :func:`_permit`. However many workers share it, once is enough."""
    client.permit_each(lambda: _permit(client))


@contextmanager
def watched(client: Client, ledger: Ledger, lease: Lease, clock: Callable[[], float], timeout: float) -> Iterator[None]:
    """For the time of the block, what this thread asks of ``client`` is asked for this lane."""
    before, _lane.held = _lane.held, _Held(client, ledger, lease, clock, timeout)
    try:
        yield
    finally:
        _lane.held = before


def _permit(client: Client) -> float | None:
    """Until when (``time.monotonic``) a request of this thread's lane may leave; ``None`` outside of any lane.

    Raises :class:`ConsentChanged` where the lane must be decided anew first, and :class:`LedgerError`.
    """
    held = _lane.held
    if held is None or held.client is not client:
        return None
    stopwatch = Stopwatch.started(held.clock, held.timeout)
    moment = held.ledger.still_permitted(held.lease)
    if moment is None:
        raise ConsentChanged("a patient's consents changed", lanes=[held.lease.lane])
    return stopwatch.until(moment)
