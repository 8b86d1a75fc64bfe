"""``fhirbridge convert``: records to FHIR resources and back, without any server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from fhirbridge.cli.app import FAILED, configuration, warned
from fhirbridge.cli.console import Listing, counting, print_json, say
from fhirbridge.cli.files import STDOUT, Rejects, open_output
from fhirbridge.cli.reading import open_records
from fhirbridge.config import Config
from fhirbridge.errors import Fault, JsonError, Refused, UsageError
from fhirbridge.fhir.json import dump
from fhirbridge.mapping import Binding, Mappings, Release
from fhirbridge.site import clinic
from fhirbridge.sources import Line, faults_of, open_documents, resource_lines, write_record

_TICK = 500
Write = Callable[[bytes], object]


class _Run:
    """One conversion: its counts, its reject file, what it lists on the terminal."""

    def __init__(self, rejects: Rejects, tick: Callable[[int], None]) -> None:
        self.read = 0
        self.written: Counter[str] = Counter()
        self._rejects = rejects
        self._listing = Listing()
        self._tick = tick

    def step(self) -> None:
        """Count one line."""
        self.read += 1
        if self.read % _TICK == 0:
            self._tick(self.read)

    def refuse(self, line: Line, faults: tuple[Fault, ...]) -> None:
        """Set a line aside."""
        self._rejects.add(Line(line.file, line.line, faults=faults, raw=line.raw))
        self._listing.add(f"{line.file}:{line.line}", faults)

    def note(self, line: Line, dropped: tuple[str, ...]) -> None:
        """Tell which parts of a residue an edit has displaced."""
        for path in dropped:
            say(f"{line.file}:{line.line}: {path}: residue was dropped, the record was edited here [residue.dropped]")


def convert(
    context: typer.Context,
    records: Annotated[str | None, typer.Argument(metavar="INPUT", help="File to read; - is standard input.")] = None,
    to: Annotated[Release | None, typer.Option("--to", help="Write records as resources of this release.")] = None,
    from_: Annotated[Release | None, typer.Option("--from", help="Read resources of this release as records.")] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="File to write; - is standard output.")] = STDOUT,
    source: Annotated[str | None, typer.Option(help="Source of the configuration (for CSV).")] = None,
    rejects: Annotated[Path, typer.Option(help="File for what was refused.")] = Path("rejects.ndjson"),
    json: Annotated[bool, typer.Option("--json", help="Print a summary for scripts.")] = False,
) -> None:
    """Turn records into FHIR resources, or resources into records; both are NDJSON.

    A reject file that has been corrected is an input like any other.

    \b
    fhirbridge synth --patients 5 | fhirbridge convert --to r4 -
    fhirbridge convert --to r5 records.ndjson -o resources.ndjson
    fhirbridge convert --from r4 resources.ndjson -o records.ndjson
    """
    release = to or from_
    if release is None or (to is not None and from_ is not None):
        raise UsageError("give --to or --from, one of them", code="usage.direction", hint="such as --to r4")
    config = warned(configuration(context))
    mappings = Mappings(Binding(clinic(config), release))
    with counting("lines") as tick, Rejects(rejects) as rejected, open_output(output) as write:
        run = _Run(rejected, tick)
        if to is not None:
            _to_fhir(records, source, config, mappings, write, run)
        else:
            if records is None:
                raise UsageError("no resources are given", code="usage.no_input", hint="name a file or -")
            _from_fhir(records, mappings, write, run)
    if json:
        summary = {"read": run.read, "written": dict(sorted(run.written.items())), "refused": rejected.count}
        print_json(summary, to_stdout=output != STDOUT)
    if rejected.count:
        say(f"{rejected.count} of {run.read} refused, see {rejects}")
        raise typer.Exit(FAILED)


def _to_fhir(path: str | None, source: str | None, config: Config, mappings: Mappings, write: Write, run: _Run) -> None:
    with open_records(path, source, config) as lines:
        for line in lines:
            run.step()
            if line.record is None:
                run.refuse(line, line.faults)
                continue
            try:
                made = mappings.to_fhir(line.record, line.residue)
            except Refused as refused:
                run.refuse(line, refused.faults)
                continue
            for part in made.parts:
                write(dump(part.resource) + b"\n")
                run.written[part.resource_type] += 1
            run.note(line, made.dropped)


def _from_fhir(path: str, mappings: Mappings, write: Write, run: _Run) -> None:
    with open_documents(path) as documents:
        for line, body in resource_lines(documents):
            run.step()
            if body is None:
                run.refuse(line, line.faults)
                continue
            try:
                if mappings.holds_projection(body):
                    continue
                reading = mappings.read(body)
            except (JsonError, Refused) as error:
                run.refuse(line, faults_of(error))
            else:
                write(write_record(reading.record, reading.residue))
                run.written[reading.record.kind] += 1


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(convert)
