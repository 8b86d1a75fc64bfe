"""Kind × recipient × purpose → permit or deny, on one day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from fhirbridge.consent.act import Act, ActName
from fhirbridge.consent.decider import Decider
from fhirbridge.consent.decision import Decision
from fhirbridge.consent.subject import Subject
from fhirbridge.records.base import Ref
from fhirbridge.records.consent import Consent, Provision, Purpose

# The act that a purpose is a sign of; whatever else is sharing.
_ACT: dict[str, ActName] = {
    "treatment": "treat",
    "emergency_treatment": "emergency",
    "break_the_glass": "emergency",
    "research": "research",
    "clinical_trial": "research",
    "public_health": "regulatory_report",
}
_USUAL: tuple[Purpose, ...] = ("treatment", "coordination_of_care", "research")


class Cell(NamedTuple):
    """One question and its answer. ``recipient`` is the name given to it by whoever asked.

    A denial for the reason ``ambiguous`` means here that it depends on the data: their date, their codes.
    """

    kind: str
    recipient: str
    purpose: Purpose
    decision: Decision


def matrix(
    decider: Decider,
    subjects: Iterable[Subject],
    recipients: Mapping[str, tuple[Ref, ...]],
    purposes: Iterable[Purpose],
    at: dt.datetime,
    studies: tuple[Ref, ...] = (),
) -> tuple[Cell, ...]:
    """Every cell, kinds first. ``subjects`` are one of each kind, as far as it is known without any data."""
    columns = [
        (
            name,
            purpose,
            Act(_ACT.get(purpose, "share"), names, studies if _ACT.get(purpose) == "research" else (), (purpose,)),
        )
        for name, names in recipients.items()
        for purpose in dict.fromkeys(purposes)
    ]
    return tuple(
        Cell(subject.kind, name, purpose, decider.decide(act, subject, at))
        for subject in subjects
        for name, purpose, act in columns
    )


def purposes_of(consents: Iterable[Consent]) -> tuple[Purpose, ...]:
    """The purposes worth a column: the usual ones, and those that the rules of the consents name."""
    named = (one for consent in consents for rule in _rules(consent.provisions) for one in rule.purposes)
    return tuple(dict.fromkeys((*_USUAL, *(one for one in named if isinstance(one, str)))))


def _rules(provisions: Iterable[Provision]) -> Iterator[Provision]:
    for one in provisions:
        yield one
        yield from _rules(one.exceptions)
