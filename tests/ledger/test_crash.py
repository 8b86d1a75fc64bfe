"""A process that is killed while it writes: of each call there is all or nothing, and what was answered is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fhirbridge.ledger import Ledger, State, Where
from tests.ledger.bench import SITE, VAULT

ITEMS = 40
KILLS = 4
ROOT = Path(__file__).resolve().parents[2]


def killed(url: str, task: str, start: int, lines: int) -> int:
    """Run the writer, kill it while it goes on after ``lines`` calls; how many calls it had said were done."""
    command = [sys.executable, "-m", "tests.ledger.writer", url, task, str(start), SITE, str(ITEMS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        done = 0
        for _ in process.stdout:
            done += 1
            if done == lines:
                process.kill()
        return done


@pytest.mark.parametrize("task", ["enqueue", "deliver"])
def test_a_killed_process_leaves_whole_calls(ready: str, task: str) -> None:
    start = 0
    for kill in range(KILLS):
        answered = killed(ready, task, start, 3 + 2 * kill)
        assert answered
        with Ledger.open(ready, vault=VAULT) as ledger:
            found = ledger.find(Where(site=SITE), limit=100_000)
            calls: dict[str, list[State]] = {}
            for row in found:
                calls.setdefault(row.run, []).append(row.state)
            # Every call that began is there whole, and in one state.
            assert {len(states) for states in calls.values()} == {ITEMS}
            assert all(len(set(states)) == 1 for states in calls.values())
            # What was answered before the kill is there.
            finished = State.QUEUED if task == "enqueue" else State.ACKED
            kept = sum(states[0] is finished for run, states in calls.items() if int(run) >= start)
            assert kept in (answered, answered + 1)
            # One call may have gone through unanswered.
            start += answered + 1
