"""Who is tested: what the runner needs to know of a worker. The reference workers are the first two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from fhirbridge.fhir.json import Tree, dump
from tests.faults.clinic import observation, patient
from tests.faults.judge import Event, events_of
from tests.faults.processes import Command
from tests.faults.revoked import Fate, Handling, Withdrawn
from tests.faults.store import Commit


class Signer(Protocol):
    """A patient of a subject, who withdraws a consent and gives it again. After :meth:`Subject.prepare`."""

    def withdraw(self, folder: Path, store: str, handling: Handling) -> Command:
        """Write what the clinic records, count it among the events; the command that hands it to the ledger."""

    def renew(self, folder: Path, store: str) -> Command:
        """The same when consent is given again."""

    def wait(self, store: str, seconds: float) -> None:
        """Wait until the withdrawal is effective, no longer than that."""

    def longest(self, folder: Path) -> float:
        """How many seconds a request of the worker may last."""

    def told(self, folder: Path, store: str, commits: Sequence[Commit], handling: Handling) -> Withdrawn:
        """What the ledger says of the withdrawal, and what names the patient, also by what is at the site."""

    def fates(self, store: str) -> Mapping[str, Fate]:
        """How the patient's resources stand in the ledger."""


class Subject(Protocol):
    """A worker with its work. It ends with 0 when nothing is left but what a person must decide; otherwise it is
    started again.
    """

    name: str
    release: str

    def patients(self) -> Sequence[Tree]:
        """The patients that the server knows."""

    def events(self) -> Sequence[Event]:
        """What is queued."""

    def prepare(self, folder: Path, base: str, store: str) -> Command:
        """Write what the worker reads, make its ledger, and give the command that starts it. Once an experiment."""

    def token(self, folder: Path, token: str) -> None:
        """Let the worker use another token from its next start on."""

    def surfaced(self, folder: Path, store: str) -> Sequence[str]:
        """The identities that the ledger shows as in doubt, parked, rejected, or waiting for a consent."""

    def signer(self) -> Signer:
        """The first patient, who signs. Raises ``NotImplementedError`` where nobody does."""


class Reference:
    """The naive loop (``post``) or the one with ids of its own (``put``). It has no ledger."""

    release = "r4"

    def __init__(self, way: str, records: int = 20) -> None:
        self.name = f"reference {way}"
        self._way, self._resources = way, [observation(number, number % 4) for number in range(records)]

    def patients(self) -> Sequence[Tree]:
        return [patient(number) for number in range(4)]

    def events(self) -> Sequence[Event]:
        return events_of(self._resources)

    def prepare(self, folder: Path, base: str, store: str) -> Command:
        resources = folder / "resources.ndjson"
        resources.write_bytes(b"\n".join(map(dump, self._resources)))
        files = {"--resources": resources, "--done": folder / "done", "--token": folder / "token"}
        given = [word for name, path in files.items() for word in (name, str(path))]
        return ["-m", "tests.faults.reference", self._way, "--site", base, *given]

    def token(self, folder: Path, token: str) -> None:
        (folder / "token").write_text(token, "utf-8")

    def surfaced(self, folder: Path, store: str) -> Sequence[str]:
        return ()

    def signer(self) -> Signer:
        raise NotImplementedError("a reference worker knows no consents")
