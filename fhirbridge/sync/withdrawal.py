"""What a withdrawn consent means for what a site holds already; drawn once nothing more of the patient is under way.

The patient's own word on it (``data_handling``) comes first, then the site's ``after_withdrawal``. What is taken back
is a delivery like any other: tracked until the site proves it. Consents stay: they say on what ground data were there.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from fhirbridge.config import AfterWithdrawal
from fhirbridge.consent import Act, Decider, Decision, Found, Policies
from fhirbridge.consent import Evidence as Read
from fhirbridge.ledger import Action, Item, Known, Ledger
from fhirbridge.records import Consent
from fhirbridge.site import Site
from fhirbridge.sync.enqueue import withdrawal
from fhirbridge.sync.evidence import CLINIC, read
from fhirbridge.sync.gate import SiteGate, may_be_there
from fhirbridge.sync.plan import revision_of
from fhirbridge.sync.retraction import BY_DELETE, WITH_CONSENT
from fhirbridge.sync.subject import Subjects

# Where several withdrawn consents say different things, the one that leaves least.
_STRICTEST: tuple[AfterWithdrawal, ...] = ("delete", "retract", "notify", "keep")
_TAKEN_BACK = frozenset({"delete", "retract"})
Name: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Consequence:
    """What becomes of one resource that a site holds."""

    known: Known
    handling: AfterWithdrawal


def consequences(
    rows: Iterable[Known], consents: Sequence[Read], act: Act, policies: Policies, default: AfterWithdrawal, now: float
) -> Iterator[Consequence]:
    """What follows for each of the patient's resources that may be at the site and that a withdrawal now forbids.

    ``default`` is the site's own rule, ``now`` is in epoch seconds.
    """
    decider, subjects = Decider(consents, policies), Subjects()
    known = dict(map(_named, consents))
    at = dt.datetime.fromtimestamp(now, dt.UTC)
    for row in rows:
        if row.kind == Consent.kind or row.withdrawn or not row.subject or not may_be_there(row):
            continue
        if row.action is Action.RETRACT:
            continue
        decision = decider.decide(act, subjects.read(row.kind, row.resource_type, row.subject), at)
        said = [_handling(known[one], default) for one in _withdrawn_in(decision) if one in known]
        if said:
            yield Consequence(row, min(said, key=_STRICTEST.index))


def _named(one: Read) -> tuple[Name, Consent | None]:
    """A consent by the name that a decision gives it: where it was found, and its id."""
    match one:
        case Consent():
            return (CLINIC, one.id), one
        case Found():
            return (one.origin, one.consent.id), one.consent
        case _:
            return (one.origin, one.id), None


def _withdrawn_in(decision: Decision) -> list[Name]:
    """The consents whose withdrawal forbids it."""
    return [(one.origin, one.consent) for one in decision.trail if (one.effect, one.reason) == ("deny", "withdrawn")]


def _handling(consent: Consent | None, default: AfterWithdrawal) -> AfterWithdrawal:
    said = None if consent is None else consent.withdrawal
    if said is not None and said.data_handling is not None:
        return said.data_handling
    # "For the future only" is a word on the past, too.
    return "keep" if said is not None and said.scope == "future_sharing" else default


class Following:
    """Draws the consequences of withdrawals at one site, for whoever delivers there through ``gate``."""

    def __init__(self, site: Site, ledger: Ledger, gate: SiteGate, run: str) -> None:
        self._site, self._ledger, self._gate, self._run = site, ledger, gate, run

    def draw(self, now: float) -> int:
        """Queue what is to be taken back, for patients whose change has become effective; how many resources.

        Raises :class:`LedgerError`.
        """
        self._gate.look(self._ledger, self._site.name)
        drawn = 0
        for patient, version in self._ledger.to_follow(self._site.name):
            consents = self._ledger.consents(patient)
            if consents.version == version:
                rows = self._ledger.of_patient(self._site.name, patient)
                found = consequences(
                    rows,
                    read(consents),
                    self._site.act,
                    self._site.policies,
                    self._site.settings.consent.after_withdrawal,
                    now,
                )
                items = self._items(list(found))
                if self._ledger.follow(self._site.name, patient, version, items, run=self._run) is not None:
                    drawn += len(items)
        return drawn

    def _items(self, found: Sequence[Consequence]) -> list[Item]:
        taken_back = [one for one in found if one.handling in _TAKEN_BACK]
        # The newest body says how the resource is found where the site gave the id.
        bodies = self._ledger.bodies([one.known.newest for one in taken_back if one.known.newest is not None])
        return [
            withdrawal(
                one.known,
                revision_of(one.known.revision),
                body=bodies.get(one.known.newest or 0),
                how=BY_DELETE if one.handling == "delete" else "",
                why=WITH_CONSENT,
            )
            for one in taken_back
        ]
