"""A real HAPI FHIR server for the time of a ``with`` block, started and stopped by the harness."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HARNESS = Path(__file__).resolve().parent.parent / "harness" / "hapi"


@contextmanager
def hapi_server(release: str) -> Iterator[str]:
    """Start HAPI with an empty store in memory and give its base address; it ends with the block."""
    with tempfile.TemporaryDirectory(prefix="fhirbridge-hapi-", ignore_cleanup_errors=True) as folder:
        command = ["--fhir-version", release, "--port", str(_free_port()), "--data", folder, "--in-memory"]
        try:
            started = subprocess.run(
                [HARNESS / "start.sh", *command], check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
            )
            assert started.returncode == 0, started.stderr
            said = dict(line.split("=", 1) for line in started.stdout.splitlines() if "=" in line)
            yield said["base"]
        finally:
            subprocess.run([HARNESS / "stop.sh", "--data", folder], check=True, capture_output=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
