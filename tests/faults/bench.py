"""The bench: a server in its own process, the proxy before it, and workers that are started on it."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fhirbridge.fhir.json import Tree
from tests.faults.lab import Lab
from tests.faults.processes import Command, Process
from tests.faults.proxy import Proxy, between
from tests.faults.store import Commit, read_log


@dataclass
class Bench:
    """One experiment's set-up. ``base`` is the address to deliver to: the proxy's."""

    folder: Path
    options: tuple[str, ...]
    base: str = ""
    server: Process = field(init=False)
    proxy: Proxy = field(init=False)
    lab: Lab = field(init=False)

    @property
    def log(self) -> Path:
        return self.folder / "commits.ndjson"

    def commits(self) -> list[Commit]:
        """What the server has committed. Ask when it is idle or dead."""
        return read_log(self.log)[0]

    def start_server(self, port: int = 0) -> str:
        """Start the server on its log; its own address."""
        command = ["-m", "tests.faults.server", "--log", str(self.log), "--port", str(port), *self.options]
        self.server = Process(command, self.folder / "server.errors")
        address = self.server.line()
        assert address, (self.folder / "server.errors").read_text("utf-8")
        return address

    def restart_server(self) -> None:
        """Kill the server and start it again on the same port and log."""
        self.server.kill()
        self.start_server(self.proxy.upstream[1])

    def stop_server(self) -> None:
        """End the server in good order: what it holds back is written."""
        self.server.signal(signal.SIGTERM)
        self.server.wait()

    def worker(self, command: Command, **environment: str) -> Process:
        """Start a worker."""
        return Process(command, self.folder / "worker.errors", **environment)


@contextmanager
def bench(folder: Path, personality: str = "strict", *options: str, patients: Sequence[Tree] = ()) -> Iterator[Bench]:
    """A server with a personality (and ``options`` of its command line) that knows ``patients``, behind a proxy."""
    one = Bench(folder, ("--personality", personality, *options))
    own = one.start_server()
    with between(own) as (one.proxy, one.base):
        one.lab = Lab(own)
        try:
            for patient in patients:
                one.lab.commit("PUT", patient)
            yield one
        finally:
            one.lab.close()
            one.server.kill()


def charts(patients: Sequence[Tree]) -> Mapping[str, str]:
    """Which address each patient's identifier has, for the judge."""
    found = {}
    for patient in patients:
        for one in patient.get("identifier", ()):
            found[f"{one.get('system', '')}|{one['value']}"] = f"Patient/{patient['id']}"
    return found
