"""The first patient of a synthetic clinic, who takes a consent back and gives it again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fhirbridge import config
from fhirbridge.fhir.json import Tree, dump
from fhirbridge.ledger import Action, Known
from fhirbridge.records import Ref, parse
from fhirbridge.sync.identity import lane_of
from fhirbridge.sync.watch import longest_send
from tests.faults.disclosure import Person
from tests.faults.identity import identifiers_of, marks
from tests.faults.processes import Command
from tests.faults.revoked import Fate, Handling, Withdrawn
from tests.faults.store import Commit
from tests.faults.work import SITE

if TYPE_CHECKING:
    from tests.faults.synthetic import Clinic

_SHARING = ("consent", "privacy_sharing")
# Seconds between two looks whether a change is effective.
_LOOK = 0.02


class Signer:
    """Of several consents to sharing the patient takes back the last, in its last revision."""

    def __init__(self, clinic: Clinic) -> None:
        self._clinic = clinic
        signed = [tree for tree in clinic.trees() if (tree["kind"], tree.get("consent_type")) == _SHARING]
        self._patient: Tree = signed[0]["patient"]
        *_, self._signed = [tree for tree in signed if tree["patient"] == self._patient]
        self._key = lane_of(parse(Ref, self._patient), clinic.bound.binding.clinic.id_key)
        self._taken_back = False

    def withdraw(self, folder: Path, store: str, handling: Handling) -> Command:
        self._taken_back = handling != "keep"
        said = {"at": _now(), "scope": "all", "data_handling": handling}
        change = {"revision": self._signed["revision"] + 1, "state": "withdrawn", "withdrawal": said}
        return self._recorded(folder, store, "withdrawal", {**self._signed, **change})

    def renew(self, folder: Path, store: str) -> Command:
        own = {"system": f"{_system(self._patient)}/consent", "value": self._signed["id"]}
        change = {
            "id": f"again-{self._signed['id']}",
            "revision": 1,
            "signed_at": _now(),
            "recorded_at": _now(),
            "period": {"start": _now()},
            "supersedes": {"type": "Consent", "identifier": own},
        }
        # What was taken back is brought again by whoever pushes it again; the rest waits in the ledger.
        again = self._clinic.trees() if self._taken_back else ()
        command = self._recorded(folder, store, "renewal", {**self._signed, **change}, again)
        return [*command, "--replay", "consent."]

    def _recorded(self, folder: Path, store: str, name: str, record: Tree, again: Iterable[Tree] = ()) -> Command:
        self._clinic.later.append(record)
        source = folder / f"{name}.ndjson"
        source.write_bytes(b"".join(dump(tree) + b"\n" for tree in (record, *again)))
        files = ["--config", str(self._clinic.settings(folder)), "--records", str(source), "--ledger", store]
        return ["-m", "tests.faults.withdrawing", *files]

    def wait(self, store: str, seconds: float) -> None:
        last, nobody = time.monotonic() + seconds, threading.Event()
        with self._clinic.ledger(store) as ledger:
            while time.monotonic() < last:
                found = ledger.patient(self._key)
                if found is not None and found.effective == found.version:
                    return
                nobody.wait(_LOOK)

    def longest(self, folder: Path) -> float:
        return longest_send(config.load(self._clinic.settings(folder), {}, folder).site(SITE))

    def told(self, folder: Path, store: str, commits: Sequence[Commit], handling: Handling) -> Withdrawn:
        with self._clinic.ledger(store) as ledger:
            row, known = ledger.patient(self._key), ledger.of_patient(SITE, self._key)
        assert row is not None
        assert row.requested_at is not None
        (notice,) = (part for key, written in self._clinic.written[-1:] for part in written.parts)
        said = marks(notice.resource)
        return Withdrawn(
            patient=said.patient,
            person=self._person(said.patient, commits),
            handling=handling,
            notice=(said.identity, said.revision),
            requested_at=row.requested_at,
            effective_at=row.effective_at if row.effective == row.version else None,
            longest=self.longest(folder),
            fates=self._fates(known),
        )

    def fates(self, store: str) -> Mapping[str, Fate]:
        with self._clinic.ledger(store) as ledger:
            return self._fates(ledger.of_patient(SITE, self._key))

    def _fates(self, known: Iterable[Known]) -> dict[str, Fate]:
        """By identity; of several generations the newest."""
        identities = self._clinic.identities()
        fates: dict[str, Fate] = {}
        for row in sorted(known, key=lambda one: one.generation):
            identity = identities[row.kind, row.record, row.role]
            before = identity in fates and fates[identity].retracts
            fates[identity] = Fate(row.state, row.reason, before or row.action is Action.RETRACT)
        return fates

    def _person(self, patient: str, commits: Sequence[Commit]) -> Person:
        """Ids and identifiers of the patient's resources, as the clinic gave them and as the site did."""
        names: dict[str, set[str]] = {}
        for _, written in self._clinic.written:
            for part in written.parts:
                said = marks(part.resource)
                if said.patient == patient:
                    own = [str(one.get("value", "")) for one in identifiers_of(part.resource)]
                    for name in (part.id, said.identity.split("|")[1], *own):
                        names.setdefault(name, set()).add(said.identity)
        for one in commits:
            if one.patient == patient:
                names.setdefault("/".join(one.address), set()).add(one.identity)
        value = self._patient["identifier"]["value"]
        charts = [one["id"] for one in self._clinic.patients() if one["identifier"][0]["value"] == value]
        return Person([value, *charts], names)


def _system(patient: Tree) -> str:
    return str(patient["identifier"]["system"]).rpartition("/")[0]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
