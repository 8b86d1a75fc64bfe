"""Processes that are killed, stopped and started again, waited for without polling."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple, Self, TypeAlias

ROOT = Path(__file__).resolve().parents[2]
# Nothing here takes a minute: who is not done by then hangs, and is ended so that the run can say so.
LONGEST = 120.0


class Ended(NamedTuple):
    """How a wait ended: ``exited`` with a code, ``killed`` by a signal, or ``stopped`` and still there."""

    how: Literal["exited", "killed", "stopped"]
    number: int


Command: TypeAlias = Sequence[str]


class Process:
    """A process of this project's Python. What it writes to its error stream is kept."""

    def __init__(self, command: Command, errors: Path, **environment: str) -> None:
        self.hung = False
        with errors.open("ab") as stream:
            self._popen = subprocess.Popen(
                [sys.executable, *command],
                env={**_quiet(os.environ), "PYTHONPATH": str(ROOT), **environment},
                stdout=subprocess.PIPE,
                stderr=stream,
                cwd=ROOT,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def line(self) -> str:
        """The next line it prints."""
        assert self._popen.stdout is not None
        return self._popen.stdout.readline().decode().strip()

    def wait(self) -> Ended:
        """Wait until it stops or ends."""
        watchdog = threading.Timer(LONGEST, self._give_up)
        watchdog.start()
        try:
            found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT)
        except ChildProcessError:
            # Another thread waited too and was first.
            code = self._popen.wait()
            return Ended("exited", code) if code >= 0 else Ended("killed", -code)
        finally:
            watchdog.cancel()
        assert found is not None
        if found.si_code in (os.CLD_STOPPED, os.CLD_TRAPPED):
            return Ended("stopped", found.si_status)
        self._reap()
        return Ended("exited" if found.si_code == os.CLD_EXITED else "killed", found.si_status)

    def output(self) -> tuple[Ended, str]:
        """Wait for its end; how it ended and what it printed."""
        assert self._popen.stdout is not None
        text = self._popen.stdout.read().decode()
        return self.wait(), text

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; one that is gone already gets none."""
        with suppress(ProcessLookupError):
            self._popen.send_signal(number)

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

    def _reap(self) -> None:
        if self._popen.poll() is None:
            self._popen.wait()
        if self._popen.stdout is not None:
            self._popen.stdout.close()

    def _give_up(self) -> None:
        self.hung = True
        self.signal(signal.SIGKILL)


def _quiet(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith("LAB_")}
