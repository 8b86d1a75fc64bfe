"""``fhirbridge push``: deliver records to a site."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from fhirbridge.cli.app import FAILED, caution, configuration, warned
from fhirbridge.cli.console import Listing, counting, print_json, say, say_server_text, table
from fhirbridge.cli.files import Rejects
from fhirbridge.cli.reading import open_records
from fhirbridge.cli.stopping import stopped_in_order
from fhirbridge.fhir.json import dump
from fhirbridge.ledger import Action, State
from fhirbridge.site import Site
from fhirbridge.sources import Line, WholeFile
from fhirbridge.sync import How, RecordOutcome, Summary
from fhirbridge.sync import push as push_records
from fhirbridge.sync.bench import Report
from fhirbridge.sync.opening import open_ledger
from fhirbridge.sync.push import PATIENCE
from fhirbridge.sync.runs import new_run

_STATES = ("created", "updated", "unchanged", "blocked", "refused", "failed", "unknown")
_NOT_WELL = ("refused", "failed", "unknown")


def push(
    context: typer.Context,
    site: Annotated[str, typer.Option(help="Site of the configuration.")],
    records: Annotated[str | None, typer.Argument(help="File of records; - is standard input.")] = None,
    source: Annotated[str | None, typer.Option(help="Source of the configuration (for CSV and SQL).")] = None,
    outcomes: Annotated[Path, typer.Option(help="File for one outcome per record.")] = Path(
        "fhirbridge-outcomes.ndjson"
    ),
    rejects: Annotated[Path, typer.Option(help="File for what was refused.")] = Path("rejects.ndjson"),
    json: Annotated[bool, typer.Option("--json", help="Print a summary for scripts.")] = False,
    resend: Annotated[
        bool, typer.Option("--resend", help="Also send what only a newer mapping says otherwise.")
    ] = False,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds to wait, in all, for a site that is busy or away.")
    ] = PATIENCE,
    show_server_text: Annotated[
        bool, typer.Option(help="Show the server's own words; they may contain patient data.")
    ] = False,
) -> None:
    """Deliver records to a FHIR server, and tell what became of each.

    Pushing the same records again changes nothing: what the site holds already is not sent. Records that were refused
    go to the reject file; corrected there, it is an input like any other. What could not be delivered in time stays in
    the ledger, and goes with the next push or sync. What the patient's consents do not permit is blocked: it waits
    there too, goes by itself when the consent comes, and is no failure.

    \b
    fhirbridge push records.ndjson --site hospital
    fhirbridge push --source monitor --site hospital --json
    fhirbridge push rejects.ndjson --site hospital
    """
    config = warned(configuration(context))
    summary, listing, run = Summary(), Listing(), new_run(time.time())
    taken_back = TakenBack()
    try:
        with (
            stopped_in_order(),
            Site.open(site, config, listener=say_server_text if show_server_text else None) as hospital,
            open_ledger(config) as ledger,
            open_records(records, source, config) as lines,
            counting("records") as tick,
            Rejects(rejects) as rejected,
            WholeFile(outcomes) as kept,
        ):
            kept.keep()
            caution(hospital)
            for count, outcome in enumerate(
                push_records(lines, hospital, ledger, How(run=run, resend=resend, patience=patience, tell=taken_back)),
                start=1,
            ):
                kept.write(dump(outcome.as_json()) + b"\n")
                summary.add(outcome)
                _report(outcome, listing, rejected)
                tick(count)
    finally:
        refused = rejects if summary.total(["refused"]) else None
        _summarise(site, run, summary, taken_back.count, outcomes, refused, as_json=json)
    if summary.total(_NOT_WELL):
        raise typer.Exit(FAILED)


def _report(outcome: RecordOutcome, listing: Listing, rejected: Rejects) -> None:
    line = outcome.line
    if outcome.state == "refused":
        rejected.add(Line(line.file, line.line, faults=outcome.faults, raw=line.raw))
    if outcome.state in _NOT_WELL:
        listing.add(f"{line.file}:{line.line}: {outcome.state}", outcome.faults)
    for path in outcome.dropped:
        say(f"{line.file}:{line.line}: {path}: residue was dropped, the record was edited here [residue.dropped]")


class TakenBack:
    """Counts what the site took back, as corrections and withdrawn consents want it; may be told by several threads."""

    def __init__(self) -> None:
        self._resources: set[int] = set()

    @property
    def count(self) -> int:
        """Resources of which the site has proven it."""
        return len(self._resources)

    def __call__(self, report: Report) -> None:
        if report.delivery.action is Action.RETRACT and report.to is State.ACKED:
            self._resources.add(report.delivery.resource)


def _summarise(
    site: str, run: str, summary: Summary, taken_back: int, outcomes: Path, rejects: Path | None, *, as_json: bool
) -> None:
    totals = {state: summary.total([state]) for state in _STATES}
    early = summary.total(["before_start"])
    if as_json:
        files = {"outcomes": str(outcomes), "rejects": None if rejects is None else str(rejects)}
        tree = {
            "site": site,
            "run": run,
            "totals": totals,
            "before_start": early,
            "taken_back": taken_back,
            "kinds": summary.as_json(),
        }
        print_json(tree | files, to_stdout=True)
        return
    rows = [
        [kind, *(str(counts[state]) for state in _STATES), str(summary.resources[kind].total())]
        for kind, counts in sorted(summary.counts.items())
    ]
    if rows:
        table(["records", *_STATES, "resources"], rows)
        aside = f"{early} before start, which are not queued; " if early else ""
        aside += f"{taken_back} resources taken back; " if taken_back else ""
        say(f"{aside}run: {run}; outcomes: {outcomes}" + ("" if rejects is None else f"; refused: {rejects}"))


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(push)
