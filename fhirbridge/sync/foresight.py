"""What the gate would say of records that are only looked at: by what the ledger knows, and what would come along."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fhirbridge.ledger import Asked, Consents, Evidence, Item, Ledger, Server, Verdict
from fhirbridge.site import Site
from fhirbridge.sync.evidence import with_moved, with_newer
from fhirbridge.sync.gate import gate_of


class Foresight:
    """The gate of a site over consents that nobody has kept yet. ``now`` is in epoch seconds."""

    def __init__(self, site: Site, ledger: Ledger, now: float) -> None:
        self._site, self._ledger, self._now = site, ledger, now
        self._gate = gate_of(site)
        self._came: dict[str, list[Evidence]] = {}

    def take(self, evidence: Iterable[Evidence]) -> None:
        """Consents that would come along. Raises :class:`LedgerError`."""
        for one in with_moved(evidence, self._ledger):
            self._came.setdefault(one.patient, []).append(one)

    def verdict(self, item: Item, *, acked: bool) -> Verdict:
        """What the gate would say of one delivery. Raises :class:`LedgerError`."""
        asked = Asked(
            item.kind, item.record, item.role, item.generation, str(item.revision), item.resource_type, item.action,
            item.subject, Server.UNSEEN, acked,
        )  # fmt: skip
        version = len(self._came.get(item.lane, ()))
        if not self._gate.knows(item.lane, version):
            self._gate.learn(replace(self._consents(item.lane), version=version))
        (found,) = self._gate.decide(item.lane, version, [asked], self._now)
        if self._gate.wonders:
            self._gate.look(self._ledger, self._site.name)
            (found,) = self._gate.decide(item.lane, version, [asked], self._now)
        return found

    def _consents(self, patient: str) -> Consents:
        return with_newer(self._ledger.consents(patient), self._came.get(patient, ()))
