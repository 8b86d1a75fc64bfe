"""What decides whether a delivery may go. The ledger asks it within the transaction that hands deliveries out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fhirbridge.ledger.consents import Asked, Consents, Verdict


class Gate(Protocol):
    """Decides by a patient's consents. It does no I/O and never waits: rows are locked while it is asked."""

    def knows(self, patient: str, version: int) -> bool:
        """Whether it has learnt this version of the patient's consents; 0 is the version of having none."""

    def learn(self, consents: Consents) -> None:
        """Take them in. What was learnt of an older version may be forgotten."""

    def decide(self, patient: str, version: int, asked: Sequence[Asked], now: float) -> Sequence[Verdict]:
        """One verdict for each, in order. ``until`` of a verdict is after ``now``.

        The same answer is best given as the same object: each object is looked up in the ledger once.
        """


class _Everything:
    """Permits everything, whatever the consents."""

    _yes = Verdict(permit=True, act="measure", reason="permitted")

    def knows(self, patient: str, version: int) -> bool:
        """See :class:`Gate`."""
        return True

    def learn(self, consents: Consents) -> None:
        """See :class:`Gate`."""

    def decide(self, patient: str, version: int, asked: Sequence[Asked], now: float) -> Sequence[Verdict]:
        """See :class:`Gate`."""
        return [self._yes] * len(asked)


# For the ledger's own tests and its benchmark. A test holds the package to not using it.
EVERYTHING: Gate = _Everything()
