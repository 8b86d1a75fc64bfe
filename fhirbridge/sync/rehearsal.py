"""What a changed consent would block or release of what the ledger knows, before it is signed. Nothing is written."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from fhirbridge.consent import Act, Change, Policies, simulate
from fhirbridge.fhir.json import Tree
from fhirbridge.ledger import Evidence, Ledger
from fhirbridge.records import Consent
from fhirbridge.sync.evidence import read, with_moved, with_newer
from fhirbridge.sync.subject import Subjects


@dataclass(frozen=True, slots=True)
class Effect:
    """What would change for one resource at one site. ``before`` and ``after`` are reasons."""

    site: str
    kind: str
    record: str
    role: str
    outcome: str
    before: str
    after: str

    def as_json(self) -> Tree:
        """The effect as one line."""
        return {
            "site": self.site, "kind": self.kind, "id": self.record, "role": self.role, "outcome": self.outcome,
            "before": self.before, "after": self.after,
        }  # fmt: skip


def rehearse(
    changed: Iterable[Evidence], sites: Mapping[str, Act], ledger: Ledger, policies: Policies, now: float
) -> Iterator[Effect]:
    """What would change at each of ``sites`` at ``now`` (epoch seconds). Raises :class:`LedgerError`."""
    came: dict[str, list[Evidence]] = {}
    for one in with_moved(changed, ledger):
        came.setdefault(one.patient, []).append(one)
    at = dt.datetime.fromtimestamp(now, dt.UTC)
    subjects = Subjects()
    for patient, evidence in came.items():
        kept = ledger.consents(patient)
        before, after = read(kept), read(with_newer(kept, evidence))
        for site, act in sites.items():
            rows = [
                row
                for row in ledger.of_patient(site, patient)
                if row.subject and not row.withdrawn and row.kind != Consent.kind
            ]
            about = [subjects.read(row.kind, row.resource_type, row.subject) for row in rows]
            for change in simulate(before, after, act, about, at, policies):
                row = rows[change.place]
                yield Effect(site, row.kind, row.record, row.role, change.outcome, *_reasons(change))


def _reasons(change: Change) -> tuple[str, str]:
    return change.before.reason, change.after.reason
