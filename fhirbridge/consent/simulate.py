"""What a changed consent would block or release, before it is signed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from fhirbridge.consent.act import Act
from fhirbridge.consent.decider import Decider
from fhirbridge.consent.decision import Decision
from fhirbridge.consent.evidence import Evidence
from fhirbridge.consent.policies import NO_POLICIES, Policies
from fhirbridge.consent.subject import Subject


class Change(NamedTuple):
    """One resource that would be treated otherwise; ``place`` is its position among those asked about."""

    place: int
    subject: Subject
    before: Decision
    after: Decision

    @property
    def outcome(self) -> Literal["blocked", "released", "obliged"]:
        """What would happen to it; ``obliged``: it goes, but with other parts left out or other notices."""
        if self.before.effect == self.after.effect:
            return "obliged"
        return "released" if self.after.permitted else "blocked"


def simulate(
    before: Iterable[Evidence],
    after: Iterable[Evidence],
    act: Act,
    subjects: Iterable[Subject],
    at: dt.datetime,
    policies: Policies = NO_POLICIES,
) -> Iterator[Change]:
    """Each of ``subjects`` for which ``act`` would be answered otherwise; ``before`` and ``after`` are all consents of
    the patient as they are and as they would be.
    """
    old, new = Decider(before, policies), Decider(after, policies)
    for place, subject in enumerate(subjects):
        change = Change(place, subject, old.decide(act, subject, at), new.decide(act, subject, at))
        same = change.before.effect == change.after.effect
        if not same or (change.after.permitted and change.before.obligations != change.after.obligations):
            yield change
