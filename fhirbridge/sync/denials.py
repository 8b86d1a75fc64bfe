"""What a gate denied, gathered while it is asked: the audit trail is told when no rows are locked any more."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import msgspec

from fhirbridge.audit import Denied
from fhirbridge.binding import Binding
from fhirbridge.fhir.bundle import Address
from fhirbridge.ledger import Asked, Consents, Verdict
from fhirbridge.ledger.gate import Gate
from fhirbridge.records import Consent


class Denials:
    """A gate that answers as another one does, and remembers its denials until they are taken. May be shared."""

    def __init__(self, gate: Gate, binding: Binding) -> None:
        self._gate, self._binding = gate, binding
        self._denied: list[Denied] = []
        self._lock = threading.Lock()

    def knows(self, patient: str, version: int) -> bool:
        """See :class:`fhirbridge.ledger.gate.Gate`."""
        return self._gate.knows(patient, version)

    def learn(self, consents: Consents) -> None:
        """See :class:`fhirbridge.ledger.gate.Gate`."""
        self._gate.learn(consents)

    def decide(self, patient: str, version: int, asked: Sequence[Asked], now: float) -> Sequence[Verdict]:
        """See :class:`fhirbridge.ledger.gate.Gate`."""
        verdicts = self._gate.decide(patient, version, asked, now)
        if not all(one.permit for one in verdicts):
            self._remember(patient, version, asked, verdicts)
        return verdicts

    def take(self) -> list[Denied]:
        """What was denied since this was asked last: one for each decision of a patient, with all that it kept back."""
        with self._lock:
            taken, self._denied = self._denied, []
        return taken

    def _remember(self, patient: str, version: int, asked: Sequence[Asked], verdicts: Sequence[Verdict]) -> None:
        kept: dict[tuple[str, str, str], tuple[Verdict, list[Address]]] = {}
        for one, said in zip(asked, verdicts, strict=True):
            if not said.permit:
                kept.setdefault((said.act, said.reason, said.trail), (said, []))[1].append(self._address(one))
        denied = [
            Denied(patient, said.act, said.reason, version, self._consents(said), places)
            for said, places in kept.values()
        ]
        with self._lock:
            self._denied += denied

    def _address(self, one: Asked) -> Address:
        role = one.role if one.generation == 0 else f"{one.role}~{one.generation}"
        return Address(one.resource_type, self._binding.resource_id(one.kind, one.record, role))

    def _consents(self, said: Verdict) -> list[Address]:
        """The consents that said so, at the addresses that the clinic's own have: keyed, whoever holds them."""
        named = dict.fromkeys(str(step[0]) for step in msgspec.json.decode(said.trail))
        return [Address("Consent", self._binding.resource_id(Consent.kind, one)) for one in named]
