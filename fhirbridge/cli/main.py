"""The entry point: every command group, gathered."""

from __future__ import annotations

from fhirbridge.cli import (
    about,
    audit,
    consent,
    convert,
    dataset,
    enrol,
    failed,
    keys,
    plan,
    probe,
    pull,
    push,
    status,
    sync,
    synth,
    vault,
    verify,
)
from fhirbridge.cli.app import app

__all__ = ["app", "main"]

for group in (
    *(synth, convert, enrol, plan, push, sync, pull, dataset, consent, status, failed, verify, probe, keys, audit),
    *(vault, about),
):
    group.add_to(app)


def main() -> None:
    """Run ``fhirbridge``."""
    app(prog_name="fhirbridge")
