"""The real worker, with its named points and its clock in the laboratory's hands.

``python -m tests.faults.work --config FILE --records FILE --ledger URL``, with a lease of ``LAB_LEASE`` seconds (60);
``LAB_LEDGER=forgetful`` takes the ledger's in-flight step away, to show that the laboratory notices; others are in
:mod:`tests.faults.broken`.

It queues a window of records, delivers them, and so on, from where the last one was; it ends with 0 when nothing is
left that could be done, with 75 where it is to be started again. Two points lie inside a transaction of the ledger and
one inside the authorization; they are hung in here.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from sqlalchemy import Connection, Engine, event

from fhirbridge import config
from fhirbridge.client.auth import Bearer
from fhirbridge.client.rest import Client
from fhirbridge.client.transport import Transport
from fhirbridge.errors import FhirbridgeError
from fhirbridge.fhir.json import parse_object
from fhirbridge.ledger import OPEN, Ended, Ledger, Outgoing, Result
from fhirbridge.ledger.store import Store
from fhirbridge.site import Site
from fhirbridge.sources.lines import Line, read_record
from fhirbridge.sync.enqueue import Intake
from fhirbridge.sync.evidence import evidence_of
from fhirbridge.sync.plan import planned
from fhirbridge.sync.worker import Settings, Worker
from fhirbridge.vault import Vault
from tests.faults.broken import Blind, Hasty, Idle
from tests.faults.points import TO_WRITE, from_environment
from tests.vault.vaults import vault_of

SITE = "hospital"
# Longer than any server asks for; the laboratory's clocks do not wait.
PATIENCE = 10 * 86_400.0
# Records that are queued at once: few, so that corrections meet what they correct at the site and not in the queue.
# And the ledger's mark for how far the file was read.
WINDOW = 25
_SOURCE = "laboratory"
# The ledger's own points, and the commit that they announce.
_AT_COMMIT = {"before-enqueue-commit": "before-enqueue-commit", "before-ack": "during-ack"}


class Hooks:
    """Passes points on, and makes those that the worker cannot name: inside a commit, and after the token."""

    def __init__(self, at: Callable[[str], None]) -> None:
        self._at = at
        self._here = threading.local()
        event.listen(Engine, "commit", self._commit)

    def __call__(self, point: str) -> None:
        if point in _AT_COMMIT:
            self._here.coming = _AT_COMMIT[point]
        if point == "after-begin":
            self._here.writes = True
        if _AT_COMMIT.get(point) != point:
            self._at(point)
        if point == "after-token" and getattr(self._here, "writes", False):
            self._here.writes = False
            self._at(TO_WRITE)

    def _commit(self, connection: Connection) -> None:
        coming = getattr(self._here, "coming", None)
        reads = any("read" in str(name) and value for name, value in connection.get_execution_options().items())
        if coming is not None and not reads:
            self._here.coming = None
            self._at(coming)


class Watched(Bearer):
    """A token with a point behind it."""

    def __init__(self, token: str, at: Callable[[str], None]) -> None:
        super().__init__(token)
        self._at = at

    def headers(self) -> Mapping[str, str]:
        """The header, and the point."""
        found = super().headers()
        self._at("after-token")
        return found


class Forgetful(Ledger):
    """A ledger that writes down what has left only when the answer is there: who dies in between leaves no trace."""

    def __init__(self, store: Store, vault: Vault, clock: Callable[[], float]) -> None:
        super().__init__(store, vault, clock)
        self._left: dict[str, Outgoing] = {}

    def begin(self, bundles: Iterable[Outgoing]) -> float:
        """Keep it in mind, and let it leave."""
        self._left |= {one.id: one for one in bundles}
        return math.inf

    def settle(self, results: Iterable[Result], *, ended: Iterable[Ended] = ()) -> None:
        """Write down both at once, as far as another process can tell."""
        over = list(ended)
        super().begin([self._left.pop(one.bundle) for one in over])
        super().settle(results, ended=over)


LEDGERS: Mapping[str, type[Ledger]] = {
    "": Ledger,
    "forgetful": Forgetful,
    "blind": Blind,
    "hasty": Hasty,
    "idle": Idle,
}


def opened(path: Path, at: Callable[[str], None]) -> Site:
    """The site of a configuration, with a watched token."""
    settings = config.load(path, {}, path.parent)
    plain = Site.open(SITE, settings)
    auth = plain.settings.auth
    assert isinstance(auth, config.BearerAuth)
    token = settings.secret(auth.token).decode()
    transport = Transport(plain.settings.base_url, authorization=Watched(token, at), timeout=plain.settings.timeout)
    plain.client.close()
    return Site(SITE, plain.settings, plain.mappings, Client(transport))


def take(intake: Intake, texts: Iterable[bytes], site: Site, marks: Mapping[str, str]) -> None:
    """Queue records as they stand in a file, with the consents among them. Raises :class:`LedgerError`."""
    models = {name: kind.record for name, kind in site.mappings.kinds.items()}
    lines = [Line("records", number, *read_record(parse_object(text), models)) for number, text in enumerate(texts, 1)]
    mapped = [planned(line, line.record, site.mappings) for line in lines if line.record is not None]
    intake.take(mapped, evidence=evidence_of(lines, site.mappings.binding.clinic.id_key), marks=marks)


def deliver(path: Path, source: Path, url: str) -> bool:
    """Queue and deliver; whether nothing is left to do. Raises :class:`FhirbridgeError`."""
    at, clock = from_environment()
    hooks = Hooks(at)
    with opened(path, hooks) as site:
        binding = site.mappings.binding
        vault = vault_of(binding.clinic.id_key)
        kind = LEDGERS[os.environ.get("LAB_LEDGER", "")]
        with kind.open(url, vault=vault, clock=clock.time, patience=2.0) as ledger:
            intake = Intake(ledger, SITE, binding, "laboratory", hooks)
            settings = Settings(lease=float(os.environ.get("LAB_LEASE", "60")))
            worker = Worker(site, ledger, settings=settings, clock=clock.time, sleep=clock.sleep, at=hooks)
            texts = source.read_bytes().splitlines()
            place = int(ledger.mark(_SOURCE) or 0)
            while True:
                some = texts[place : place + WINDOW]
                place += len(some)
                if some:
                    take(intake, some, site, {_SOURCE: str(place)})
                worker.run(lambda: True, PATIENCE)
                if worker.stopped or place == len(texts):
                    break
            return not any(state in OPEN for (_, _, state), count in ledger.standing(SITE).counts.items() if count)


def main() -> None:
    """Deliver; an error of the project's tree is printed by its code, and the work is to be started again."""
    parser = argparse.ArgumentParser(description="the worker in the laboratory")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--records", type=Path, required=True)
    parser.add_argument("--ledger", required=True)
    given = parser.parse_args()
    try:
        done = deliver(given.config, given.records, given.ledger)
    except FhirbridgeError as error:
        sys.stderr.write(f"{error}\n")
        done = False
    sys.exit(0 if done else os.EX_TEMPFAIL)


if __name__ == "__main__":
    main()
