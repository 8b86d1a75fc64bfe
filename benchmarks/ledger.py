"""What the ledger costs: claim → begin → null send → settle, on SQLite with full synchronisation, bodies kept.

    python -m benchmarks.ledger [--records 20000] [--size 2048] [--entries 50] [--patients 400]

The send joins the bodies of a bundle, hashes them and believes that the site took them: what any sender has to do.
Beside it, in the same run and on the same disk, two floors of what SQLite itself takes for so many rows, written by
hand: keys and hashes alone, committed every 100 rows; and the same with the bodies in the same table.
"""

from __future__ import annotations

import argparse
import hashlib
import sqlite3
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.machine import processor
from fhirbridge.ledger import Ended, Item, Ledger, Outgoing, Result, State
from fhirbridge.ledger.gate import EVERYTHING
from fhirbridge.vault import Ring, Vault

GOAL = 15_000
# Keys like any others, but public.
VAULT = Vault(
    Ring("bench", {"bench": b"the vault key of a benchmark, no secret"}),
    id_key=b"bench id key, no secret",
    domain="bench.example",
)
_FLOOR_COMMIT = 100


class Figure(NamedTuple):
    """Records a second by the clock on the wall, and processor microseconds a record."""

    name: str
    rate: float
    micros: float

    def __str__(self) -> str:
        return f"{self.name:<58}{self.rate:>10,.0f}/s{self.micros:>9.1f} µs processor time a record"


def measured(name: str, count: int, work: Callable[[], object]) -> Figure:
    """Do ``work`` once, which is about ``count`` records."""
    wall, spent = time.perf_counter(), time.process_time()
    work()
    wall, spent = time.perf_counter() - wall, time.process_time() - spent
    return Figure(name, count / wall, spent / count * 1e6)


def body(number: int, size: int) -> bytes:
    """About ``size`` bytes that compress as an Observation does."""
    digits = hashlib.sha256(str(number).encode()).hexdigest()
    start = f'{{"resourceType":"Observation","id":"f{digits[:32]}","meta":{{"tag":[{{"system":"https://fhirbridge.example/fhir/'
    entry = '{{"code":{{"coding":[{{"system":"http://loinc.org","code":"{0}-{1}"}}]}},"valueQuantity":{{"value":{2},"unit":"mmHg"}}}},'
    parts = [start]
    length = len(start)
    place = 0
    while length < size:
        digits += hashlib.sha256(digits.encode()).hexdigest() if place + 12 > len(digits) else ""
        part = entry.format(digits[place : place + 5], digits[place + 5], digits[place + 6 : place + 12])
        parts.append(part)
        length += len(part)
        place += 12
    return "".join(parts).encode()[:size]


def items(count: int, patients: int, size: int) -> list[Item]:
    """Records of many patients, a patient's together, as a source brings them."""
    found = []
    for number in range(count):
        key = hashlib.sha256(str(number).encode()).hexdigest()
        content = body(number, size)
        found.append(
            Item(
                kind="vital_sign",
                record=f"V-{number}",
                role="primary",
                revision=1,
                resource_type="Observation",
                resource_id=f"f{key[:32]}",
                lane=f"lane-{number * patients // count}",
                content=hashlib.sha256(content).hexdigest()[:32],
                mapping="1.0",
                body=content,
                event=1_700_000_000.0 + number,
            )
        )
    return found


def enqueue(ledger: Ledger, offered: list[Item], batch: int) -> None:
    """All of it, ``batch`` a call."""
    for start in range(0, len(offered), batch):
        ledger.enqueue(offered[start : start + batch], site="bench", run="bench")


