"""Where processes are born with everything imported: a process that forks on request, so that a run does not pay for a
Python start and its imports each time.

What is born is a process like any other: it has its own memory, dies of a real SIGKILL, is stopped by a real SIGSTOP,
and is a child of whoever asked for it. It differs from one that was started anew in that its modules are there already;
nothing has been opened yet, no thread runs, no file is held.

    python -m tests.faults.nursery DESCRIPTOR

Linux only: an orphan is passed to whoever asks for orphans (``PR_SET_CHILD_SUBREAPER``).
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO

from fhirbridge.fhir.json import dump, parse_object

SUPPORTED = sys.platform == "linux"
# What the processes of a laboratory are made of; the drivers where they are installed.
_MODULES = (
    "tests.faults.server",
    "tests.faults.work",
    "tests.faults.withdrawing",
    "tests.faults.reference",
    "sqlalchemy.dialects.sqlite",
)
_DRIVERS = ("psycopg", "sqlalchemy.dialects.postgresql.psycopg")
_SET_SUBREAPER = 36
_LARGEST = 1 << 16
_PRELOAD = "LD_PRELOAD"

_asking = threading.Lock()
_nurseries: dict[str, Nursery] = {}


class Nursery:
    """One forking process. What its ``environment`` preloads is in everything that is born in it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._door, theirs = socket.socketpair()
        given = {name: value for name, value in environment.items() if not name.startswith("LAB_")}
        with theirs:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.nursery", str(theirs.fileno())],
                env=given,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        atexit.register(self.close)

    def bear(self, module: str, words: Sequence[str], environment: Mapping[str, str], out: int, errors: int) -> int:
        """Run the ``main`` of a module in a new child of this process; its id."""
        told = dump({"module": module, "words": list(words), "environment": dict(environment)})
        if len(told) > _LARGEST:
            raise ValueError("the environment is too large")
        with _orphans_are_ours():
            socket.send_fds(self._door, [told], [out, errors])
            answer = self._door.recv(32)
        if not answer:
            raise ChildProcessError("the nursery has died")
        return int(answer)

    def close(self) -> None:
        """Let no more be born."""
        self._door.close()
        self._popen.wait()


def bear(module: str, words: Sequence[str], environment: Mapping[str, str], out: int, errors: IO[bytes]) -> int:
    """Run the ``main`` of a module in a new child of this process, with these words and this environment; its id."""
    preload = environment.get(_PRELOAD, "")
    with _asking:
        if preload not in _nurseries:
            _nurseries[preload] = Nursery(environment)
        return _nurseries[preload].bear(module, words, environment, out, errors.fileno())


@contextlib.contextmanager
def _orphans_are_ours() -> Iterator[None]:
    """For no longer than a birth takes: a database server that is started elsewhere in this process shall stay free."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_SET_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no subreaper")
    try:
        yield
    finally:
        libc.prctl(_SET_SUBREAPER, 0, 0, 0, 0)


def serve(door: socket.socket) -> Callable[[], None] | None:
    """Fork whenever it is asked for, until the door is closed. In the child: what it is to do."""
    while True:
        told, descriptors, _, _ = socket.recv_fds(door, _LARGEST, 2)
        if not told:
            return None
        reader, writer = os.pipe()
        between = os.fork()
        if not between:
            own = os.fork()
            if not own:
                for one in (reader, writer):
                    os.close(one)
                door.close()
                return _life(told, *descriptors)
            os.write(writer, str(own).encode())
            # Its child is an orphan now, and goes to whoever asked.
            os._exit(0)
        os.waitpid(between, 0)
        door.sendall(os.read(reader, 32))
        for one in (reader, writer, *descriptors):
            os.close(one)


def _life(told: bytes, out: int, errors: int) -> Callable[[], None]:
    given = parse_object(told)
    os.dup2(out, 1)
    os.dup2(errors, 2)
    os.close(out)
    os.close(errors)
    os.environ.clear()
    os.environ.update(given["environment"])
    sys.argv = [given["module"], *given["words"]]
    main: Callable[[], None] = importlib.import_module(given["module"]).main
    return main


def _prepare() -> None:
    for name in _MODULES:
        importlib.import_module(name)
    for name in _DRIVERS:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    kinds = importlib.import_module("fhirbridge.mapping").kinds
    kinds()
    gc.collect()
    gc.freeze()


def main() -> None:
    """Prepare, serve, and in each child live its life."""
    _prepare()
    life = serve(socket.socket(fileno=int(sys.argv[1])))
    if life is not None:
        life()


if __name__ == "__main__":
    main()
