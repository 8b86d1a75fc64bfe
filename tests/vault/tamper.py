"""Random single edits of a ledger, and whether each is found: ``python -m tests.vault.tamper --count 5000``.

A ledger with deliveries in every state, consents, decisions, bundles and a history is made once. Then somebody with
the file and without the keys edits one thing: flips a bit, writes another value, takes that of another row, swaps two
rows, deletes one. What the ledger says of it is looked at, and the edit is undone. What carries no proof is named in
:data:`UNPROVEN`, and a test holds both together to all columns that there are.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from fhirbridge.ledger import Adopted, Server, State
from fhirbridge.ledger.schema import metadata
from fhirbridge.ledger.states import FAILED, OPEN
from fhirbridge.ledger.tampering import tampered
from tests.ledger.bench import SITE, VAULT, Bench, Clock, item
from tests.ledger.gates import Signed, consent

# What is not proven, and why an edit of it is no more than a nuisance.
UNPROVEN: dict[str, dict[str, str]] = {
    "meta": {"name": "without its check values the ledger does not open", "value": "the same"},
    "lane": {
        **dict.fromkeys(("priority", "ready_at"), "which lane goes first, and when"),
        **dict.fromkeys(("fence", "worker", "until", "held", "timeout", "stray_until"), "who holds it, until when"),
        **dict.fromkeys(("consents", "following"), "by which version it was decided: it is decided anew"),
    },
    "patient": dict.fromkeys(("requested_at", "effective_version", "effective_at"), "when a change became effective"),
    "delivery": {
        **dict.fromkeys(("next_at", "attempts", "looks", "review_at"), "when it goes next, and how often it did"),
        "decision": "which of the patient's own decisions it went by",
    },
    "bundle": dict.fromkeys(("ended_at", "outcome"), "how an attempt ended, in words for people"),
    "event": {"id": "the order of the history"},
    "kept": {"at": "when it was kept"},
}
# Of an open delivery it changes with every step of a worker.
_WHILE_OPEN = ("state", "settled_at", "version", "bundle", "reason")
# Of these rows one that is gone is not missed: a line of the history, what nothing names, what may be purged.
_MAY_GO = ("event", "kept", "meta")
TABLES = {table.name.removeprefix("fhirbridge_"): table for table in metadata.sorted_tables}
Row = dict[str, Any]


def proven(name: str) -> list[str]:
    """The columns of a table of which every edit is found."""
    return [column.name for column in TABLES[name].c if column.name not in UNPROVEN.get(name, {})]


def fill(bench: Bench) -> None:
    """Deliveries of three patients in every state, with all that goes with them."""
    bench.gate = Signed()
    everybody = [f"patient-{number}" for number in range(3)]
    bench.sign(*[consent("yes", patient=key) for key in everybody])
    bench.sign(consent("yes", 2, patient="patient-0"), consent(None, 1, record="h-1", source="south", patient="p-x"))
    bench.ledger.effect()
    for state in (State.ACKED, State.REJECTED, State.PARKED, State.UNKNOWN, State.QUEUED):
        bench.offer(
            *[item(f"{state}-{key}", lane=key, subject=f'["{key}"]', urgent=key[-1] == "1") for key in everybody]
        )
        bench.send(state, reason=f"site.{state}", **({"next_at": 9e9} if state is State.UNKNOWN else {}))
        bench.clock.now += 1
    bench.offer(*[item(f"acked-{key}", 2, lane=key) for key in everybody], item("double", 1), item("double", 2))
    bench.retract("rejected-patient-0", 3, lane="patient-0")
    adopted = Adopted("session", "a", "primary", 0, 1, "Procedure", "f-a", "patient-0", "c", "1.0", Server.PRESENT, "1")
    bench.ledger.adopt([adopted], site=SITE, run="adopt")
    bench.ledger.enqueue([item(f"south-{key}", lane=key) for key in everybody], site="south", run="run-2")
    (south,) = bench.ledger.claim("south", "w9", gate=bench.gate, timeout=30.0, lanes=1)
    bench.begin(south.deliveries)
    bench.ledger.claim("south", "w8", gate=bench.gate, timeout=30.0, lanes=1)
    bench.sign(consent("no", 3, patient="patient-2"))
    bench.ledger.effect()
    bench.ledger.claim("south", "w7", gate=bench.gate, timeout=30.0)
    bench.ledger.keep_proof(SITE, '{"proof": 1}')
    bench.ledger.learn_limit(SITE, "entries", 50)
    bench.ledger.learn_limit(SITE, "bytes", 5_000)
    bench.ledger.set_mark("a file", "7:1")


class Held:
    """Stands for the ledger's store: all reading is by the one connection that made the edit."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    @contextmanager
    def read_anything(self) -> Iterator[sa.Connection]:
        driver: Any = self._connection.connection.driver_connection
        driver.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        try:
            yield self._connection
        finally:
            driver.text_factory = str


