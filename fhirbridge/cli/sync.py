"""``fhirbridge sync``: everything that is new in the sources, delivered; once, or as a service."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from fhirbridge.cli.app import FAILED, caution, configuration, warned
from fhirbridge.cli.console import print_json, say, say_error
from fhirbridge.cli.reading import open_records, open_rows
from fhirbridge.cli.stopping import stopped_in_order
from fhirbridge.config import Config
from fhirbridge.errors import AuditUnavailable, LedgerUnavailable, SiteError, SourceError, UsageError
from fhirbridge.ledger import FAILED as SET_ASIDE
from fhirbridge.ledger import OPEN
from fhirbridge.site import Site
from fhirbridge.sources import Line, write_reject
from fhirbridge.sync.incremental import Files, Open, OpenRows, Reading, Rows, Taking
from fhirbridge.sync.opening import open_ledger
from fhirbridge.sync.push import PATIENCE
from fhirbridge.sync.service import Round, Service


def sync(
    context: typer.Context,
    site: Annotated[str, typer.Option(help="Site of the configuration.")],
    source: Annotated[
        list[str] | None, typer.Option(help="Source of the configuration; may be repeated. Else all of them.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on for ever; Ctrl-C or SIGTERM ends it in order.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="With --watch: seconds between two looks at the sources.")] = 60,
    rejects: Annotated[Path, typer.Option(help="File to add refused lines to.")] = Path("rejects.ndjson"),
    json: Annotated[bool, typer.Option("--json", help="Print a summary of each round for scripts.")] = False,
) -> None:
    """Read on in the sources from where the last sync ended, and deliver everything that waits in the ledger.

    It can be stopped and started at any moment. Files go on behind their last line, queries behind their mark; records
    from before the site's start are left aside. Refused lines are added to the reject file, which push takes.

    \b
    fhirbridge sync --site hospital
    fhirbridge sync --site hospital --source monitor --watch --every 30
    """
    config = warned(configuration(context))
    names = source or list(config.sources)
    if not names:
        raise UsageError("there is nothing to read", code="usage.no_source", hint="add a [source.NAME] table")
    if any(one.url is None and one.path == "-" for one in map(config.source, names)):
        raise UsageError("standard input has no place to go on from", code="usage.source", hint="use push for it")
    with stopped_in_order(), Site.open(site, config) as hospital, open_ledger(config) as ledger:
        caution(hospital)
        service = Service(hospital, ledger, _readings(config, names), _refuse(rejects))
        if not watch:
            done = service.round(PATIENCE)
            _tell(site, done, as_json=json)
            if service.stopped is not None:
                say(f"the site sent us away: {service.stopped}")
            if not done.well:
                raise typer.Exit(FAILED)
            return
        while service.stopped is None:
            began = time.monotonic()
            _round(service, site, every, as_json=json)
            time.sleep(max(0.0, every - (time.monotonic() - began)))
        say(f"the site sent us away: {service.stopped}")
        raise typer.Exit(FAILED)


def _round(service: Service, site: str, every: float, *, as_json: bool) -> None:
    """One round of a service, which goes on when site, source, ledger or audit trail are away for a while."""
    try:
        done = service.round(every)
    except (SiteError, SourceError, LedgerUnavailable, AuditUnavailable) as error:
        say_error(error)
    else:
        if done.read or done.states:
            _tell(site, done, as_json=as_json)


def _readings(config: Config, names: Sequence[str]) -> Callable[[Taking], Sequence[Reading]]:
    def files(name: str) -> Open:
        return lambda path: open_records(path, name, config)

    def rows(name: str) -> OpenRows:
        return lambda since, key: open_rows(name, config, since, key)

    def reading(name: str, taking: Taking) -> Reading:
        source = config.source(name)
        if source.url is not None:
            return Rows(name, f"{source.query}\n{source.mark}", rows(name), taking)
        return Files(name, config.beside(source.path), files(name), taking)

    return lambda taking: [reading(name, taking) for name in names]


def _refuse(rejects: Path) -> Callable[[Line], object]:
    def refuse(line: Line) -> None:
        with rejects.open("ab") as file:
            file.write(write_reject(line))
        for fault in line.faults:
            say(f"{line.file}:{line.line}: {fault}")

    return refuse


def _tell(site: str, done: Round, *, as_json: bool) -> None:
    states = {str(state): count for state, count in sorted(done.states.items()) if count}
    if as_json:
        tree = {"site": site, "run": done.run, "read": done.read, "new": done.new, "refused": done.refused}
        print_json(tree | {"before_start": done.before_start, "deliveries": states}, to_stdout=True)
        return
    told: Counter[str] = Counter()
    for state, count in done.states.items():
        told["waiting" if state in OPEN else "set aside" if state in SET_ASIDE else str(state)] += count
    shown = ", ".join(f"{count} {what}" for what, count in sorted(told.items())) or "nothing to deliver"
    aside = f", {done.before_start} before start" if done.before_start else ""
    say(
        f"run {done.run}: {done.read} read, {done.new} new or changed, {done.refused} refused{aside}; "
        f"deliveries: {shown}"
    )


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(sync)
