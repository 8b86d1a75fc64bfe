"""``python -m tests.acceptance.consents``: a clinic whose patients decide, to a real server; exit code 0: as promised.

Who is right about what may be there is not asked of the ledger: the records are decided by themselves, and the server
is read page by page.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from fhirbridge import config
from fhirbridge.client.paging import pages
from fhirbridge.consent import Decision, decide, subject_of
from fhirbridge.demo.patients import seed_patients
from fhirbridge.demo.server import sekmet_server
from fhirbridge.fhir.bundle import Address, resources
from fhirbridge.fhir.json import Tree
from fhirbridge.ledger import Ledger
from fhirbridge.mapping import PRIMARY
from fhirbridge.records import Consent, Record, to_json
from fhirbridge.site import Site
from fhirbridge.sources.lines import Line, read_record
from fhirbridge.sync import push
from fhirbridge.sync.opening import open_ledger
from fhirbridge.sync.plan import own_pointers, revision_key
from fhirbridge.sync.retraction import is_retracted
from fhirbridge.synth import Options, records
from tests.contract.hapi import hapi_server

SITE = "hospital"


@dataclass(frozen=True, slots=True)
class Judged:
    """One resource of a record, whose it is, and whether it may be at the site."""

    address: Address
    record: Record
    role: str
    patient: str
    decision: Decision


@dataclass(slots=True)
class Finding:
    """What one stage of the trial found; ``wrong`` names what is not as promised by address and code."""

    stage: str
    records: int
    permitted: int
    there: int
    blocked: int = 0
    wrong: list[str] = field(default_factory=list)


class Trial:
    """A clinic with mixed consents, a site of a real server, and a ledger in ``folder``."""

    def __init__(self, base: str, release: str, folder: Path, options: Options) -> None:
        recipient = f"https://{options.domain}/sid/organization|HOSPITAL-1"
        table: Tree = {"base_url": base, "release": release, "consent": {"recipients": [recipient]}}
        tree: Tree = {"clinic": {"demo": True, "domain": options.domain}, "site": {SITE: table}}
        settings = config.Config(config.parse(tree), folder, {})
        self.options = options
        self.site = Site.open(SITE, settings)
        self.ledger: Ledger = open_ledger(settings)
        models = {name: kind.record for name, kind in self.site.mappings.kinds.items()}
        found = [read_record(one, models)[0] for one in records(options)]
        # Nothing is to go before a withdrawal that the file has further down: what may be there is what holds now.
        self.records = sorted(found, key=lambda one: one.kind != Consent.kind)
        self.at = dt.datetime.now(dt.UTC)

    def close(self) -> None:
        self.site.client.close()
        self.ledger.close()

    def register(self) -> None:
        """Make the clinic's patients known at the site."""
        assert sum(seed_patients(self.site, self.options)) == self.options.patients

    def push(self, given: Sequence[Record]) -> Counter[str]:
        """Deliver records; how many ended how."""
        lines = (Line("clinic", number, one) for number, one in enumerate(given, start=1))
        return Counter(one.state for one in push(lines, self.site, self.ledger))

    # ------------------------------------------------------------------------------------------- the judge
    def judged(self) -> list[Judged]:
        """Every resource of the newest revisions, each decided by itself."""
        newest = self.newest()
        consents: dict[str, list[Consent]] = {}
        for one in newest:
            if isinstance(one, Consent):
                consents.setdefault(_patient(one), []).append(one)
        found = []
        for one in newest:
            state = one.state if isinstance(one, Consent) else None
            for part in self.site.mappings.to_fhir(one).parts:
                about = subject_of(part.resource, one.kind, state=state if part.role == PRIMARY else None)
                known = consents.get(_patient(one), [])
                said = decide(known, self.site.act, about, self.at, self.site.policies)
                found.append(Judged(Address(part.resource_type, part.id), one, part.role, _patient(one), said))
        return found

    def newest(self) -> list[Record]:
        """The newest revision of each record."""
        found: dict[tuple[str, str], Record] = {}
        for one in self.records:
            held = found.get((one.kind, one.id))
            if held is None or revision_key(held.revision) <= revision_key(one.revision):
                found[one.kind, one.id] = one
        return list(found.values())

    def there(self) -> dict[Address, Tree]:
        """Every resource of this clinic that the server lists."""
        own = self.site.mappings.binding.sid("")
        return {
            Address(one["resourceType"], one["id"]): one
            for kind in ("Consent", "Procedure", "MedicationAdministration", "Observation", "AdverseEvent")
            for page in pages(self.site.client, self.site.client.search(kind, {"_count": "200"}))
            for one in resources(page)
            if any(system.startswith(own) for _, system, _ in own_pointers(one))
        }

    # ------------------------------------------------------------------------------------------- the stages
    def deliver(self) -> Finding:
        """Push everything; exactly what is permitted is there, and the trail explains each of the rest."""
        outcomes = self.push(self.records)
        judged, there = self.judged(), self.there()
        permitted = {one.address for one in judged if one.decision.permitted}
        finding = Finding("push", len(self.records), len(permitted), len(there), outcomes["blocked"])
        finding.wrong += [f"not there: {one}" for one in permitted - there.keys()]
        finding.wrong += [f"there without permission: {one}" for one in there.keys() - permitted]
        finding.wrong += self._unexplained([one for one in judged if not one.decision.permitted])
        return finding

    def _unexplained(self, blocked: Sequence[Judged]) -> Iterator[str]:
        """What is not there, and of which the trail does not say what the judge says."""
        for one in blocked:
            told = [
                two
                for two in self.ledger.decisions(SITE, one.record.kind, one.record.id)
                if (two.role, two.revision) == (one.role, str(one.record.revision))
            ]
            wanted = [list(step) for step in one.decision.trail]
            if not told or (told[-1].permit, told[-1].reason) != (False, one.decision.reason):
                yield f"not explained: {one.address}"
            elif json.loads(told[-1].trail) != wanted:
                yield f"another trail: {one.address}"

    def withdraw(self, count: int) -> Finding:
        """``count`` patients take back what they permitted; exactly their data are retracted, and nobody else's."""
        before = self.there()
        whose = self._shared_with()
        leaving = set(sorted(whose)[:: max(1, len(whose) // count)][:count])
        given = [_withdrawn(one, self.at) for one in self.newest() if _is_active(one) and _patient(one) in leaving]
        self.records += given
        self.push(given)
        judged, there = {one.address: one for one in self.judged()}, self.there()
        kept = {place for place in before if judged[place].patient not in leaving}
        finding = Finding(f"{len(leaving)} withdrawals", len(given), len(kept), len(there))
        if len(leaving) < count:
            finding.wrong.append(f"only {len(leaving)} patients have anything there")
        finding.wrong += [f"gone or new: {one}" for one in before.keys() ^ there.keys()]
        for place, one in there.items():
            theirs = judged[place].patient in leaving
            if place.type == "Consent":
                finding.wrong += [f"not told: {place}"] if _stands(one) and _is_withdrawn(judged[place].record) else []
            elif is_retracted(one) != (theirs or is_retracted(before.get(place, {}))):
                # The clinic itself has a few records that were entered in error.
                finding.wrong.append(f"{'not retracted' if theirs else 'retracted'}: {place}")
        return finding

    def _shared_with(self) -> set[str]:
        """The patients of whom more than consents is there."""
        return {one.patient for one in self.judged() if one.decision.permitted and one.record.kind != Consent.kind}


def _patient(record: Record) -> str:
    named = record.patient.identifier
    assert named is not None
    return named.value or ""


def _is_active(record: Record) -> bool:
    return isinstance(record, Consent) and record.consent_type == "privacy_sharing" and record.state == "active"


def _is_withdrawn(record: Record) -> bool:
    return isinstance(record, Consent) and record.state == "withdrawn"


def _stands(resource: Tree) -> bool:
    return bool(resource.get("status") == "active")


def _withdrawn(record: Record, at: dt.datetime) -> Record:
    assert isinstance(record.revision, int)
    moment = at.isoformat(timespec="seconds")
    tree = to_json(record) | {"revision": record.revision + 1, "state": "withdrawn"}
    tree |= {"withdrawal": {"at": moment, "scope": "all", "data_handling": "retract"}}
    return read_record(tree, {Consent.kind: Consent})[0]


def main() -> None:
    """Run the trial and print what was found."""
    parser = argparse.ArgumentParser(description="mixed consents to a real server")
    parser.add_argument("--server", choices=("sekmet", "hapi-r4", "hapi-r5"), required=True)
    parser.add_argument("--patients", type=int, default=50)
    parser.add_argument("--withdrawals", type=int, default=10)
    parser.add_argument("--seed", type=int, default=5)
    given = parser.parse_args()
    release = "r5" if given.server == "hapi-r5" else "r4"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fhirbridge-consents-")))
        if given.server == "sekmet":
            base = stack.enter_context(sekmet_server()).base
        else:
            base = stack.enter_context(hapi_server(release))
        domain = f"consents-{random.randrange(10**6)}.example"  # noqa: S311
        options = Options(given.patients, given.seed, domain, "mixed", 0.02, sessions=1, vitals="rems")
        trial = Trial(base, release, folder, options)
        stack.callback(trial.close)
        trial.register()
        wrong = 0
        for stage in (trial.deliver, lambda: trial.withdraw(given.withdrawals)):
            began = time.monotonic()
            found = stage()
            wrong += len(found.wrong)
            _say(
                f"{given.server} {found.stage}: {found.records} records; {found.permitted} resources permitted, "
                f"{found.there} there; {found.blocked} records blocked; {len(found.wrong)} wrong; "
                f"{time.monotonic() - began:.0f} s"
            )
            for one in found.wrong[:20]:
                _say(f"  {one}")
    sys.exit(1 if wrong else 0)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
