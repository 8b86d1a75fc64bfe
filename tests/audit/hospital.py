"""A hospital that looks into the clinic's audit trail at the moment at which each request arrives."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fhirbridge.audit import audit_folder, audit_keys
from fhirbridge.audit.events import events
from fhirbridge.audit.line import read
from fhirbridge.audit.verify import Verified, verify
from fhirbridge.config import Config, parse
from fhirbridge.fhir.json import Tree
from fhirbridge.ledger import Ledger
from fhirbridge.site import Site
from fhirbridge.sync import How, push
from fhirbridge.sync.opening import open_ledger
from mappings import adverse_event, consent, session, vitals
from tests.client.pushing import Clock
from tests.client.server import FakeServer, Request
from tests.sync.consenting import lines

KINDS = {one.name: one for one in (session.KIND, vitals.KIND, adverse_event.KIND, consent.KIND)}


class Hospital:
    """The clinic's side of one site, with its trail. ``act`` is what is done there, as consents see it."""

    def __init__(self, server: FakeServer, folder: Path, *, act: str = "store", **more: Any) -> None:
        self.server, self.clock = server, Clock()
        table = {"base_url": server.base, "timeout": 5, "consent": {"act": act}, **more}
        self.config = Config(parse({"clinic": {"demo": True}, "site": {"s": table}}), folder, {})
        self.folder, self.keys = audit_folder(self.config), audit_keys(self.config)
        self.site = Site.open("s", self.config, kinds=KINDS)
        self.ledger: Ledger = open_ledger(self.config, self.clock)

    def __enter__(self) -> Hospital:
        return self

    def __exit__(self, *error: object) -> None:
        self.site.__exit__(None, None, None)
        self.ledger.close()

    def push(self, *trees: Tree, **how: Any) -> list[str]:
        """The state of each record, in the order in which it was told."""
        options = {"clock": self.clock, "sleep": self.clock.sleep, "chance": random.Random(1), **how}  # noqa: S311
        return [one.state for one in push(lines(*trees), self.site, self.ledger, How(**options))]

    def events(self) -> list[Tree]:
        """What the trail holds."""
        return list(events(self.folder, self.keys))

    def verified(self) -> Verified:
        """Whether it is what was written."""
        return verify(self.folder, self.keys)

    def announced(self) -> dict[str, tuple[str, int]]:
        """The file in which each event is announced, and the place at which its line ends."""
        found = {}
        for path in sorted(self.folder.glob("*.ndjson")):
            end = 0
            for raw in path.read_bytes().splitlines(keepends=True):
                end += len(raw)
                line = read(raw.rstrip(b"\n"), self.keys)
                if line is not None and line.says == "event":
                    found[str(line.tree["id"])] = str(path), end
        return found


@contextmanager
def watched(hospital: Hospital, patch: Callable[[object, str, object], None]) -> Iterator[list[str]]:
    """What is wrong with the trail when requests arrive: not announced, or announced and not on disk yet.

    ``patch`` sets an attribute for the test, as ``monkeypatch.setattr`` does.
    """
    wrong: list[str] = []
    synced: dict[int, int] = {}
    behave = hospital.server.misbehave

    def sync(descriptor: int) -> None:
        found = os.fstat(descriptor)
        synced[found.st_ino] = found.st_size

    def look(request: Request) -> Any:
        own = request.headers.get("x-request-id", "")
        place = hospital.announced().get(own)
        if place is None:
            wrong.append(f"{request.method} {request.path}: not announced")
        elif request.method != "GET" and b'"GET"' not in request.body:
            path, end = place
            if synced.get(Path(path).stat().st_ino, 0) < end:
                wrong.append(f"{request.method} {request.path}: announced, but not on disk")
        return behave(request)

    patch(os, "fsync", sync)
    hospital.server.misbehave = look
    yield wrong
    hospital.server.misbehave = behave
