"""The synthetic clinic as a subject: real records through the real worker and its ledger."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from fhirbridge import config
from fhirbridge.binding import Binding, Release
from fhirbridge.demo.patients import patient_resource
from fhirbridge.fhir.json import Tree, dump
from fhirbridge.ledger import Ledger, State, Where
from fhirbridge.mapping import Mappings, Written
from fhirbridge.site import clinic
from fhirbridge.sources.lines import read_record
from fhirbridge.synth import Options, patients, records
from tests.faults.identity import marks
from tests.faults.judge import Event
from tests.faults.processes import Command
from tests.faults.signing import Signer
from tests.faults.work import SITE
from tests.vault.vaults import vault_of

# What nothing proves and nobody declares, as an operator would write it into the configuration.
KNOWN: Mapping[str, str] = {
    "healthlake": 'can.idempotency_key = "x-amz-fhir-idempotency-key"',
    "oracle": "can.transaction = false\ncan.batch = false",
}
_OPENING = threading.Lock()


class Clinic:
    """Records of a made-up clinic for one release; ``known`` are settings of the site beside its address."""

    def __init__(self, options: Options, *, release: str = "r4", known: str = "") -> None:
        self.name, self.release = "fhirbridge", release
        self._options, self._known = options, known
        # What is recorded in the course of an experiment.
        self.later: list[Tree] = []

    @cached_property
    def bound(self) -> Mappings:
        """The mappings of the clinic."""
        tree = {"clinic": {"demo": True, "domain": self._options.domain}}
        held = config.Config(config.parse(tree), Path(), {})
        return Mappings(Binding(clinic(held), Release(self.release)))

    @cached_property
    def _signed(self) -> list[tuple[tuple[str, str], Written]]:
        return self._mapped(self.trees())

    @property
    def written(self) -> list[tuple[tuple[str, str], Written]]:
        """Every revision of every record by kind and id, as it is mapped."""
        return self._signed + self._mapped(self.later)

    def trees(self) -> list[Tree]:
        """The records that there are from the beginning."""
        return list(records(self._options))

    def _mapped(self, trees: Iterable[Tree]) -> list[tuple[tuple[str, str], Written]]:
        models = {name: kind.record for name, kind in self.bound.kinds.items()}
        found = [read_record(tree, models)[0] for tree in trees]
        return [((one.kind, one.id), self.bound.to_fhir(one)) for one in found]

    def patients(self) -> Sequence[Tree]:
        return [patient_resource(one, self.bound.binding) for one in patients(self._options)]

    def events(self) -> Sequence[Event]:
        """Each resource of each revision; what a correction takes away is queued as a retraction."""
        found: list[Event] = []
        roles: dict[tuple[str, str], dict[str, Event]] = {}
        for key, written in self.written:
            before, now = roles.get(key, {}), {}
            for part in written.parts:
                told = marks(part.resource)
                now[part.role] = Event(told.identity, told.revision, told.patient, told.retracts, told.hash)
            revision = next(iter(now.values())).revision
            gone = [one for role, one in before.items() if role not in now]
            found += [*now.values(), *(Event(one.identity, revision, one.patient, True) for one in gone)]
            roles[key] = now
        return found

    def prepare(self, folder: Path, base: str, store: str) -> Command:
        source, settings = folder / "records.ndjson", self.settings(folder)
        source.write_bytes(b"".join(dump(tree) + b"\n" for tree in self.trees()))
        lines = [
            f'[clinic]\ndemo = true\ndomain = "{self._options.domain}"',
            f'[site.{SITE}]\nbase_url = "{base}"\nrelease = "{self.release}"',
            f"timeout = 2.0\nbundle_entries = 5\n{self._known}\n",
            f'[site.{SITE}.auth]\nkind = "bearer"\ntoken = {{ file = "token" }}\n',
        ]
        settings.write_text("\n".join(lines), "utf-8")
        if not (folder / "token").exists():
            self.token(folder, "a-token")
        self.ledger(store).close()
        files = ["--config", str(settings), "--records", str(source), "--ledger", store]
        return ["-m", "tests.faults.work", *files]

    def settings(self, folder: Path) -> Path:
        """The configuration of the worker."""
        return folder / "fhirbridge.toml"

    def ledger(self, url: str) -> Ledger:
        """The ledger that was made, opened once more."""
        # Migrations of two ledgers in one process get in each other's way.
        with _OPENING:
            return Ledger.open(url, vault=vault_of(self.bound.binding.clinic.id_key))

    def token(self, folder: Path, token: str) -> None:
        (folder / "token").write_text(token, "utf-8")

    def surfaced(self, folder: Path, store: str) -> Sequence[str]:
        identities = self.identities()
        shown = (State.PARKED, State.REJECTED, State.UNKNOWN, State.BLOCKED)
        with self.ledger(store) as ledger:
            rows = ledger.find(Where(site=SITE, states=shown), limit=100_000)
        return [identities.get((row.kind, row.record, row.role), row.role) for row in rows]

    def identities(self) -> dict[tuple[str, str, str], str]:
        """What the judge calls each resource, by kind, record and role."""
        return {
            (*key, part.role): marks(part.resource).identity for key, written in self.written for part in written.parts
        }

    def signer(self) -> Signer:
        return Signer(self)
