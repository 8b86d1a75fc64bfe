"""When to ask again: growing waits with jitter, never before ``Retry-After``, and a pace for the whole site. Pure.

The present and the chance (a number from 0 up to 1) are handed in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fhirbridge.client.patience import Notice, retry_after

FIRST_WAIT = 1.0
LONGEST_BACKOFF = 300.0
# So that those who were sent away together do not come back together, without ever coming early.
_SPREAD = 0.1
_MOST_DOUBLINGS = 20
_WIDEST = 1 << 16


@dataclass(frozen=True, slots=True)
class Wait:
    """``until`` is the first moment to ask again (epoch seconds); ``notice`` what was odd about ``Retry-After``."""

    until: float
    notice: Notice | None = None


def wait(attempt: int, header: str | None, now: float, chance: float) -> Wait:
    """The wait after the failure number ``attempt`` (from 1): half of a doubling time for certain, half by chance, and
    never earlier than the header says."""
    backoff = min(FIRST_WAIT * 2.0 ** min(max(attempt, 1) - 1, _MOST_DOUBLINGS), LONGEST_BACKOFF)
    own = now + backoff * (0.5 + 0.5 * chance)
    said = retry_after(header, now)
    if said.until is None or said.until <= now:
        return Wait(own, said.notice)
    spread = min((said.until - now) * _SPREAD, LONGEST_BACKOFF) * chance
    return Wait(max(own, said.until + spread), said.notice)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast one site may be asked: not before ``until``, and not more than ``width`` requests at once.

    After a failure that is the site's, one request goes first; each success doubles the width, so that a site that has
    come back is not run over by all who waited.
    """

    until: float = 0.0
    failures: int = 0
    width: int = _WIDEST

    def failed(self, until: float) -> Pace:
        """The pace after a failure; ``until`` as :func:`wait` or a decision gives it."""
        return replace(self, until=max(self.until, until), failures=self.failures + 1, width=1)

    def succeeded(self) -> Pace:
        """The pace after an answer that shows the site at work."""
        return replace(self, failures=0, width=min(self.width * 2, _WIDEST))

    def may_begin(self, now: float, in_flight: int) -> bool:
        """Whether another request may begin."""
        return now >= self.until and in_flight < self.width