def deliver(ledger: Ledger, entries: int, lanes: int, limit: int) -> int:
    """Claim, begin, send to nowhere and settle until nothing is left; how many went."""
    count = 0
    while claims := ledger.claim("bench", "worker", gate=EVERYTHING, timeout=30.0, lanes=lanes, limit=limit):
        bundles = []
        for claim in claims:
            for start in range(0, len(claim.deliveries), entries):
                chosen = claim.deliveries[start : start + entries]
                sent = b",".join([one.body or b"" for one in chosen])
                bundles.append(Outgoing(uuid.uuid4().hex, chosen, hashlib.sha256(sent).hexdigest()))
        ledger.begin(bundles)
        results = [Result(one, State.ACKED, each.id, version="1") for each in bundles for one in each.deliveries]
        ledger.settle(results, ended=[Ended(each.id, "200") for each in bundles])
        count += len(results)
    return count


def floor(path: Path, offered: list[Item], *, bodies: bool) -> Figure:
    """What SQLite takes for one insert and the two changes of a delivery, by hand, and nothing else."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE delivery (id TEXT PRIMARY KEY, hash TEXT, state TEXT, body BLOB)")
    insert = "INSERT INTO delivery VALUES (?, ?, 'queued', ?)"
    change = "UPDATE delivery SET state = ? WHERE id = ?"

    def chunks() -> Iterator[list[Item]]:
        for start in range(0, len(offered), _FLOOR_COMMIT):
            yield offered[start : start + _FLOOR_COMMIT]

    def within(statement: str, rows: list[tuple[object, ...]]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(statement, rows)
        connection.execute("COMMIT")

    def work() -> None:
        for chunk in chunks():
            rows = [(one.resource_id, one.content, one.body if bodies else None) for one in chunk]
            within(insert, rows)
        for chunk in chunks():
            for state in ("in_flight", "acked"):
                within(change, [(state, one.resource_id) for one in chunk])

    name = "floor: keys, hashes and bodies in one table" if bodies else "floor: keys and hashes only"
    try:
        return measured(f"{name}, a commit per {_FLOOR_COMMIT}", len(offered), work)
    finally:
        connection.close()


def main() -> None:
    """Print the figures; end with 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--patients", type=int, default=400)
    parser.add_argument("--size", type=int, default=2_048, help="bytes of a body")
    parser.add_argument("--entries", type=int, default=50, help="resources in a bundle")
    parser.add_argument("--lanes", type=int, default=64, help="patients of one claim")
    parser.add_argument("--limit", type=int, default=4_000, help="deliveries of one claim")
    parser.add_argument("--batch", type=int, default=2_000, help="items of one enqueue")
    parser.add_argument("--rounds", type=int, default=3, help="the median of so many rounds is judged")
    chosen = parser.parse_args()
    offered = items(chosen.records, chosen.patients, chosen.size)
    print(f"{processor()}, SQLite {sqlite3.sqlite_version}, WAL, synchronous=FULL, one thread")
    print(f"{chosen.records:,} records of {chosen.patients:,} patients, bodies of {chosen.size:,} bytes")
    rates = []
    for _ in range(chosen.rounds):
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{folder}/ledger.db"
            with Ledger.open(url, vault=VAULT) as ledger:
                print(measured("enqueue", chosen.records, lambda: enqueue(ledger, offered, chosen.batch)))
                figure = measured(
                    "claim → begin → null send → settle",
                    chosen.records,
                    lambda: deliver(ledger, chosen.entries, chosen.lanes, chosen.limit),
                )
                print(figure)
                rates.append(figure.rate)
                kept = sum(path.stat().st_size for path in Path(folder).iterdir())
                held = ledger.of_run("bench")
            if held != {State.ACKED: chosen.records}:
                sys.exit(f"not everything was acknowledged: {held}")
            print(floor(Path(folder) / "floor.db", offered, bodies=False))
            print(floor(Path(folder) / "floor-bodies.db", offered, bodies=True))
            print(f"the ledger takes {kept / chosen.records:,.0f} bytes a record on disk")
    middle = sorted(rates)[len(rates) // 2]
    print(f"claim to settle: {middle:,.0f} records a second, the median of {len(rates)} (goal {GOAL:,})")
    if middle < GOAL:
        sys.exit(1)


if __name__ == "__main__":
    main()
