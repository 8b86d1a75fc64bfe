"""The whole matrix as a command: cells × stores × personalities, and the crash loop.

python -m tests.faults.matrix cells --store sqlite --personality hapi --fault reset
python -m tests.faults.matrix cells --keep runs.ndjson
python -m tests.faults.matrix table runs.ndjson --write docs/faults.md
python -m tests.faults.matrix crash-loop --store postgres --patients 60 --kills 500 --workers 4
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path

from fhirbridge.fhir.json import Tree, dump, parse_object
from fhirbridge.synth import Options
from tests.faults.cells import FAULTS, Cell, cells
from tests.faults.experiment import experiment
from tests.faults.judge import HARM, Report
from tests.faults.personalities import PERSONALITIES
from tests.faults.points import POINTS
from tests.faults.runner import Outcome, crash_loop, run_cell
from tests.faults.stores import LedgerStore, PostgresStore, SqliteStore, postgres
from tests.faults.synthetic import KNOWN, Clinic
from tests.faults.work import LEDGERS

STORES = ("sqlite", "postgres")
# What stands above the table.
_HEADING = Path(__file__).with_name("matrix.md")
# Injections of which there are two runs each.
_BOTH_WAYS = ("clock", "withdraw")
Stores = Callable[[str, Path], LedgerStore]


@contextmanager
def stores(names: Sequence[str], folder: Path) -> Iterator[Stores]:
    """Gives a new store by name; PostgreSQL is started when it is among ``names``."""
    with ExitStack() as stack:
        database = stack.enter_context(postgres(folder / "postgres")) if "postgres" in names else None

        def new(name: str, place: Path) -> LedgerStore:
            if name == "sqlite":
                return SqliteStore(place / "ledger")
            assert database is not None
            return PostgresStore(database())

        yield new


def subject(personality: str, patients: int = 2, release: str = "r4", known: str = "") -> Clinic:
    """The clinic that is delivered to a personality, set up as its operator would; ``known`` are settings besides."""
    options = Options(patients=patients, sessions=1, vitals="rems", consent="all-permit", corrections=0.2)
    return Clinic(options, release=release, known=f"{KNOWN.get(personality, '')}\n{known}")


def releases(personality: str) -> tuple[str, ...]:
    """What is spoken with a personality: R4, and on the strict server R5 too, each cell in both."""
    return ("r4", "r5") if personality == "strict" else ("r4",)


def run(
    chosen: Sequence[Cell],
    names: Sequence[str],
    personalities: Sequence[str],
    jobs: int,
    tell: Callable[[Outcome], None],
    ledger: str = "",
) -> list[Outcome]:
    """Run cells on stores and personalities, some at a time.

    A clock jumps both ways, in a run each, and a consent is withdrawn from a worker that goes on and from one that does
    not. ``ledger`` names a wrong one.
    """
    wanted = [
        (cell, name, personality, direction, release)
        for personality, name, cell in itertools.product(personalities, names, chosen)
        if cell.run and cell.only in ("", name)
        for direction in ((1, -1) if cell.run in _BOTH_WAYS else (1,))
        for release in releases(personality)
    ]
    with tempfile.TemporaryDirectory() as folder, stores(names, Path(folder)) as new:

        def one(number: int, cell: Cell, name: str, personality: str, direction: int, release: str) -> Outcome:
            place = Path(folder) / str(number)
            place.mkdir()
            store, clinic = new(name, place), subject(personality, release=release)
            outcome = run_cell(cell, clinic, place, store, personality, direction=direction, ledger=ledger)
            tell(outcome)
            store.remove()
            shutil.rmtree(place)
            return outcome

        with ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(lambda pair: one(pair[0], *pair[1]), enumerate(wanted)))


def table(outcomes: Sequence[Outcome]) -> str:
    """The matrix in Markdown: how many runs of each cell were good."""
    by_cell: dict[tuple[str, str], list[Outcome]] = {}
    for one in outcomes:
        by_cell.setdefault((one.cell.point, one.cell.fault), []).append(one)
    every = {(cell.point, cell.fault): cell for cell in cells()}
    lines = ["| fault | " + " | ".join(POINTS) + " |", "| --- |" + " --- |" * len(POINTS)]
    for fault in FAULTS:
        row = []
        for point in POINTS:
            runs = by_cell.get((point, fault), [])
            good = sum(one.is_good for one in runs)
            row.append(f"{good}/{len(runs)}" if runs else "" if every[point, fault].run else "n/a")
        lines.append(f"| {fault} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def summary(outcomes: Sequence[Outcome]) -> str:
    """The sums, and everything that was not good by name."""
    sums = {name: sum(len(getattr(one.report, name)) for one in outcomes) for name in ("lost", *HARM)}
    said = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in sums.items())
    bad = [one for one in outcomes if not one.is_good]
    took = sorted(one.report.effective_after for one in outcomes if one.cell.run == "withdraw")
    late = [f"withdrawals effective after {took[len(took) // 2]:.1f} s, at most {took[-1]:.1f} s"] if took else []
    counted = f"{len(outcomes)} runs, {len(outcomes) - len(bad)} good: {said}"
    return "\n".join([counted, *late, *map(described, bad)])


def described(one: Outcome) -> str:
    """One run in a line."""
    words = ["good" if one.is_good else "BAD", one.cell.point, one.cell.fault, one.store, one.personality, one.release]
    flags = {
        "the other way": one.direction < 0,
        "not reached": not one.reached,
        "not ended": not one.ended,
        "hung": one.hung,
    }
    words += [word for word, is_so in flags.items() if is_so]
    line = " · ".join([*words, *([] if one.report.clean else [str(one.report)])])
    return line if one.is_good or not one.errors else f"{line}\n    {one.errors.splitlines()[-1]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was chosen; 0 when all of it was good."""
    parser = argparse.ArgumentParser(description="the fault matrix and the crash loop")
    commands = parser.add_subparsers(dest="command", required=True)
    matrix, kept, loop = (commands.add_parser(name) for name in ("cells", "table", "crash-loop"))
    for one in (matrix, loop):
        one.add_argument("--store", action="append", choices=STORES, default=None)
        one.add_argument("--personality", action="append", choices=sorted(PERSONALITIES), default=None)
    matrix.add_argument("--point", action="append", choices=POINTS, default=None)
    matrix.add_argument("--fault", action="append", choices=FAULTS, default=None)
    matrix.add_argument("--jobs", type=int, default=4, help="cells at a time; they wait more than they work")
    matrix.add_argument("--keep", type=Path, help="add a line for each run, as soon as it is over")
    kept.add_argument("runs", type=Path, nargs="+", help="what cells --keep has written; of a run made twice the last")
    kept.add_argument("--write", type=Path, help="write the table there as well")
    loop.add_argument("--patients", type=int, default=20, help="some 40 records each")
    loop.add_argument("--kills", type=int, default=50)
    loop.add_argument("--server-kills", type=int, default=0)
    loop.add_argument("--cut", type=float, default=0.05, help="share of replies cut after the commit")
    loop.add_argument("--workers", type=int, default=1)
    loop.add_argument("--seed", type=int, default=1)
    loop.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="change the personality")
    for one in (matrix, loop):
        one.add_argument(
            "--ledger", choices=[name for name in LEDGERS if name], help="a wrong one: it has to be noticed"
        )
    given = parser.parse_args(arguments)
    if given.command == "table":
        return _table(given)
    names, personalities = given.store or STORES, given.personality or sorted(PERSONALITIES)
    return _cells(given, names, personalities) if given.command == "cells" else _loop(given, names, personalities)


