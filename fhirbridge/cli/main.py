"""The entry point: every command group, gathered."""

from __future__ import annotations

from fhirbridge.cli import about, consent, convert, enrol, failed, plan, probe, pull, push, status, sync, synth, verify
from fhirbridge.cli.app import app

__all__ = ["app", "main"]

for group in (synth, convert, enrol, plan, push, sync, pull, consent, status, failed, verify, probe, about):
    group.add_to(app)


def main() -> None:
    """Run ``fhirbridge``."""
    app(prog_name="fhirbridge")
