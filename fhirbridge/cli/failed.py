"""``fhirbridge failed`` and ``replay``: what waits for a person, and sending it once more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from fhirbridge.cli.app import FAILED, configuration
from fhirbridge.cli.console import listing, print_json, say
from fhirbridge.cli.status import moment
from fhirbridge.errors import UsageError
from fhirbridge.fhir.json import Tree
from fhirbridge.ledger import Ledger, Row, State, Where
from fhirbridge.sync.opening import open_ledger
from fhirbridge.sync.reason import Reason, without_clashes

_PAGE = 1_000
_SET_ASIDE = (State.PARKED, State.REJECTED)
_KEYS = ("kind", "record", "role", "run", "reason", "type", "state", "number")

_HELP = """What waits for a person: parked or rejected deliveries.

\b
fhirbridge failed list --site hospital
fhirbridge failed show 17
"""
failed = typer.Typer(help=_HELP, no_args_is_help=True)


@failed.command("list")
def list_(
    context: typer.Context,
    site: Annotated[str | None, typer.Option(help="Only this site.")] = None,
    where: Annotated[list[str] | None, typer.Option("--where", help="KEY=VALUE; may be repeated.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print them for scripts, one line each.")] = False,
) -> None:
    """List what was set aside, with the reason.

    \b
    fhirbridge failed list --site hospital
    fhirbridge failed list --where reason=conflict --json
    """
    wanted = _where(site, where or [])
    with open_ledger(configuration(context)) as ledger:
        rows = _rows(ledger, wanted)
        if json:
            for row in rows:
                print_json(_as_json(row), to_stdout=True)
        else:
            shown = [
                [str(row.id), row.site, f"{row.kind}/{row.record}", row.role, row.revision, row.state,
                 without_clashes(row.reason), str(row.attempts), moment(row.settled_at or row.enqueued_at)]
                for row in rows
            ]  # fmt: skip
            listing(["number", "site", "record", "role", "revision", "state", "reason", "attempts", "since"], shown)


@failed.command("show")
def show(
    context: typer.Context,
    number: Annotated[int, typer.Argument(help="Number of the delivery, as failed list shows it.")],
    json: Annotated[bool, typer.Option("--json", help="Print it for scripts.")] = False,
) -> None:
    """Show one delivery and all that happened to its record.

    Of a conflict, the paths that both sides changed, with keyed hashes of what stood there before, at the site and
    here: equal hashes are equal values.

    \b
    fhirbridge failed show 17
    fhirbridge failed show 17 --json
    """
    with open_ledger(configuration(context)) as ledger:
        rows = ledger.find(Where(ids=(number,)))
        if not rows:
            say("there is no delivery of that number")
            raise typer.Exit(FAILED)
        (row,) = rows
        events = [one for one in ledger.history(row.site, row.kind, row.record) if one.role == row.role]
    if json:
        told = [{"at": moment(one.at), "event": one.event, "reason": without_clashes(one.reason)} for one in events]
        print_json(_as_json(row) | {"events": told}, to_stdout=True)
        return
    plain = {name: value for name, value in _as_json(row).items() if name != "clashes"}
    listing(["", ""], [[name, "" if value is None else str(value)] for name, value in plain.items()])
    clashes = Reason.read(row.reason).clashes
    if clashes:
        sides = [[one.path, *(side or "absent" for side in (one.base, one.theirs, one.ours))] for one in clashes]
        listing(["path", "before", "at the site", "here"], sides)
    listing(
        ["time", "event", "revision", "reason"],
        [[moment(one.at), one.event, one.revision, without_clashes(one.reason)] for one in events],
    )


def replay(
    context: typer.Context,
    site: Annotated[str, typer.Option(help="Site of the configuration.")],
    where: Annotated[list[str] | None, typer.Option("--where", help="KEY=VALUE; may be repeated.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything that was set aside.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the count for scripts.")] = False,
) -> None:
    """Queue what was set aside once more; the next push or sync sends it.

    Keys: kind, record, role, run, reason (its beginning), type, state, number.

    \b
    fhirbridge replay --site hospital --where reason=patient.not_found
    fhirbridge replay --site hospital --where kind=session --where state=rejected
    """
    config = configuration(context)
    config.site(site)
    if not where and not everything:
        raise UsageError("nothing says what to replay", code="usage.where", hint="--where KEY=VALUE, or --all")
    with open_ledger(config) as ledger:
        count = ledger.replay(_where(site, where or []))
    if json:
        print_json({"site": site, "queued": count}, to_stdout=True)
    else:
        say(f"{count} queued; the next push or sync sends them")


def _where(site: str | None, conditions: list[str]) -> Where:
    """Conditions of the command line. Raises :class:`UsageError`."""
    given: dict[str, str] = {}
    for one in conditions:
        name, equals, value = one.partition("=")
        if not equals or name not in _KEYS:
            raise UsageError(
                f"--where wants KEY=VALUE, not {name!r}", code="usage.where", hint=f"KEY: {', '.join(_KEYS)}"
            )
        given[name] = value
    states: tuple[State, ...] = _SET_ASIDE
    if "state" in given:
        if given["state"] not in _SET_ASIDE:
            raise UsageError("only what is parked or rejected has failed", code="usage.where", hint="parked, rejected")
        states = (State(given["state"]),)
    number = given.get("number", "")
    if number and not number.isdecimal():
        raise UsageError("a number of a delivery is wanted", code="usage.where")
    return Where(
        site=site,
        kind=given.get("kind"),
        record=given.get("record"),
        role=given.get("role"),
        run=given.get("run"),
        reason=given.get("reason"),
        resource_type=given.get("type"),
        states=states,
        ids=(int(number),) if number else (),
    )


def _rows(ledger: Ledger, where: Where) -> Iterator[Row]:
    after = 0
    while page := ledger.find(where, after=after, limit=_PAGE):
        yield from page
        after = page[-1].id


def _as_json(row: Row) -> Tree:
    clashes = [one.as_json() for one in Reason.read(row.reason).clashes]
    tree: Tree = {
        "number": row.id, "site": row.site, "kind": row.kind, "id": row.record, "role": row.role,
        "generation": row.generation, "revision": row.revision, "action": row.action,
        "resource": f"{row.resource_type}/{row.resource_id}", "state": row.state, "reason": without_clashes(row.reason),
        "attempts": row.attempts, "run": row.run, "queued_at": moment(row.enqueued_at),
        "settled_at": None if row.settled_at is None else moment(row.settled_at),
    }  # fmt: skip
    return tree | ({"clashes": clashes} if clashes else {})


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(failed, name="failed")
    app.command()(replay)
