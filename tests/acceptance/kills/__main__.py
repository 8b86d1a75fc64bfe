"""``python -m tests.acceptance.kills``: the trial on the screen. Exit code 0: it is as promised; 1: it is not."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fhirbridge.sync.worker import LEASE
from tests.acceptance.kills.clinic import Clinic
from tests.acceptance.kills.servers import SERVERS, serving
from tests.acceptance.kills.trial import Plan, Stage, Trial

_HEADINGS = (
    "", "resources", "missing", "older", "other", "twice", "surplus", "again", "unproven", "verify finds", "s", ""
)  # fmt: skip


def main() -> None:
    """Run the trial and print its table."""
    parser = argparse.ArgumentParser(description="a clinic to a real server, with kills")
    parser.add_argument("--server", choices=SERVERS, required=True)
    parser.add_argument("--records", type=int, default=5_000, help="at least; patients are whole")
    parser.add_argument("--worker-kills", type=int, default=20)
    parser.add_argument("--server-kills", type=int, default=5)
    parser.add_argument("--lease", type=float, default=LEASE, help="seconds of a worker's lease")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="new folder for the ledger and what the workers say; else they go")
    given = parser.parse_args()
    if given.server_kills < 1:
        parser.error("--server-kills: at least one, which leaves the older data that are put back")
    plan = Plan(given.worker_kills, given.server_kills, given.lease, given.seed)
    with _folder(given.keep) as folder, serving(given.server) as server:
        clinic = Clinic(folder, server.base, server.release, given.records, given.seed)
        _say(
            f"{given.server}: {clinic.count} records and {clinic.corrections} corrections of {clinic.patients} "
            f"patients, {len(clinic.wanted)} resources"
        )
        trial = Trial(server, clinic, folder, plan)
        _say(_row(_HEADINGS))
        good = True
        for stage in trial.stages():
            _say(_row(_cells(stage)))
            good = good and stage.is_good
        tally = trial.tally
        _say(
            f"worker killed {tally.worker_kills} times of {plan.worker_kills} with {tally.in_flight} deliveries in "
            f"flight, server {tally.server_kills} of {plan.server_kills}; {tally.workers} workers"
        )
        if not good:
            _say((folder / "worker.log").read_text("utf-8")[-4_000:])
    sys.exit(0 if good and trial.is_complete else 1)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True)
        yield keep.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="fhirbridge-kills-") as place:
        yield Path(place)


def _cells(stage: Stage) -> tuple[str, ...]:
    one = stage.verdict
    counts = (
        one.wanted, len(one.missing), len(one.older), len(one.other), len(one.twice), one.surplus, one.again,
        one.unproven,
    )  # fmt: skip
    said = ", ".join(f"{count} {finding}" for finding, count in stage.verified.counts.items() if count)
    return stage.name, *map(str, counts), said, f"{stage.seconds:.0f}", "good" if stage.is_good else "WRONG"


def _row(cells: tuple[str, ...]) -> str:
    name, *numbers, said, seconds, good = cells
    return f"{name:<22}{''.join(f'{one:>10}' for one in numbers)}  {said:<40}{seconds:>6}  {good}".rstrip()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
