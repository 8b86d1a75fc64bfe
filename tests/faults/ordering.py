"""Order under many workers: no older revision after a newer one, no later event of a patient before an earlier one.

    python -m tests.faults.ordering --workers 32 --patients 1000 --events 100000
    python -m tests.faults.ordering --workers 8 --patients 200 --events 10000

Every worker has a ledger of its own on one PostgreSQL, and asks a strict server of the laboratory that is called, not
connected to. Records are queued while others are delivered: a fifth of the events are new revisions of one of the
patient's last ten records, so that some meet their elder in the queue, some in flight, some at the site. The server's
commit log is the judge. All workers are threads of this process: what keeps them apart is the database.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from fhirbridge import config
from fhirbridge.binding import Binding, Release
from fhirbridge.client.rest import Client
from fhirbridge.client.transport import FHIR_JSON, Answer, Transport
from fhirbridge.errors import SiteUnreachable
from fhirbridge.fhir.json import Tree, dump, parse
from fhirbridge.ledger import Enqueued, Item, Ledger, State
from fhirbridge.ledger.words import Decision
from fhirbridge.mapping import Mappings
from fhirbridge.site import Site, clinic
from fhirbridge.sync.worker import Settings, Worker
from tests.faults.bench import charts
from tests.faults.clinic import observation, patient
from tests.faults.identity import content_hash
from tests.faults.judge import Event, Report, events_of, judge
from tests.faults.server import FaultServer, Request
from tests.faults.store import Commit
from tests.faults.stores import postgres
from tests.vault.vaults import vault_of

SITE = "hospital"
_BASE = "http://127.0.0.1/fhir"
# Records that are queued in one transaction, entries of a bundle.
_BATCH, _ENTRIES = 500, 25
# Each nth event is a new revision of one of so many records before it.
_REVISED, _RECENT = 5, 10
# Events of a patient that are queued and not sent, before more are queued.
_AHEAD = 5


class Called(Transport):
    """A connection to a server in this process."""

    def __init__(self, server: FaultServer) -> None:
        super().__init__(_BASE)
        self._server = server

    def exchange(
        self,
        method: str,
        address: str,
        *,
        body: bytes | None = None,
        content_type: str = FHIR_JSON,
        headers: Mapping[str, str] | None = None,
        not_after: float | None = None,
    ) -> Answer:
        """Ask the server and hand over what it says, as bytes that are read again."""
        told = {name.lower(): value for name, value in (headers or {}).items()}
        path = address.removeprefix(_BASE).lstrip("/")
        reply = self._server.answer(Request(method, path, told, body or b""))
        if reply.ending != "whole":
            raise SiteUnreachable("the connection broke off", sent=True)
        tree = None if reply.body is None else parse(reply.body if isinstance(reply.body, bytes) else dump(reply.body))
        return Answer(reply.status, {name.lower(): value for name, value in reply.headers.items()}, tree)


@dataclass(frozen=True, slots=True)
class Found:
    """What a run came to. ``overtaken`` were replaced by a newer revision before they went; ``disordered`` are the
    resources that came to the site before an earlier one of the same patient; ``seconds`` from the first to the last.
    """

    report: Report
    updates: int
    overtaken: int
    disordered: tuple[str, ...]
    seconds: float

    @property
    def is_good(self) -> bool:
        """Everything there, once, in order."""
        return self.report.clean and not self.disordered

    def __str__(self) -> str:
        inverted = len(self.report.inversions) + len(self.disordered)
        return (
            f"{self.report.events} events, {self.updates} updates at the site, {self.overtaken} overtaken in the "
            f"queue: inversions {inverted}, lost {len(self.report.lost)}, extra {len(self.report.extra)}; "
            f"{self.seconds:.0f} s"
        )


def work(patients: int, events: int, seed: int) -> Iterator[tuple[int, Tree]]:
    """What is queued, in order: when it happened, and the resource. A revision happened when the first one did."""
    dice = random.Random(seed)  # noqa: S311 - repeatable on purpose
    recent: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for number in range(events):
        own, before = number % patients, recent[number % patients]
        if before and dice.randrange(_REVISED) == 0:
            place = dice.randrange(len(before))
            first, older = before[place]
            revision = older + 1
            before[place] = first, revision
        else:
            first, revision = number, 1
            before[:] = [*before[1 - _RECENT :], (first, revision)]
        resource = observation(first, own, revision)
        # The mapping writes no addresses: they are found when a record goes.
        resource["subject"] = {"identifier": resource["subject"]["identifier"]}
        yield first, resource


def item(happened: int, resource: Tree) -> Item:
    """A resource for the ledger."""
    key, revision = (tag["code"] for tag in resource["meta"]["tag"])
    return Item(
        kind="vital_sign",
        record=key,
        role="primary",
        revision=int(revision),
        resource_type=resource["resourceType"],
        resource_id=resource["id"],
        lane=resource["subject"]["identifier"]["value"],
        content=content_hash(resource),
        mapping="1.0",
        body=dump(resource),
        event=float(happened),
    )


def site(server: FaultServer, **settings: Tree) -> Site:
    """The site, as a worker of its own would open it; ``settings`` beside its address."""
    own = {"base_url": _BASE, "release": "r4", "bundle_entries": _ENTRIES, "consent": {"act": "store"}, **settings}
    tree = {"clinic": {"demo": True}, "site": {SITE: own}}
    held = config.Config(config.parse(tree), Path(), {})
    return Site(SITE, held.site(SITE), Mappings(Binding(clinic(held), Release("r4"))), Client(Called(server)))


def run(url: str, folder: Path, workers: int, patients: int, events: int, seed: int = 1) -> Found:
    """Queue and deliver at the same time, and judge."""
    server = FaultServer(folder / "commits.ndjson")
    server.base = _BASE
    people = [patient(number) for number in range(patients)]
    for one in people:
        server.commit_as_hospital("PUT", one)
    vault = vault_of(site(server).mappings.binding.clinic.id_key)
    Ledger.open(url, vault=vault).close()
    fed = threading.Event()
    queued: list[Event] = []
    order: dict[str, int] = {}
    answers: list[Enqueued] = []
    backlog = _AHEAD * patients

    def feed() -> None:
        try:
            with Ledger.open(url, vault=vault) as ledger:
                source = work(patients, events, seed)
                while some := list(islice(source, _BATCH)):
                    told = events_of(resource for _, resource in some)
                    queued.extend(told)
                    order.update({event.identity: when for event, (when, _) in zip(told, some, strict=True)})
                    while _waiting(ledger) > backlog:
                        time.sleep(0.05)
                    answers.extend(ledger.enqueue([item(*one) for one in some], site=SITE, run="ordering"))
        finally:
            fed.set()

    def deliver() -> None:
        with Ledger.open(url, vault=vault) as ledger:
            worker = Worker(site(server), ledger, settings=Settings(threads=1))
            while not fed.is_set() or ledger.next_due(SITE) is not None:
                worker.run(lambda: True, 60.0)
                fed.wait(0.05)

    started = time.monotonic()
    with ThreadPoolExecutor(workers + 1) as pool:
        for each in [pool.submit(feed), *(pool.submit(deliver) for _ in range(workers))]:
            each.result()
    seconds = time.monotonic() - started
    commits = server.store.commits
    report = judge(queued, commits, charts=charts(people))
    updates = sum(one.action == "update" for one in commits)
    overtaken = len(queued) - (len(commits) - patients - report.rewrites)
    assert {one.decision for one in answers} <= {Decision.QUEUED, Decision.SUPERSEDED}
    server.store.close()
    return Found(report, updates, overtaken, tuple(disordered(commits, order)), seconds)


def _waiting(ledger: Ledger) -> int:
    return sum(count for (_, _, state), count in ledger.standing(SITE).counts.items() if state is State.QUEUED)


def disordered(commits: Sequence[Commit], order: Mapping[str, int]) -> Iterator[str]:
    """The resources that were made after one of the same patient that happened later; ``order`` says when each did."""
    latest: dict[str, int] = {}
    for one in commits:
        if one.by == "client" and one.action == "create" and one.identity in order:
            happened = order[one.identity]
            if happened < latest.get(one.patient, -1):
                yield one.identity
            latest[one.patient] = max(happened, latest.get(one.patient, -1))


def main() -> int:
    """Run, and print what came of it; 0 if everything is there and in order."""
    parser = argparse.ArgumentParser(description="order under many workers on PostgreSQL")
    parser.add_argument("--workers", type=int, default=32)
    parser.add_argument("--patients", type=int, default=1_000)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, postgres(Path(folder) / "postgres") as new:
        found = run(new(), Path(folder), given.workers, given.patients, given.events, given.seed)
    sys.stdout.write(f"{given.workers} workers, {given.patients} patients: {found}\n")
    return 0 if found.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
