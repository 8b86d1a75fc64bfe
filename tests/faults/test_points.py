"""Workers do at their points what they were told, and their clocks are ours."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.faults.points import HOUR, LabClock, Points, from_environment
from tests.faults.processes import Ended, Process

PASSES = """
import time
from tests.faults.points import HOUR, from_environment
at, clock = from_environment()
for point in ("after-claim", "before-ack", "after-claim"):
    at(point)
    print(point, round((clock.time() - time.time()) / HOUR), flush=True)
"""


def passing(folder: Path, orders: str, clock: str = "real") -> Process:
    return Process(["-c", PASSES], folder / "errors", LAB_AT=orders, LAB_CLOCK=clock)


def test_a_worker_without_orders_passes_its_points(tmp_path: Path) -> None:
    with passing(tmp_path, "") as worker:
        assert worker.output() == (Ended("exited", 0), "after-claim 0\nbefore-ack 0\nafter-claim 0\n")


def test_a_worker_is_killed_at_the_passing_that_was_named(tmp_path: Path) -> None:
    with passing(tmp_path, "after-claim:2=kill") as worker:
        assert worker.output() == (Ended("killed", signal.SIGKILL), "after-claim 0\nbefore-ack 0\n")


def test_a_stopped_worker_can_be_met_at_its_point_and_its_clock_moved(tmp_path: Path) -> None:
    with passing(tmp_path, "before-ack=stop", "skip+3600") as worker:
        assert worker.wait() == Ended("stopped", signal.SIGSTOP)
        worker.signal(signal.SIGUSR2)
        worker.signal(signal.SIGUSR1)
        worker.signal(signal.SIGUSR1)
        worker.go_on()
        # Two signals of one kind while it stands still count once.
        assert worker.output() == (Ended("exited", 0), "after-claim 1\nbefore-ack 1\nafter-claim 1\n")


def test_a_waiting_clock_moves_without_waiting() -> None:
    clock = LabClock("skip-60")
    before = clock.time()
    clock.sleep(10 * HOUR)
    assert clock.time() - before >= 10 * HOUR
    assert before - time.time() < -59


@pytest.mark.parametrize("orders", ["after-lunch=kill", "after-claim=explode", "after-claim:x=kill", "kill"])
def test_an_order_that_means_nothing_is_refused(orders: str) -> None:
    with pytest.raises(ValueError, match="LAB_AT"):
        Points(orders)
    with pytest.raises(ValueError, match="LAB_CLOCK"):
        from_environment({"LAB_CLOCK": "fast"})
