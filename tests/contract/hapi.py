"""A real HAPI FHIR server for the time of a ``with`` block, started and stopped by the harness."""

from __future__ import annotations

import random
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HARNESS = Path(__file__).resolve().parent.parent / "harness" / "hapi"


@contextmanager
def hapi_server(release: str) -> Iterator[str]:
    """Start HAPI with an empty store in memory and give its base address; it ends with the block."""
    with tempfile.TemporaryDirectory(prefix="fhirbridge-hapi-", ignore_cleanup_errors=True) as folder:
        command = ["--fhir-version", release, "--port", str(quiet_port()), "--data", folder, "--in-memory"]
        try:
            started = subprocess.run(
                [HARNESS / "start.sh", *command], check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
            )
            assert started.returncode == 0, started.stderr
            said = dict(line.split("=", 1) for line in started.stdout.splitlines() if "=" in line)
            yield said["base"]
        finally:
            subprocess.run([HARNESS / "stop.sh", "--data", folder], check=True, capture_output=True)


def quiet_port() -> int:
    """A free port below those that the system hands out: HAPI takes it only after a minute, and again after a kill."""
    for port in random.sample(range(20_000, 30_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")
