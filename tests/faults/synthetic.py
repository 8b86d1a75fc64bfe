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
from fhirbridge.ledger import Ledger, State, Where, key_check
from fhirbridge.mapping import Mappings, Written
from fhirbridge.site import clinic
from fhirbridge.sources.lines import read_record
from fhirbridge.synth import Options, patients, records
from tests.faults.identity import marks
from tests.faults.judge import Event
from tests.faults.processes import Command
from tests.faults.work import SITE

# What nothing proves and nobody declares, as an operator would write it into the configuration.
KNOWN: Mapping[str, str] = {
    "healthlake": 'can.idempotency_key = "x-amz-fhir-idempotency-key"',
    "oracle": "can.transaction = false\ncan.batch = false",
}
_SETTINGS = "fhirbridge.toml"
_WITHDRAWN_AT = "2026-11-22T08:00:00-05:00"
_OPENING = threading.Lock()


class Clinic:
    """Records of a made-up clinic for one release; ``known`` are settings of the site beside its address."""

    def __init__(self, options: Options, *, release: str = "r4", known: str = "") -> None:
        self.name, self.release = "fhirbridge", release
        self._options, self._known = options, known
        self._withdrawn: list[Tree] = []

    @cached_property
    def _bound(self) -> Mappings:
        tree = {"clinic": {"demo": True, "domain": self._options.domain}}
        held = config.Config(config.parse(tree), Path(), {})
        return Mappings(Binding(clinic(held), Release(self.release)))

    @cached_property
    def _signed(self) -> list[tuple[tuple[str, str], Written]]:
        return self._mapped(records(self._options))

    @property
    def _written(self) -> list[tuple[tuple[str, str], Written]]:
        return self._signed + self._mapped(self._withdrawn)

    def _mapped(self, trees: Iterable[Tree]) -> list[tuple[tuple[str, str], Written]]:
        models = {name: kind.record for name, kind in self._bound.kinds.items()}
        found = [read_record(tree, models)[0] for tree in trees]
        return [((one.kind, one.id), self._bound.to_fhir(one)) for one in found]

    def patients(self) -> Sequence[Tree]:
        return [patient_resource(one, self._bound.binding) for one in patients(self._options)]

    def events(self) -> Sequence[Event]:
        """Each resource of each revision; what a correction takes away is queued as a retraction."""
        found: list[Event] = []
        roles: dict[tuple[str, str], dict[str, Event]] = {}
        for key, written in self._written:
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
        source, settings = folder / "records.ndjson", folder / _SETTINGS
        source.write_bytes(b"".join(dump(tree) + b"\n" for tree in records(self._options)))
        lines = [
            f'[clinic]\ndemo = true\ndomain = "{self._options.domain}"',
            f'[site.{SITE}]\nbase_url = "{base}"\nrelease = "{self.release}"',
            f'timeout = 2.0\nbundle_entries = 5\ntoken = {{ file = "token" }}\n{self._known}\n',
        ]
        settings.write_text("\n".join(lines), "utf-8")
        if not (folder / "token").exists():
            self.token(folder, "a-token")
        self._ledger(store).close()
        files = ["--config", str(settings), "--records", str(source), "--ledger", store]
        return ["-m", "tests.faults.work", *files]

    def _ledger(self, url: str) -> Ledger:
        # Migrations of two ledgers in one process get in each other's way.
        with _OPENING:
            return Ledger.open(url, key_check=key_check(self._bound.binding.clinic.id_key))

    def token(self, folder: Path, token: str) -> None:
        (folder / "token").write_text(token, "utf-8")

    def surfaced(self, folder: Path, store: str) -> Sequence[str]:
        by_address = {
            (part.resource_type, part.id): marks(part.resource).identity
            for _, written in self._written
            for part in written.parts
        }
        shown = (State.PARKED, State.REJECTED, State.UNKNOWN, State.BLOCKED)
        with self._ledger(store) as ledger:
            rows = ledger.find(Where(site=SITE, states=shown), limit=100_000)
        return [by_address.get((row.resource_type, row.resource_id), row.role) for row in rows]

    def withdrawal(self, folder: Path, store: str) -> Command:
        signed = [
            tree
            for tree in records(self._options)
            if (tree["kind"], tree.get("consent_type")) == ("consent", "privacy_sharing")
        ]
        # Of one patient, and of several revisions the last.
        *_, last = [tree for tree in signed if tree["patient"] == signed[0]["patient"]]
        change = {"state": "withdrawn", "withdrawal": {"at": _WITHDRAWN_AT, "scope": "all", "data_handling": "keep"}}
        self._withdrawn = [{**last, "revision": last["revision"] + 1, **change}]
        source = folder / "withdrawal.ndjson"
        source.write_bytes(b"".join(dump(tree) + b"\n" for tree in self._withdrawn))
        files = ["--config", str(folder / _SETTINGS), "--records", str(source), "--ledger", store]
        return ["-m", "tests.faults.withdrawing", *files]