class Editor:
    """Somebody with the file."""

    def __init__(self, connection: sa.Connection, chance: random.Random) -> None:
        self._run: Callable[..., Any] = connection.connection.driver_connection.execute  # type: ignore[union-attr]
        self._chance = chance
        self.said = ""

    def rows(self, name: str) -> list[Row]:
        names = [column.name for column in TABLES[name].c]
        listed = ", ".join(f'"{one}"' for one in names)
        found = self._run(f"SELECT {listed}, rowid FROM fhirbridge_{name}").fetchall()  # noqa: S608 - our own names
        return [dict(zip([*names, "rowid"], row, strict=True)) for row in found]

    def edit(self) -> bool:
        """One edit; False where it changed nothing, or the database refused it."""
        how = self._chance.choice(
            (self._cell, self._cell, self._cell, self._taken, self._swapped, self._moved, self._gone)
        )
        name = self._chance.choice([one for one in TABLES if one != "meta"])
        rows = self.rows(name)
        try:
            done = how(name, rows)
        except sqlite3.IntegrityError:
            return False
        return done and self.rows(name) != rows

    def _set(self, name: str, row: Row, values: Row) -> None:
        sets = ", ".join(f'"{one}" = ?' for one in values)
        self._run(f"UPDATE fhirbridge_{name} SET {sets} WHERE rowid = ?", (*values.values(), row["rowid"]))  # noqa: S608 - our own names

    def _column(self, name: str, row: Row) -> str:
        free = _WHILE_OPEN if name == "delivery" and row["state"] in OPEN else ("settled_at",) * (name == "delivery")
        return self._chance.choice([one for one in proven(name) if one not in free or one == "state"])

    def _cell(self, name: str, rows: list[Row]) -> bool:
        """Another value in one place."""
        row = self._chance.choice(rows)
        column = self._column(name, row)
        self.said = f"{name}.{column} changed"
        if (name, column) == ("delivery", "state"):
            return self._state(row)
        self._set(name, row, {column: self._other(row[column])})
        return True

    def _state(self, row: Row) -> bool:
        """Done that was not, or not done that was, as far as the table's own conditions allow it."""
        was = State(row["state"])
        others = [one for one in State if one is not was and not (was in OPEN and one in OPEN)]
        state = self._chance.choice(others)
        self.said = f"delivery.state {was} → {state}"
        self._set(
            "delivery", row, {"state": state, "settled_at": None if state in OPEN else row["settled_at"] or 1_000.0}
        )
        return True

    def _other(self, value: Any) -> Any:
        chance = self._chance
        if isinstance(value, bytes) and value:
            place = chance.randrange(len(value))
            return value[:place] + bytes([value[place] ^ (1 << chance.randrange(8))]) + value[place + 1 :]
        if isinstance(value, str) and value:
            place = chance.randrange(len(value))
            flipped = chr(ord(value[place]) ^ (1 << chance.randrange(5)))
            return value[:place] + flipped + value[place + 1 :]
        if isinstance(value, int | float):
            return value + chance.choice((-1, 1, 1_000))
        return chance.choice(("x", 1, b"x", bytes(16)))

    def _taken(self, name: str, rows: list[Row]) -> bool:
        """The value of another row in one place, or nothing at all."""
        row, other = self._chance.choice(rows), self._chance.choice(rows)
        column = self._column(name, row)
        if column in ("state", "id"):
            return False
        nothing = self._chance.random() < 0.2
        self.said = f"{name}.{column} {'emptied' if nothing else 'taken from another row'}"
        self._set(name, row, {column: None if nothing else other[column]})
        return True

    def _swapped(self, name: str, rows: list[Row]) -> bool:
        """The values of two rows in one place, each in the other's."""
        one, other = self._chance.choice(rows), self._chance.choice(rows)
        column = self._column(name, one)
        if column in (*_WHILE_OPEN, "id") or one is other:
            return False
        self.said = f"{name}.{column} of two rows swapped"
        self._set(name, one, {column: other[column]})
        self._set(name, other, {column: one[column]})
        return True

    def _moved(self, name: str, rows: list[Row]) -> bool:
        """Two rows, each in the other's place."""
        one, other = self._chance.choice(rows), self._chance.choice(rows)
        columns = [column.name for column in TABLES[name].c if column.name not in ("id", "mark")] + ["mark"] * (
            name == "delivery"
        )
        if name in ("event", "kept") or one is other or all(one[c] == other[c] for c in columns if c in proven(name)):
            return False
        self.said = f"{name}: two rows swapped"
        # A name that is unique must not stand there twice in between.
        unique = {"key": "?", "digest": "?", "record": "?"}
        self._set(name, one, {c: unique.get(c, other[c]) for c in columns})
        self._set(name, other, {c: one[c] for c in columns})
        self._set(name, one, {c: other[c] for c in columns})
        return True

    def _gone(self, name: str, rows: list[Row]) -> bool:
        """A row less, where it is missed."""
        if name in _MAY_GO:
            return False
        row = self._chance.choice(rows)
        needed = OPEN | FAILED | {State.BLOCKED}
        deliveries = self.rows("delivery")
        missed = {
            "payload": any(one["payload"] == row["rowid"] and one["state"] in needed for one in deliveries),
            "decision": any(one["decision"] == row["rowid"] for one in deliveries),
            "bundle": any(one["bundle"] == row.get("id") for one in deliveries),
        }
        if not missed.get(name, True):
            return False
        self.said = f"{name}: a row deleted"
        self._run(f"DELETE FROM fhirbridge_{name} WHERE rowid = ?", (row["rowid"],))  # noqa: S608 - our own names
        return True


