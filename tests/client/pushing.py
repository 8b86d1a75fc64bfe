"""Records, sites, ledgers and clocks for tests that deliver to the small server."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fhirbridge.config import DEMO_ID_KEY, Config, parse
from fhirbridge.ledger import Ledger
from fhirbridge.mapping import Kind
from fhirbridge.site import Site
from fhirbridge.sources import Line
from fhirbridge.sources.lines import read_record
from fhirbridge.sync import How, RecordOutcome, push
from mappings import adverse_event, session, vitals
from tests.client.server import FakeServer
from tests.vault.vaults import vault_of

Tree = dict[str, Any]
KINDS = {one.name: one for one in (session.KIND, vitals.KIND)}
EVERY = KINDS | {adverse_event.KIND.name: adverse_event.KIND}
MODELS = {name: kind.record for name, kind in EVERY.items()}
SID = "https://clinic.example/sid"


def patient(value: str) -> Tree:
    return {"type": "Patient", "identifier": {"system": f"{SID}/patient", "value": value}}


def rate(own: str, who: str = "P-1", revision: int = 1, value: float = 72, **more: Any) -> Tree:
    return {
        "kind": "vital_sign", "id": own, "revision": revision, "patient": patient(who), "sign": "heart_rate",
        "status": "final", "measured_at": "2026-11-20T10:00:00-05:00",
        "readings": [{"name": "value", "value": value, "unit": "/min"}], **more,
    }  # fmt: skip


def visit(own: str, who: str = "P-1", revision: int = 1, **more: Any) -> Tree:
    dose = {"value": 35, "unit": "mg"}
    given_ = {
        "identifier": {"system": f"{SID}/administration", "value": f"{own}-1"},
        "medication": "ketamine", "route": "intravenous", "dose": dose,
        "period": {"start": "2026-11-20T10:00:00-05:00", "end": "2026-11-20T10:40:00-05:00"},
    }  # fmt: skip
    return {
        "kind": "session", "id": own, "revision": revision, "patient": patient(who), "modality": "iv_infusion",
        "status": "completed", "started_at": "2026-11-20T10:00:00-05:00", "administrations": [given_], **more,
    }  # fmt: skip


def lines(*trees: Tree) -> list[Line]:
    read = (read_record(json.loads(json.dumps(tree)), MODELS) for tree in trees)
    return [Line("f", number, *one, raw="raw") for number, one in enumerate(read, start=1)]


# These tests are about delivery: nothing has to be permitted first.
STORE = {"act": "store"}
# They have no folder of their own to keep a trail in; what it holds is proven in tests/audit.
NO_TRAIL = {"enabled": False}


def site_of(server: FakeServer, kinds: dict[str, Kind] = KINDS, **settings_: Any) -> Site:
    table = {"base_url": server.base, "timeout": 5, "consent": STORE, **settings_}
    config = Config(parse({"audit": NO_TRAIL, "clinic": {"demo": True}, "site": {"s": table}}), Path(), {})
    return Site.open("s", config, kinds=kinds)


def register(server: FakeServer, *who: str) -> None:
    for number, value in enumerate(who):
        server.put({"resourceType": "Patient", "id": f"p{number}", "identifier": [patient(value)["identifier"]]})


class Clock:
    """A clock that moves only when somebody waits."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def ledger_of(server: FakeServer, clock: Clock) -> Ledger:
    """The ledger that goes with a server: the same for every push, or a new one each time."""
    folder = LEDGERS[id(server)]
    assert folder is not None
    name = "kept" if folder.name != "lost" else f"ledger-{len(list(folder.iterdir()))}"
    return Ledger.open(f"sqlite:///{folder}/{name}.db", vault=vault_of(DEMO_ID_KEY), clock=clock)


LEDGERS: dict[int, Path] = {}
CLOCK = Clock()


def how(**more: Any) -> How:
    return How(clock=CLOCK, sleep=CLOCK.sleep, chance=random.Random(1), **more)  # noqa: S311


def delivered(server: FakeServer, *trees: Tree, **settings_: Any) -> list[RecordOutcome]:
    with site_of(server, **settings_) as site, ledger_of(server, CLOCK) as ledger:
        return list(push(lines(*trees), site, ledger, how()))


def states(outcomes: Sequence[RecordOutcome]) -> list[tuple[int, str]]:
    return sorted((one.line.line, one.state) for one in outcomes)


def entries(server: FakeServer) -> list[list[Tree]]:
    return [[entry["resource"] for entry in bundle["entry"]] for bundle in server.writes]
