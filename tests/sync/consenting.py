"""A clinic whose patients decide, a hospital, and the ledger between them, on a clock that only waiting moves."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from fhirbridge.config import DEMO_ID_KEY, Config, parse
from fhirbridge.ledger import Known, Ledger, State
from fhirbridge.site import Site
from fhirbridge.sources import Line
from fhirbridge.sources.lines import read_record
from fhirbridge.sync import How, RecordOutcome, push
from fhirbridge.sync.identity import lane_of
from mappings import adverse_event, consent, session, vitals
from tests.client.pushing import NO_TRAIL, SID, Clock, Tree, patient
from tests.client.server import FakeServer
from tests.vault.vaults import vault_of

KINDS = {one.name: one for one in (session.KIND, vitals.KIND, adverse_event.KIND, consent.KIND)}
MODELS = {name: kind.record for name, kind in KINDS.items()}
HOSPITAL = f"{SID}/organization|HOSPITAL-1"


def signed(own: str = "c1", who: str = "P-1", revision: int = 1, **more: Any) -> Tree:
    """A consent to sharing, without conditions."""
    return {
        "kind": "consent", "id": own, "revision": revision, "patient": patient(who),
        "consent_type": "privacy_sharing", "state": "active", "decision": "permit",
        "signed_at": "2026-11-01T09:30:00-05:00", "grantors": [patient(who)], **more,
    }  # fmt: skip


def withdrawn(own: str = "c1", who: str = "P-1", revision: int = 2, **withdrawal: Any) -> Tree:
    """The same, taken back."""
    at = {"at": "2026-12-01T08:00:00-05:00", **withdrawal}
    return signed(own, who, revision, state="withdrawn", withdrawal=at)


def to_one(recipient: str, **more: Any) -> Tree:
    """A rule that permits to disclose to one recipient, and nobody else."""
    system, _, value = recipient.partition("|")
    party = {"type": "Organization", "identifier": {"system": system, "value": value}}
    return {"effect": "permit", "actors": [{"role": "recipient", "party": party}], **more}


class Consenting:
    """Pushes records to a small server through the gate of the site ``s``; ``consent`` is the site's own table."""

    def __init__(
        self, server: FakeServer, folder: Path, *, clinic: Tree | None = None, name: str = "s", **consent: Any
    ) -> None:
        self.server, self.clock = server, Clock()
        table = {"base_url": server.base, "timeout": 5, "consent": consent}
        tree = {"audit": NO_TRAIL, "clinic": {"demo": True}, "site": {name: table}}
        tree |= {"consent": clinic} if clinic else {}
        self.site = Site.open(name, Config(parse(tree), Path(), {}), kinds=KINDS)
        self.ledger = Ledger.open(f"sqlite:///{folder}/ledger.db", vault=vault_of(DEMO_ID_KEY), clock=self.clock)

    def __enter__(self) -> Consenting:
        return self

    def __exit__(self, *error: object) -> None:
        self.site.client.close()
        self.ledger.close()

    def push(self, *trees: Tree, **how: Any) -> dict[str, str]:
        """The outcome of each record, by id."""
        return {one.line.record.id: one.state for one in self.outcomes(*trees, **how) if one.line.record is not None}

    def outcomes(self, *trees: Tree, **how: Any) -> list[RecordOutcome]:
        options = {"clock": self.clock, "sleep": self.clock.sleep, "chance": random.Random(1), **how}  # noqa: S311
        return list(push(lines(*trees), self.site, self.ledger, How(**options)))

    def there(self, kind: str = "") -> list[Tree]:
        """What the hospital holds of the clinic's, the newest version of each."""
        addresses = (one for one in self.server.resources if not one.startswith("Patient/"))
        return [self.server.resources[one][-1] for one in addresses if one.startswith(f"{kind}/" if kind else "")]

    def known(self, who: str = "P-1") -> list[Known]:
        return self.ledger.of_patient(self.site.name, key(who))

    def states(self, who: str = "P-1") -> set[tuple[str, State | None, str]]:
        return {(row.record, row.state, row.reason) for row in self.known(who)}


def key(who: str = "P-1") -> str:
    """The key of a patient."""
    record = read_record(signed(who=who), MODELS)[0]
    return lane_of(record.patient, DEMO_ID_KEY)


def lines(*trees: Tree) -> list[Line]:
    return [Line("f", number, *read_record(tree, MODELS)) for number, tree in enumerate(trees, start=1)]