def _cells(given: argparse.Namespace, names: Sequence[str], personalities: Sequence[str]) -> int:
    chosen = [
        cell for cell in cells() if cell.point in (given.point or POINTS) and cell.fault in (given.fault or FAULTS)
    ]
    writing = threading.Lock()

    def tell(one: Outcome) -> None:
        _say(described(one))
        if given.keep:
            with writing, given.keep.open("ab") as stream:
                stream.write(dump(_as_line(one)) + b"\n")

    outcomes = run(chosen, names, personalities, given.jobs, tell, given.ledger or "")
    _say(f"{table(outcomes)}\n\n{summary(outcomes)}")
    return 0 if all(one.is_good for one in outcomes) else 1


def _table(given: argparse.Namespace) -> int:
    lines = [parse_object(line) for path in given.runs for line in path.read_bytes().splitlines()]
    told_apart = ("point", "fault", "store", "personality", "direction", "release")
    by_run = {tuple(one[name] for name in told_apart): one for one in lines}
    outcomes = [_from_line(one) for one in by_run.values()]
    text = f"{table(outcomes)}\n\n{summary(outcomes)}"
    _say(text)
    if given.write:
        given.write.write_text(f"{_HEADING.read_text('utf-8')}\n{_made_of(by_run.values())}\n\n{text}\n", "utf-8")
    return 0 if all(one.is_good for one in outcomes) else 1


