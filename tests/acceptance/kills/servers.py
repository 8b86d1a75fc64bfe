"""Real servers that can be killed, put back to an older state of their data, and started again at the same address."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from fhirbridge.client.rest import Client
from fhirbridge.client.transport import Transport
from fhirbridge.demo.server import Server as DemoServer
from fhirbridge.demo.server import sekmet_server
from fhirbridge.errors import SiteError
from tests.contract.hapi import HARNESS, quiet_port

_LONGEST = 120.0
_SYNCED = ";WRITE_DELAY=0"
SERVERS = ("sekmet", "hapi-r4", "hapi-r5", "hapi-r4-unsynced", "hapi-r5-unsynced")


class Server(Protocol):
    """A server of ours. ``keeps``: what it acknowledged survives a kill."""

    base: str
    release: str
    data: Path
    keeps: bool

    def start(self) -> None:
        """Start it, and wait until it answers."""

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""


class Sekmet:
    """SEKMET over SQLite, started again by the command that the demonstration started it with."""

    release = "r4"
    keeps = True

    def __init__(self, first: DemoServer) -> None:
        self.base = first.base
        self._first = self._process = first.process
        self._command = self._process.args
        assert isinstance(self._command, list)
        self._folder = Path(self._command[-1]).parent
        self.data = self._folder / "data"

    def start(self) -> None:
        give_up = time.monotonic() + _LONGEST
        while time.monotonic() < give_up:
            with (self._folder / "server.log").open("ab") as log:
                self._process = subprocess.Popen(
                    self._command, cwd=self._folder, stdin=subprocess.PIPE, stdout=log, stderr=log,
                    start_new_session=True,
                )  # fmt: skip
            if self._answers(give_up):
                return
            # Somebody's connection had its port for a moment.
            self.kill()
        raise AssertionError("SEKMET does not start again")

    def _answers(self, give_up: float) -> bool:
        client = Client(Transport(self.base, timeout=5.0))
        try:
            while self._process.poll() is None and time.monotonic() < give_up:
                try:
                    client.capabilities()
                except SiteError:
                    time.sleep(0.1)
                else:
                    return self._process.poll() is None
            return False
        finally:
            client.close()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        # That of the first one is closed by whoever opened it.
        if self._process is not self._first and self._process.stdin is not None:
            self._process.stdin.close()


class Hapi:
    """HAPI over H2 by a harness, ``environment`` beside our own; ours keeps what was acknowledged."""

    def __init__(
        self, release: str, folder: Path, harness: Path = HARNESS, *, keeps: bool = True, **environment: str
    ) -> None:
        self.release, self.data, self.keeps = release, folder / "data", keeps
        self._harness, self._environment = harness, environment
        self._port = quiet_port()
        self.base = f"http://127.0.0.1:{self._port}/fhir"
        self._pid: int | None = None

    def start(self) -> None:
        command = ["--fhir-version", self.release, "--port", str(self._port), "--data", str(self.data)]
        started = subprocess.run(
            [self._harness / "start.sh", *command],
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=os.environ | self._environment,
        )
        assert started.returncode == 0, started.stderr
        (pid,) = (line.removeprefix("pid=") for line in started.stdout.splitlines() if line.startswith("pid="))
        self._pid = int(pid)

    def kill(self) -> None:
        assert self._pid is not None
        # It is no child of ours: its end is seen through a descriptor.
        handle = os.pidfd_open(self._pid)
        try:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            ended, _, _ = select.select([handle], [], [], _LONGEST)
        finally:
            os.close(handle)
        assert ended, "HAPI outlives a SIGKILL"
        self._pid = None

    def end(self) -> None:
        """End it in order, wherever its start or its kill broke off."""
        subprocess.run([self._harness / "stop.sh", "--data", str(self.data)], check=True, capture_output=True)


@contextmanager
def serving(name: str) -> Iterator[Server]:
    """A server by its name, empty; it ends, and its data goes, with the block."""
    if name == "sekmet":
        with sekmet_server() as first:
            server = Sekmet(first)
            try:
                yield server
            finally:
                server.kill()
        return
    with tempfile.TemporaryDirectory(prefix="fhirbridge-kills-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        release = name.split("-")[1]
        hapi = _forgetful(release, folder) if name.endswith("-unsynced") else Hapi(release, folder)
        try:
            hapi.start()
            yield hapi
        finally:
            hapi.end()


def _forgetful(release: str, folder: Path) -> Hapi:
    """HAPI with H2's own WRITE_DELAY of half a second: what it acknowledged shortly before a kill is lost.

    The harness builds it from a copy of its sources, in a cache of its own.
    """
    copy = folder / "harness"
    shutil.copytree(HARNESS, copy, ignore=shutil.ignore_patterns("target"))
    options = copy / "src/main/java/acceptance/hapi/Options.java"
    text = options.read_text("utf-8")
    assert text.count(_SYNCED) == 1
    options.write_text(text.replace(_SYNCED, ""), "utf-8")
    return Hapi(release, folder, copy, keeps=False, XDG_CACHE_HOME=str(folder / "cache"))


def keep_copy(server: Server, to: Path) -> None:
    """Copy the data of a server that is not running."""
    shutil.copytree(server.data, to)


def put_back(server: Server, copy: Path) -> None:
    """Give a server that is not running an older state of its data."""
    shutil.rmtree(server.data)
    shutil.copytree(copy, server.data)
