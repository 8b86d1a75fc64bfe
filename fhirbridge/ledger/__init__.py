"""The durable state of every delivery: what has to go, what is under way, what arrived, and what is known of a site."""

from __future__ import annotations

from fhirbridge.ledger.consents import Asked, Consents, Decided, Evidence, Patient, Verdict
from fhirbridge.ledger.gate import Gate
from fhirbridge.ledger.ledger import Ledger
from fhirbridge.ledger.purge import Purged
from fhirbridge.ledger.states import FAILED, OPEN, Action, Server, State
from fhirbridge.ledger.tampering import Tampered
from fhirbridge.ledger.words import (
    Adopted,
    Claim,
    Decision,
    Delivery,
    Ended,
    Enqueued,
    Entry,
    Item,
    Kept,
    Known,
    Lease,
    Outgoing,
    Rescued,
    Result,
    Row,
    Standing,
    Where,
)

__all__ = [
    "FAILED",
    "OPEN",
    "Action",
    "Adopted",
    "Asked",
    "Claim",
    "Consents",
    "Decided",
    "Decision",
    "Delivery",
    "Ended",
    "Enqueued",
    "Entry",
    "Evidence",
    "Gate",
    "Item",
    "Kept",
    "Known",
    "Lease",
    "Ledger",
    "Outgoing",
    "Patient",
    "Purged",
    "Rescued",
    "Result",
    "Row",
    "Server",
    "Standing",
    "State",
    "Tampered",
    "Verdict",
    "Where",
]
