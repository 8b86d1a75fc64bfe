"""Processes that are killed, stopped and started again, waited for without polling.

Where it can be done, they are born with everything imported (:mod:`tests.faults.nursery`); that is ten times cheaper.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Literal, NamedTuple, Self, TypeAlias

from tests.faults import nursery

ROOT = Path(__file__).resolve().parents[2]
# Nothing here takes a minute: who is not done by then hangs, and is ended so that the run can say so.
LONGEST = 120.0


class Ended(NamedTuple):
    """How a wait ended: ``exited`` with a code, ``killed`` by a signal, or ``stopped`` and still there."""

    how: Literal["exited", "killed", "stopped"]
    number: int


Command: TypeAlias = Sequence[str]


class Process:
    """A process of this project's Python: ``-m`` and a module with a ``main``, or ``-c`` and a program, and its words.

    What it writes to its error stream is kept.
    """

    def __init__(self, command: Command, errors: Path, **environment: str) -> None:
        self.hung = False
        self._ended: Ended | None = None
        self._reaping = threading.Lock()
        told = {**_quiet(os.environ), "PYTHONPATH": str(ROOT), **environment}
        reader, writer = os.pipe()
        with errors.open("ab") as stream, os.fdopen(writer, "wb"):
            self.pid = _started(command, told, writer, stream)
        self._output = os.fdopen(reader, "rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def line(self) -> str:
        """The next line it prints."""
        return self._output.readline().decode().strip()

    def wait(self) -> Ended:
        """Wait until it stops or ends."""
        watchdog = threading.Timer(LONGEST, self._give_up)
        watchdog.start()
        try:
            found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT)
        except ChildProcessError:
            # Another thread waited too and was first.
            return self._reap()
        finally:
            watchdog.cancel()
        assert found is not None
        if found.si_code in (os.CLD_STOPPED, os.CLD_TRAPPED):
            return Ended("stopped", found.si_status)
        return self._reap()

    def output(self) -> tuple[Ended, str]:
        """Wait for its end; how it ended and what it printed."""
        text = self._output.read().decode()
        return self.wait(), text

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; one that is gone already gets none."""
        with self._reaping:
            # Until it is reaped nobody else has its id.
            if self._ended is None:
                os.kill(self.pid, number)

    def stop(self) -> None:
        """SIGSTOP, and wait until it has stopped."""
        self.signal(signal.SIGSTOP)
        self.wait()

    def go_on(self) -> None:
        """Let a stopped one go on."""
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.signal(signal.SIGKILL)
        self._reap()

    def _reap(self) -> Ended:
        with self._reaping:
            if self._ended is None:
                found = os.waitid(os.P_PID, self.pid, os.WEXITED)
                assert found is not None
                self._ended = Ended("exited" if found.si_code == os.CLD_EXITED else "killed", found.si_status)
                self._output.close()
            return self._ended

    def _give_up(self) -> None:
        self.hung = True
        self.signal(signal.SIGKILL)


def _started(command: Command, environment: Mapping[str, str], out: int, errors: IO[bytes]) -> int:
    how, what, *words = command
    if how == "-m" and nursery.SUPPORTED:
        return nursery.bear(what, words, environment, out, errors)
    streams = [(os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, errors.fileno(), 2)]
    return os.posix_spawn(sys.executable, [sys.executable, *command], environment, file_actions=streams)


def _quiet(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith("LAB_")}
