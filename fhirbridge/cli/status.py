"""``fhirbridge status`` and ``explain``: how things stand, and everything that ever happened to one record."""

from __future__ import annotations

import datetime as dt
import sys
import time
from typing import Annotated

import typer

from fhirbridge.cli.app import ALARM, FAILED, configuration
from fhirbridge.cli.console import listing, print_json, say
from fhirbridge.errors import UsageError
from fhirbridge.fhir.json import Tree
from fhirbridge.ledger import Entry, Ledger, State, Where
from fhirbridge.sync.opening import open_ledger
from fhirbridge.sync.reason import Reason, without_clashes
from fhirbridge.sync.standing import alarm, as_json, open_metrics

_STATES = tuple(State)


def status(
    context: typer.Context,
    site: Annotated[str | None, typer.Option(help="Only this site.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print it for scripts.")] = False,
    metrics: Annotated[bool, typer.Option("--metrics", help="Print it as OpenMetrics text.")] = False,
) -> None:
    """Show how many deliveries stand where, and how long the oldest has waited.

    Exit code 4: an adverse event has waited longer than ledger.adverse_event_limit (900 seconds).

    \b
    fhirbridge status
    fhirbridge status --site hospital --metrics
    """
    config = configuration(context)
    if site is not None:
        config.site(site)
    with open_ledger(config) as ledger:
        standing = ledger.standing(site)
    said = alarm(standing, time.time(), config.ledger.adverse_event_limit)
    if metrics:
        sys.stdout.write(open_metrics(standing, said))
    elif json:
        print_json(as_json(standing, said), to_stdout=True)
    else:
        places = sorted({(where, kind) for where, kind, _ in standing.counts})
        rows = [
            [where, kind, *(str(standing.counts.get((where, kind, one), "")) for one in _STATES)]
            for where, kind in places
        ]
        listing(["site", "kind", *_STATES], rows)
        say(f"oldest unsent: {_age(said.oldest)}; oldest adverse event unsent: {_age(said.oldest_urgent)}")
    if said.rings:
        say(f"alarm: an adverse event has waited {_age(said.oldest_urgent)}, the limit is {_age(said.limit)}")
        raise typer.Exit(ALARM)


def explain(
    context: typer.Context,
    record: Annotated[str, typer.Argument(help="The record: KIND/ID, or its id alone.")],
    site: Annotated[str | None, typer.Option(help="Only this site.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print it for scripts, one line for each event.")] = False,
) -> None:
    """Tell everything that ever happened to a record, in order. No patient data is in it.

    \b
    fhirbridge explain session/6f2c1d0e
    fhirbridge explain 6f2c1d0e --site hospital --json
    """
    config = configuration(context)
    if site is not None:
        config.site(site)
    with open_ledger(config) as ledger:
        places = places_of(ledger, record, site)
        told = [(place, entry) for place in places for entry in ledger.history(*place)]
    if not told:
        say("the ledger has never heard of that record")
        raise typer.Exit(FAILED)
    if json:
        for place, entry in told:
            print_json(_as_json(place, entry), to_stdout=True)
        return
    for place in places:
        say(f"{place[1]}/{place[2]} at {place[0]}")
        rows = [_row(entry) for where, entry in told if where == place]
        listing(["time", "event", "role", "revision", "state", "reason", "attempt", "bundle"], rows)


def places_of(ledger: Ledger, record: str, site: str | None) -> list[tuple[str, str, str]]:
    """Where a record is known: by site and kind. An id may have a slash in it."""
    if not record:
        raise UsageError("no record is named", code="usage.record", hint="KIND/ID, or its id alone")
    kind, _, own = record.partition("/")
    rows = ledger.find(Where(site=site, record=record))
    if own:
        rows += ledger.find(Where(site=site, kind=kind, record=own))
    return list(dict.fromkeys((row.site, row.kind, row.record) for row in rows))


def _as_json(place: tuple[str, str, str], entry: Entry) -> Tree:
    tree: Tree = {"site": place[0], "kind": place[1], "id": place[2], "at": moment(entry.at), "event": entry.event}
    tree |= {"role": entry.role, "generation": entry.generation, "revision": entry.revision}
    more = {
        "delivery": entry.delivery,
        "before": entry.before,
        "after": entry.after,
        "reason": without_clashes(entry.reason),
        "clashes": [one.as_json() for one in Reason.read(entry.reason).clashes],
        "attempt": entry.attempt,
        "bundle": entry.bundle,
        "decision": entry.decision,
        "worker": entry.worker,
        "run": entry.run,
        "version": entry.version,
    }
    return tree | {name: value for name, value in more.items() if value not in (None, "", [])}


def _row(entry: Entry) -> list[str]:
    moved = f"{entry.before or ''} → {entry.after}" if entry.after is not None else ""
    generation = f" ({entry.generation})" if entry.generation else ""
    return [
        moment(entry.at), entry.event, f"{entry.role}{generation}", entry.revision, moved, _told(entry.reason),
        "" if entry.attempt is None else str(entry.attempt), (entry.bundle or "")[:8],
    ]  # fmt: skip


def _told(reason: str) -> str:
    paths = [one.path for one in Reason.read(reason).clashes]
    return f"{without_clashes(reason)} at {', '.join(paths)}" if paths else reason


def moment(at: float) -> str:
    """A time of the ledger as people and scripts read it."""
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "none"
    whole = round(seconds)
    days, hours, minutes = whole // 86_400, whole // 3_600 % 24, whole // 60 % 60
    return f"{days} d {hours} h" if days else f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(status)
    app.command()(explain)
