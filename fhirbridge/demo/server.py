"""A real FHIR R4 server (SEKMET) on a loopback port of its own, for the time of a ``with`` block."""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from fhirbridge.client.rest import Client
from fhirbridge.client.transport import Transport
from fhirbridge.errors import SiteError, SiteRefused, SiteUnreachable, UsageError

_START_SECONDS = 60.0
_END_SECONDS = 10.0
_POLL_SECONDS = 0.1
# Between finding a free port and taking it somebody else may take it.
_TRIES = 3
_HOST = "127.0.0.1"
_NO_AUTH = MappingProxyType({"types": ["none"]})
# The server ends itself when its standard input closes, so it never outlives us, however we end.
_PROGRAM = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(0)), daemon=True).start()
from sekmet.cli import app
app()
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its FHIR base address, and the process that is ended by its id."""

    base: str
    process: subprocess.Popen[bytes]


@contextmanager
def sekmet_server(auth: Mapping[str, object] = _NO_AUTH) -> Iterator[Server]:
    """Start SEKMET with an empty store and give it back once it answers; it ends, and its data goes, with the block.

    ``auth`` is its setting ``server_auth``: whom it lets in. Raises :class:`UsageError` where SEKMET is not installed,
    :class:`SiteUnreachable` where it does not come up.
    """
    if importlib.util.find_spec("sekmet") is None:
        hint = 'pip install "fhirbridge[demo]"'
        raise UsageError("the demonstration server SEKMET is not installed", code="usage.extra", hint=hint)
    # Its database may still be closing when the folder goes.
    with tempfile.TemporaryDirectory(prefix="fhirbridge-sekmet-", ignore_cleanup_errors=True) as folder:
        server = _started(Path(folder), auth)
        try:
            yield server
        finally:
            _end(server.process)


def _started(folder: Path, auth: Mapping[str, object]) -> Server:
    for _ in range(_TRIES):
        server = _start(folder, _free_port(), auth)
        try:
            if _answers(server):
                return server
        except BaseException:
            _end(server.process)
            raise
        _end(server.process)
    said = _last_words(folder / "server.log")
    raise SiteUnreachable(f"SEKMET did not start{said}", hint="is another program holding the loopback ports?")


def _start(folder: Path, port: int, auth: Mapping[str, object]) -> Server:
    base = f"http://{_HOST}:{port}/fhir"
    settings = {
        "host": _HOST,
        "port": port,
        "base_url": base,
        "data_dir": str(folder / "data"),
        "validation": {"inbound": "strict"},
        "simulator": {"enabled": False},
        "server_auth": dict(auth),
    }
    # YAML reads JSON.
    file = folder / "settings.yaml"
    file.write_text(json.dumps(settings), "utf-8")
    command = [sys.executable, "-c", _PROGRAM, "serve", "-c", str(file)]
    with (folder / "server.log").open("wb") as log:
        # In a session of its own, so that Ctrl-C reaches it only through us, in order.
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
            command, cwd=folder, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
        )
    return Server(base, process)


def _answers(server: Server) -> bool:
    """Wait until the server tells its capabilities; false if it ended or stayed silent."""
    client = Client(Transport(server.base, timeout=5.0))
    give_up = time.monotonic() + _START_SECONDS
    try:
        while server.process.poll() is None and time.monotonic() < give_up:
            try:
                client.capabilities()
            except SiteRefused:
                # It answers, though not to everybody.
                return server.process.poll() is None
            except SiteError:
                time.sleep(_POLL_SECONDS)
            else:
                return server.process.poll() is None
        return False
    finally:
        client.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _last_words(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines()[-5:] if log.exists() else []
    return f": {' / '.join(lines)}" if lines else ""
