"""Ledgers of which one part does not do its work, to show that the laboratory notices: each fails cells in which a
consent is withdrawn. The one that takes the in-flight step away is in :mod:`tests.faults.work`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from msgspec import structs

from fhirbridge.ledger import Claim, Ledger, Outgoing


class Blind(Ledger):
    """It begins whatever the worker was handed, also when the consents changed since."""

    def begin(self, bundles: Iterable[Outgoing]) -> float:
        """Begin, as if it had all been handed out just now."""
        given = list(bundles)
        leases = {one.lease for each in given for one in each.deliveries}
        versions = {lease.key: found.version for lease in leases if (found := self.patient(lease.key)) is not None}
        anew = {lease: replace(lease, consents=versions[lease.key], permitted_until=None) for lease in leases}
        return super().begin(
            [
                replace(each, deliveries=[structs.replace(one, lease=anew[one.lease]) for one in each.deliveries])
                for each in given
            ]
        )


class Hasty(Ledger):
    """A change is effective as soon as it is written down, whatever is under way."""

    def claim(self, site: str, worker: str, *, timeout: float, **terms: Any) -> list[Claim]:
        """Claim, and have it written down that no request takes any time."""
        found = super().claim(site, worker, timeout=0.0, **terms)
        return [
            Claim(held, tuple(structs.replace(delivery, lease=held) for delivery in one.deliveries))
            for one in found
            for held in [replace(one.lease, timeout=timeout)]
        ]


class Idle(Ledger):
    """Nobody draws what follows from a change."""

    def to_follow(self, site: str, limit: int = 100) -> list[tuple[str, int]]:
        """Nothing, ever."""
        return []
