"""``fhirbridge pull``: read a site's resources back into records."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from fhirbridge.cli.app import FAILED, configuration, warned
from fhirbridge.cli.console import Listing, counting, print_json, say, say_server_text, table
from fhirbridge.cli.files import STDOUT, Rejects, open_output
from fhirbridge.fhir.json import dump
from fhirbridge.site import Site
from fhirbridge.sources import Line, write_record
from fhirbridge.sync import pull as pull_records
from fhirbridge.sync.opening import open_ledger


def pull(
    context: typer.Context,
    site: Annotated[str, typer.Option(help="Site of the configuration.")],
    output: Annotated[str, typer.Option("--output", "-o", help="File to write; - is standard output.")] = STDOUT,
    types: Annotated[
        list[str] | None, typer.Option("--type", help="Resource type to pull; may be repeated. Else the site's types.")
    ] = None,
    rejects: Annotated[Path, typer.Option(help="File for what could not become a record.")] = Path("rejects.ndjson"),
    json: Annotated[bool, typer.Option("--json", help="Print a summary for scripts.")] = False,
    show_server_text: Annotated[
        bool, typer.Option(help="Show the server's own words; they may contain patient data.")
    ] = False,
) -> None:
    """Read a FHIR server's resources back into records, one NDJSON line each.

    What a record cannot hold stands beside it as residue; what cannot be a record at all goes to the reject file. The
    site's consents are read first and kept; what they, or the clinic's own, do not permit is left out, and counted.

    \b
    fhirbridge pull --site hospital -o records.ndjson
    fhirbridge pull --site hospital --type Procedure --type Observation
    """
    config = warned(configuration(context))
    counts: Counter[str] = Counter()
    with_residue: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    listing = Listing()
    with (
        Site.open(site, config, listener=say_server_text if show_server_text else None) as hospital,
        open_ledger(config) as ledger,
        counting("resources") as tick,
        Rejects(rejects) as rejected,
        open_output(output) as write,
    ):
        for count, pulled in enumerate(pull_records(hospital, ledger, types or ()), start=1):
            if pulled.left_out:
                left_out[pulled.left_out] += 1
            elif pulled.reading is None:
                rejected.add(Line(pulled.address, 1, faults=pulled.faults, raw=dump(pulled.resource).decode()))
                listing.add(pulled.address, pulled.faults)
            else:
                record, residue = pulled.reading.record, pulled.reading.residue
                write(write_record(record, residue))
                counts[record.kind] += 1
                with_residue[record.kind] += bool(residue)
            tick(count)
    if json:
        kinds = {kind: {"records": number, "with_residue": with_residue[kind]} for kind, number in counts.items()}
        tree = {"site": site, "kinds": kinds, "refused": rejected.count, "left_out": dict(sorted(left_out.items()))}
        print_json(tree, to_stdout=output != STDOUT)
    elif counts:
        rows = [[kind, str(number), str(with_residue[kind])] for kind, number in sorted(counts.items())]
        table(["records", "read", "with residue"], rows)
    if left_out and not json:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
        say(f"{left_out.total()} resources are left out, for consents do not permit to read them: {reasons}")
    if rejected.count:
        say(f"{rejected.count} resources could not become records, see {rejects}")
        raise typer.Exit(FAILED)


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(pull)
