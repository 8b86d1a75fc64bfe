"""Processes that push are killed at any moment: no trail is taken for tampered with, and nothing leaves unannounced.

    python -m tests.audit.kills --kills 200

Several push into one trail at the same time. The server notes the ``X-Request-Id`` of each request that it sees; after
each kill every one of them must be announced in the trail, and the trail must have no fault.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import NamedTuple

from fhirbridge.audit import audit_folder, audit_keys
from fhirbridge.audit.line import read
from fhirbridge.audit.verify import verify
from fhirbridge.config import Config, parse
from fhirbridge.site import Site
from fhirbridge.sync import How, push
from fhirbridge.sync.opening import open_ledger
from tests.audit.hospital import KINDS
from tests.client.pushing import rate, register
from tests.client.server import FakeServer, Reply, Request, serving
from tests.sync.consenting import lines

_WORKERS = 2
_PATIENTS = 8


class Result(NamedTuple):
    """What a run came to."""

    kills: int
    requests: int
    unannounced: int
    faults: int
    torn: int
    files: int


def serve(folder: Path) -> int:
    """A hospital in a process of its own, which writes its address and every request's id to files; its process."""
    child = os.fork()
    if child:
        return child
    seen = os.open(folder / "seen", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(request: Request) -> Reply | None:
        os.write(seen, f"{request.headers.get('x-request-id', 'none')}\n".encode())
        return None

    with serving(FakeServer()) as server:
        register(server, *(f"P-{number}" for number in range(_PATIENTS)))
        server.misbehave = note
        (folder / "base.part").write_text(server.base)
        (folder / "base.part").rename(folder / "base")
        signal.pause()
    os._exit(0)


def config_of(folder: Path, worker: int | str) -> Config:
    """Each worker has a ledger of its own; the trail is one."""
    site = {"base_url": (folder / "base").read_text(), "timeout": 5, "consent": {"act": "store"}}
    tree = {
        "clinic": {"demo": True},
        "ledger": {"url": f"sqlite:///{folder}/ledger-{worker}.db"},
        "audit": {"checkpoint": "../checkpoints", "checkpoint_every": 20, "path": "trail"},
        "site": {"s": site},
    }
    inside = folder / "clinic"
    inside.mkdir(exist_ok=True)
    return Config(parse(tree), inside, {})


def work(folder: Path, worker: int, seed: int) -> int:
    """A process that pushes until it is killed; its number."""
    child = os.fork()
    if child:
        return child
    try:
        # To make a ledger takes longer than most of them live.
        shutil.copy(folder / "ledger-empty.db", folder / f"ledger-{worker}.db")
        rng, config = random.Random(seed), config_of(folder, worker)  # noqa: S311
        while True:
            with Site.open("s", config, kinds=KINDS) as site, open_ledger(config) as ledger:
                for _ in range(rng.randrange(1, 20)):
                    trees = [rate(f"v{rng.getrandbits(48)}", f"P-{number}") for number in range(_PATIENTS)]
                    for _ in push(lines(*trees), site, ledger, How(patience=0)):
                        pass
    except BaseException:  # noqa: BLE001 - a child has nobody else to tell
        traceback.print_exc()
    finally:
        os._exit(1)


def run(kills: int, seed: int) -> Result:
    """Kill so many processes, and look after each."""
    rng = random.Random(seed)  # noqa: S311
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = serve(folder)
        try:
            while not (folder / "base").exists():
                time.sleep(0.01)
            open_ledger(config_of(folder, "empty")).close()
            workers = [work(folder, number, rng.getrandbits(32)) for number in range(_WORKERS)]
            unannounced = faults = torn = 0
            for count in range(kills):
                time.sleep(rng.expovariate(4))
                victim = rng.randrange(_WORKERS)
                os.kill(workers[victim], signal.SIGKILL)
                os.waitpid(workers[victim], 0)
                lost, wrong, broken = look(folder)
                unannounced, faults, torn = max(unannounced, lost), max(faults, wrong), broken
                workers[victim] = work(folder, _WORKERS + count, rng.getrandbits(32))
            for one in workers:
                os.kill(one, signal.SIGKILL)
                os.waitpid(one, 0)
            lost, wrong, torn = look(folder)
            seen = len((folder / "seen").read_text().split())
            files = len(list((folder / "clinic" / "trail").glob("*.ndjson")))
            return Result(kills, seen, max(unannounced, lost), max(faults, wrong), torn, files)
        finally:
            os.kill(server, signal.SIGKILL)
            os.waitpid(server, 0)


def look(folder: Path) -> tuple[int, int, int]:
    """Requests that the server saw and that were never announced, faults of the trail, and lines that broke off."""
    config = config_of(folder, "empty")
    seen = set((folder / "seen").read_text().split("\n")[:-1]) if (folder / "seen").exists() else set()
    trail, keys = audit_folder(config), audit_keys(config)
    found = verify(trail, keys)
    for one in found.faults:
        sys.stderr.write(f"{one}\n")
    announced = {
        str(line.tree["id"])
        for path in trail.glob("*.ndjson")
        for raw in path.read_bytes().splitlines()
        if (line := read(raw, keys)) is not None and line.says == "event"
    }
    torn = sum("in the middle of a line" in one.meaning for one in found.findings)
    return len(seen - announced), len(found.faults), torn


def main() -> None:
    """Kill, look, count."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    result = run(options.kills, options.seed)
    told = ", ".join(f"{value} {name}" for name, value in result._asdict().items())
    sys.stdout.write(f"{told}\n")
    sys.exit(1 if result.unannounced or result.faults or not result.requests else 0)


if __name__ == "__main__":
    main()
