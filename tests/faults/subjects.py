"""Who is tested: what the runner needs to know of a worker. The reference workers are the first two."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from fhirbridge.fhir.json import Tree, dump
from tests.faults.clinic import observation, patient
from tests.faults.judge import Event, events_of
from tests.faults.processes import Command


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

    def withdrawal(self, folder: Path, store: str) -> Command:
        """The first patient withdraws: write what the clinic then records, count it among the events, and give the
        command of the process that hands it to the ledger. After :meth:`prepare`.
        """


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

    def withdrawal(self, folder: Path, store: str) -> Command:
        raise NotImplementedError("a reference worker knows no consents")
