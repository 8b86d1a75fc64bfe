"""Workers do at their points what they were told, and their clocks are ours."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.faults.points import HOUR, LabClock, Points, from_environment
from tests.faults.processes import Ended, Process

Passing: TypeAlias = Callable[..., Process]
# Born with everything imported where that can be done, and started anew.
BIRTHS = {"born": ["-m", "tests.faults.passing"], "started": ["-c", "from tests.faults.passing import main; main()"]}
ALL = "after-claim 0\nbefore-ack 0\nafter-claim 0\n"


@pytest.fixture(params=BIRTHS)
def passing(request: pytest.FixtureRequest, tmp_path: Path) -> Passing:
    def start(orders: str, clock: str = "real", *words: str) -> Process:
        return Process([*BIRTHS[request.param], *words], tmp_path / "errors", LAB_AT=orders, LAB_CLOCK=clock)

    return start


def test_a_worker_without_orders_passes_its_points(passing: Passing) -> None:
    with passing("") as worker:
        assert worker.output() == (Ended("exited", 0), ALL)


def test_a_worker_is_killed_at_the_passing_that_was_named(passing: Passing) -> None:
    with passing("after-claim:2=kill") as worker:
        assert worker.output() == (Ended("killed", signal.SIGKILL), "after-claim 0\nbefore-ack 0\n")


def test_a_worker_that_leaves_does_so_without_tidying(passing: Passing) -> None:
    with passing("before-ack=leave") as worker:
        assert worker.output() == (Ended("exited", os.EX_TEMPFAIL), "after-claim 0\n")


def test_a_stopped_worker_can_be_met_at_its_point_and_its_clock_moved(passing: Passing) -> None:
    with passing("before-ack=stop", "skip+3600") as worker:
        assert worker.wait() == Ended("stopped", signal.SIGSTOP)
        worker.signal(signal.SIGUSR2)
        worker.signal(signal.SIGUSR1)
        worker.signal(signal.SIGUSR1)
        worker.go_on()
        # Two signals of one kind while it stands still count once.
        assert worker.output() == (Ended("exited", 0), "after-claim 1\nbefore-ack 1\nafter-claim 1\n")


def test_a_stopped_worker_is_killed_where_it_stands(passing: Passing) -> None:
    with passing("before-ack=stop") as worker:
        worker.wait()
        worker.kill()
        assert worker.wait() == Ended("killed", signal.SIGKILL)
        worker.kill()


def test_what_a_worker_says_when_it_falls_is_kept(passing: Passing, tmp_path: Path) -> None:
    with passing("", "real", "broken") as worker:
        assert worker.output() == (Ended("exited", 1), ALL)
    assert (tmp_path / "errors").read_text("utf-8").endswith("RuntimeError: broken\n")


def test_workers_know_nothing_of_each_others_orders(passing: Passing) -> None:
    with passing("after-claim=kill", "skip+7200") as first, passing("", "skip-3600") as second, passing("") as third:
        assert first.output() == (Ended("killed", signal.SIGKILL), "")
        assert second.output() == (Ended("exited", 0), ALL.replace("0", "-1"))
        assert third.output() == (Ended("exited", 0), ALL)
        assert len({first.pid, second.pid, third.pid, os.getpid()}) == 4


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