def _made_of(lines: Iterable[Tree]) -> str:
    """What was run and when: the reader is not to take a part for the whole."""
    days: dict[tuple[str, str], list[str]] = {}
    for one in lines:
        days.setdefault((one["store"], one["personality"]), []).append(one["day"])
    rows = [
        f"| {store} | {personality} | {len(found)} | {' – '.join(dict.fromkeys((min(found), max(found))))} |"
        for (store, personality), found in sorted(days.items())
    ]
    left = [f"{one} × {two}" for one in STORES for two in PERSONALITIES if (one, two) not in days]
    missing = [f"\nNot run: {', '.join(left)}."] if left else []
    return "\n".join(["| store | personality | runs | on |", "| --- | --- | --- | --- |", *rows, *missing])


def _as_line(one: Outcome) -> Tree:
    told = {each.name: getattr(one, each.name) for each in fields(one) if each.name not in ("cell", "report")}
    where = {"point": one.cell.point, "fault": one.cell.fault}
    return {**where, **told, "report": asdict(one.report), "day": datetime.now(UTC).date().isoformat()}


def _from_line(tree: Tree) -> Outcome:
    where = {(cell.point, cell.fault): cell for cell in cells()}
    own = {each.name: tree[each.name] for each in fields(Outcome) if each.name not in ("cell", "report")}
    said: Tree = {name: tuple(value) if isinstance(value, list) else value for name, value in tree["report"].items()}
    said["effective_after"] = float(said.get("effective_after", 0.0))
    return Outcome(where[tree["point"], tree["fault"]], report=Report(**said), **own)


def _loop(given: argparse.Namespace, names: Sequence[str], personalities: Sequence[str]) -> int:
    good = True
    for name, personality in itertools.product(names, personalities):
        with tempfile.TemporaryDirectory() as folder, stores([name], Path(folder)) as new:
            place, clinic = Path(folder), subject(personality, given.patients)
            options = [word for change in given.set for word in ("--set", change)]
            with experiment(clinic, place, new(name, place), personality, *options) as one:
                one.environment = {"LAB_LEDGER": given.ledger} if given.ledger else {}
                found = crash_loop(
                    one,
                    kills=given.kills,
                    cut=given.cut,
                    workers=given.workers,
                    seed=given.seed,
                    server_kills=given.server_kills,
                )
        killed_enough = sum(found.kills.values()) >= given.kills
        good = good and found.ended and found.report.unharmed and killed_enough
        killed = ", ".join(f"{point} {count}" for point, count in found.kills.items())
        _say(f"{name}, {personality}: {sum(found.kills.values())} kills ({killed}), {found.cut} replies cut")
        _say(f"  {found.report}{'' if found.ended else '; not ended'}")
        if not killed_enough:
            _say("  the work was done before there were so many kills: more patients")
    return 0 if good else 1


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
