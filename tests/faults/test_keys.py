"""A server that takes no ids of ours and remembers a key: a record is corrected while it is in doubt.

The first revision was committed and its answer lost. Whatever comes next, the server holds one resource.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fhirbridge.fhir.json import Tree
from fhirbridge.ledger import Item, Ledger
from fhirbridge.ledger.states import Action
from fhirbridge.sync.worker import Worker
from tests.faults.clinic import observation, patient
from tests.faults.judge import events_of, judge
from tests.faults.ordering import SITE, item, site
from tests.faults.personalities import personality
from tests.faults.points import LabClock
from tests.faults.server import FaultServer
from tests.vault.vaults import vault_of

PATIENCE = 10 * 86_400.0
KEY = {"idempotency_key": "x-amz-fhir-idempotency-key"}


class Hospital:
    """The server, the ledger, and a worker whose waits take no time."""

    def __init__(self, folder: Path) -> None:
        self.server = FaultServer(folder / "commits.ndjson", personality("healthlake"))
        self.server.commit_as_hospital("PUT", patient(1))
        self.clock = LabClock("skip")
        vault = vault_of(site(self.server).mappings.binding.clinic.id_key)
        self.ledger = Ledger.open(f"sqlite:///{folder}/ledger.db", vault=vault, clock=self.clock.time)

    def queue(self, *items: Item) -> None:
        self.ledger.enqueue(items, site=SITE, run="r")

    def deliver(self, patience: float = PATIENCE) -> None:
        one = site(self.server, can=KEY)
        Worker(one, self.ledger, clock=self.clock.time, sleep=self.clock.sleep).run(lambda: True, patience)

    def break_off(self, times: int = 1) -> None:
        """Cut the answers to writes from now on."""
        self.server.script.add([{"do": "cut-after", "kind": "write", "times": times}])


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    one = Hospital(tmp_path)
    yield one
    one.ledger.close()
    one.server.store.close()


def sign(revision: int) -> Tree:
    resource = observation(7, 1, revision)
    resource["subject"] = {"identifier": resource["subject"]["identifier"]}
    return resource


def taken_back() -> Item:
    told = item(7, sign(2))
    return Item(
        told.kind, told.record, told.role, 2, told.resource_type, told.resource_id, told.lane, "", "1.0",
        item(7, sign(1)).body, Action.RETRACT,
    )  # fmt: skip


@pytest.mark.parametrize("patience", [0.0, 1.0], ids=["while it is in doubt", "after a first look"])
def test_a_correction_of_what_is_in_doubt_becomes_an_update(patience: float, hospital: Hospital) -> None:
    hospital.break_off(2)
    hospital.queue(item(7, sign(1)))
    hospital.deliver(patience)
    hospital.queue(item(7, sign(2)))
    hospital.deliver()
    report = judge(events_of([sign(1), sign(2)]), hospital.server.store.commits)
    assert report.clean, report


def test_a_retraction_of_what_is_in_doubt_reaches_it(hospital: Hospital) -> None:
    hospital.break_off()
    hospital.queue(item(7, sign(1)))
    hospital.deliver(0.0)
    hospital.queue(taken_back())
    hospital.deliver()
    alive = [one for one in hospital.server.store.of_type("Observation") if hospital.server.store.holds(one)]
    states = [hospital.server.store.current(one) for one in alive]
    assert all(one is not None and one.retracts for one in states), states
