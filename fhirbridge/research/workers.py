"""The same work on many items, in this process or in several, its results in the order of the items."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
# What is handed out ahead for each process: results wait in memory until their turn.
_AHEAD = 3
_state: list[Any] = []


def each(jobs: int, make: Callable[[], Any], work: Callable[[Any, T], R], items: Sequence[T]) -> Iterator[R]:
    """The results of ``work(state, item)``; ``make`` makes the state, once for each process.

    Both, the items and the results have to go from process to process where there are several. Stopped by an
    interruption, no process is left behind.
    """
    if jobs <= 1 or len(items) <= 1:
        state = make()
        for item in items:
            yield work(state, item)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(items)), context, _begin, (make,))
    try:
        waiting: list[Future[R]] = []
        for item in items:
            waiting.append(pool.submit(_do, work, item))
            if len(waiting) > jobs * _AHEAD:
                yield waiting.pop(0).result()
        for one in waiting:
            yield one.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(make: Callable[[], Any]) -> None:
    # Ctrl-C reaches every process of the terminal; the one that waits for the others decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _state[:] = [make()]


def _do(work: Callable[[Any, T], R], item: T) -> R:
    return work(_state[0], item)
