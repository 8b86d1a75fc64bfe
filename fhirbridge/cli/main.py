"""The entry point: every command group, gathered."""

from __future__ import annotations

from fhirbridge.cli import about, convert, pull, push, synth
from fhirbridge.cli.app import app

__all__ = ["app", "main"]

for group in (synth, convert, push, pull, about):
    group.add_to(app)


def main() -> None:
    """Run ``fhirbridge``."""
    app(prog_name="fhirbridge")
