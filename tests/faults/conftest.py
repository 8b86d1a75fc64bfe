"""What the tests of the laboratory share: a server in this process, and a plain client for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from fhirbridge.fhir.json import Tree
from tests.faults.clinic import patient
from tests.faults.personalities import personality
from tests.faults.server import FaultServer, serving

Start = Callable[..., "Caller"]


class Caller:
    """Asks a server and gives back status, body and headers."""

    def __init__(self, server: FaultServer) -> None:
        self.server = server
        self.session = requests.Session()
        self.session.trust_env = False

    def __call__(self, method: str, path: str = "", tree: Tree | None = None, **headers: str) -> tuple[int, Any]:
        answer = self.raw(method, path, tree, **headers)
        return answer.status_code, answer.json() if answer.content else None

    def raw(self, method: str, path: str = "", tree: Tree | None = None, **headers: str) -> requests.Response:
        url = f"{self.server.base}/{path}" if path else self.server.base
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.session.request(method, url, json=tree, headers=named, timeout=30)

    def bundle(self, kind: str, *entries: Tree) -> tuple[int, Any]:
        return self("POST", "", {"resourceType": "Bundle", "type": kind, "entry": list(entries)})

    def live(self, resource_type: str = "Observation") -> int:
        store = self.server.store
        return sum(store.holds(address) for address in store.of_type(resource_type))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server by the name of its personality; it knows patient 1. ``log`` continues an earlier one."""
    with ExitStack() as stack:

        def run(
            name: str = "strict", *, log: str = "log", changes: dict[str, str] | None = None, **options: Any
        ) -> Caller:
            server = FaultServer(tmp_path / log, personality(name, changes), **options)
            if not server.store.head:
                server.commit_as_hospital("PUT", patient(1))
            caller = Caller(stack.enter_context(serving(server)))
            stack.callback(caller.session.close)
            return caller

        yield run
