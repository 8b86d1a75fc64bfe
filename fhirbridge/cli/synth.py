"""``fhirbridge synth``: a made-up clinic."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from fhirbridge.cli.app import configuration
from fhirbridge.cli.console import counting
from fhirbridge.cli.files import STDOUT, open_output
from fhirbridge.fhir.json import dump

_TICK = 1_000


def synth(
    context: typer.Context,
    patients: Annotated[int, typer.Option(min=0, help="How many patients.")] = 10,
    seed: Annotated[int, typer.Option(help="The same seed makes the same clinic.")] = 0,
    consent: Annotated[
        Literal["mixed", "all-permit"], typer.Option(help="Consents of every sort, or none that forbids anything.")
    ] = "mixed",
    sessions: Annotated[int | None, typer.Option(min=0, help="At most so many visits per patient.")] = None,
    vitals: Annotated[Literal["full", "rems"], typer.Option(help="How often vital signs are taken.")] = "full",
    domain: Annotated[
        str | None, typer.Option(help="Domain of the clinic's identifiers; else the configuration's.")
    ] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="File to write; - is standard output.")] = STDOUT,
) -> None:
    """Make records of a synthetic clinic, one NDJSON line each. Nobody in it exists.

    Its domain and its time zone are those of the configuration, so that its records can be pushed as the clinic's own.

    \b
    fhirbridge synth --patients 200 --seed 7 -o records.ndjson
    fhirbridge synth --patients 3 --consent all-permit --sessions 2 | fhirbridge convert --to r4 -
    """
    from fhirbridge.synth import Options, records

    clinic = configuration(context).clinic
    chosen = Options(
        patients, seed, domain or clinic.domain, consent, sessions=sessions, vitals=vitals, zone=clinic.time_zone
    )
    with counting("records") as tick, open_output(output) as write:
        for count, tree in enumerate(records(chosen), start=1):
            write(dump(tree) + b"\n")
            if count % _TICK == 0:
                tick(count)


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(synth)
