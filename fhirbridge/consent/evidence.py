"""What is handed in: consents, those found elsewhere, and those that nobody could read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from fhirbridge.records.consent import Consent


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A FHIR Consent of this patient that its mapping refused: ``reason`` is the code of the fault, never a value."""

    id: str
    reason: str
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A consent that was read from a server, ``origin``: it never replaces a consent of the clinic, whatever its id.

    Unless ``may_permit``, it can only forbid: the stricter one wins.
    """

    consent: Consent
    origin: str
    may_permit: bool = False

    def __repr__(self) -> str:
        return f"Found({self.origin})"


Evidence: TypeAlias = Consent | Found | Unreadable
