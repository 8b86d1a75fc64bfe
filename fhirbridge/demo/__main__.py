"""``python -m fhirbridge.demo``: the demonstration on the screen.

Exit code 0: every record came back equal, and the second push changed nothing. 1: something did not; it is listed.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from fhirbridge import config
from fhirbridge.demo.patients import seed_patients
from fhirbridge.demo.round_trip import RoundTrip
from fhirbridge.demo.server import sekmet_server
from fhirbridge.errors import FhirbridgeError
from fhirbridge.site import Site
from fhirbridge.sync.opening import open_ledger
from fhirbridge.synth import Options

_SESSIONS = 2
app = typer.Typer(add_completion=False)


@app.command()
def demo(
    patients: Annotated[int, typer.Option(min=1, help="Patients of the clinic.")] = 50,
    seed: Annotated[int, typer.Option(help="Which clinic.")] = 7,
) -> None:
    """A clinic to a real FHIR server, and back: nothing lost, nothing changed, nothing twice."""
    signal.signal(signal.SIGTERM, _end_in_order)
    console = Console()
    try:
        succeeded = _show(Options(patients, seed, consent="all-permit", sessions=_SESSIONS, vitals="rems"), console)
    except FhirbridgeError as error:
        console.print(f"[red]{type(error).__name__}[/red]: {error}", highlight=False)
        succeeded = False
    except KeyboardInterrupt:
        console.print("stopped; the server is ended")
        raise typer.Exit(130) from None
    raise typer.Exit(0 if succeeded else 1)


def _end_in_order(number: int, frame: FrameType | None) -> None:
    # An exception runs the with blocks, and so ends the server.
    sys.exit(128 + number)


def _show(options: Options, console: Console) -> bool:
    started = time.monotonic()
    with (
        console.status("starting SEKMET, a FHIR R4 server"),
        sekmet_server() as server,
        tempfile.TemporaryDirectory(prefix="fhirbridge-demo-") as folder,
    ):
        console.print(f"SEKMET answers at {server.base}")
        tree = {"clinic": {"demo": True, "domain": options.domain}, "site": {"demo": {"base_url": server.base}}}
        settings = config.Config(config.parse(tree), Path(folder), {})
        with Site.open("demo", settings) as site, open_ledger(settings) as ledger:
            trip = RoundTrip(site, options, ledger)
            with _progress(console) as progress:
                _follow(progress, "patients registered", seed_patients(site, options))
                _follow(progress, "records pushed", trip.first_push())
                _follow(progress, "records read back and compared", trip.read_back())
                _follow(progress, "records pushed again", trip.second_push())
    console.print(_table(trip))
    respelt = sum(row.respelt for row in trip.rows.values())
    if respelt:
        console.print(f"SEKMET keeps 0.50 as 0.5: {respelt} of them came back with other digits of the same numbers")
    for problem in trip.problems:
        console.print(f"[red]✗[/red] {problem}", highlight=False)
    if trip.more:
        console.print(f"… and {trip.more} more")
    seconds = f"{time.monotonic() - started:.0f} s"
    if trip.succeeded:
        console.print(f"[green]✓[/green] every record came back equal, and the second push changed nothing ({seconds})")
    else:
        console.print(
            f"[red]✗[/red] not every record came back equal, or the second push changed something ({seconds})"
        )
    return trip.succeeded


def _progress(console: Console) -> Progress:
    columns = (
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.completed:>7,.0f} {task.description}"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console)


def _follow(progress: Progress, what: str, steps: Iterable[Any]) -> None:
    task = progress.add_task(what, total=None)
    done = 0
    for step in steps:
        done += step if isinstance(step, int) else 1
        progress.update(task, completed=done)
    progress.update(task, total=done)


def _table(trip: RoundTrip) -> Table:
    table = Table(title="clinic → FHIR R4 → SEKMET → FHIR R4 → clinic", title_justify="left")
    table.add_column("kind")
    for heading in ("records", "resources", "equal after round trip", "created on the second push"):
        table.add_column(heading, justify="right")
    for kind, row in sorted(trip.rows.items()):
        table.add_row(kind, *(f"{n:,}" for n in (row.records, row.resources, row.equal, row.created_again)))
    everything = trip.rows.values()
    table.add_section()
    table.add_row(
        "all",
        f"{sum(row.records for row in everything):,}",
        f"{sum(row.resources for row in everything):,}",
        f"{sum(row.equal for row in everything):,}",
        f"{sum(row.created_again for row in everything):,}",
    )
    return table


if __name__ == "__main__":
    app()