def trials(count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Make so many edits; how many of each kind, and those that nobody noticed."""
    told: Counter[str] = Counter()
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench.open(f"sqlite:///{Path(folder) / 'ledger.db'}", Clock())
        fill(bench)
        with bench.ledger._store.engine.connect() as connection:
            states = {row.state for row in connection.execute(sa.text(_STATES))}
        assert states == set(State), states
        assert not list(bench.ledger.tampered())
        chance = random.Random(seed)  # noqa: S311 - which edit, not a key
        with bench.ledger._store.engine.connect() as connection:
            run = connection.connection.driver_connection.execute  # type: ignore[union-attr]
            run("PRAGMA foreign_keys = OFF")
            connection.exec_driver_sql("SELECT 1")
            editor = Editor(connection, chance)
            while told.total() < count:
                run("SAVEPOINT edit")
                if editor.edit():
                    told[editor.said] += 1
                    if next(tampered(Held(connection), VAULT), None) is None:  # type: ignore[arg-type]
                        missed.append(editor.said)
                run("ROLLBACK TO edit")
                run("RELEASE edit")
            connection.rollback()
        bench.ledger.close()
    return told, missed


_STATES = "SELECT DISTINCT state FROM fhirbridge_delivery"


def main() -> None:
    """Print what was tried; end with 1 where an edit was not found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--all", action="store_true", help="list every kind of edit")
    chosen = parser.parse_args()
    told, missed = trials(chosen.count, chosen.seed)
    if chosen.all:
        for said, number in sorted(told.items()):
            sys.stdout.write(f"{number:>7} {said}\n")
    sys.stdout.write(f"{told.total()} edits of {len(told)} kinds, {told.total() - len(missed)} found\n")
    for said, number in Counter(missed).items():
        sys.stdout.write(f"NOT FOUND {number:>5} {said}\n")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
