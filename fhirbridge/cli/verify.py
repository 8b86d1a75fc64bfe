"""``fhirbridge verify`` and ``retract``: the site against the ledger, and taking back what a run sent."""

from __future__ import annotations

import time
from collections import Counter
from typing import Annotated

import typer

from fhirbridge.cli.app import FAILED, configuration, warned
from fhirbridge.cli.console import counting, listing, print_json, say
from fhirbridge.cli.stopping import stopped_in_order
from fhirbridge.errors import UsageError
from fhirbridge.ledger import FAILED as SET_ASIDE
from fhirbridge.ledger import OPEN, Ledger
from fhirbridge.site import Site
from fhirbridge.sync.opening import open_ledger
from fhirbridge.sync.push import PATIENCE
from fhirbridge.sync.runs import new_run
from fhirbridge.sync.verify import FINDINGS, MENDABLE, Verified, mend
from fhirbridge.sync.verify import verify as verified
from fhirbridge.sync.withdraw import sent_by, withdraw
from fhirbridge.sync.worker import Worker


def verify(
    context: typer.Context,
    site: Annotated[str, typer.Option(help="Site of the configuration.")],
    repair: Annotated[bool, typer.Option("--repair", help="Send what the site lost once more.")] = False,
    duplicates: Annotated[bool, typer.Option("--duplicates", help="Look for second copies; reads all pages.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print it for scripts.")] = False,
) -> None:
    """Read the site back, and compare it with what it acknowledged.

    missing: not there; older: an earlier version came back; changed: somebody wrote there; deleted: somebody deleted
    it; resurrected: it was retracted and stands again. Only missing and older ones are repaired, and only when told.

    \b
    fhirbridge verify --site hospital
    fhirbridge verify --site hospital --repair --json
    """
    config = warned(configuration(context))
    found: Counter[str] = Counter()
    wrong: list[Verified] = []
    sent: dict[str, int] = {}
    with (
        stopped_in_order(),
        Site.open(site, config) as hospital,
        open_ledger(config) as ledger,
        counting("resources") as tick,
    ):
        hospital.check()
        for count, one in enumerate(verified(hospital, ledger, duplicates=duplicates), start=1):
            found[one.finding] += 1
            if one.finding != "intact":
                wrong.append(one)
            tick(count)
        if repair:
            run = new_run(time.time())
            mend(ledger, wrong, run)
            sent = deliver(hospital, ledger, run)
    if json:
        tree = {"site": site, "found": {one: found[one] for one in FINDINGS}, "wrong": [one.as_json() for one in wrong]}
        print_json(tree | ({"repaired": sent} if repair else {}), to_stdout=True)
    else:
        listing(["site", *FINDINGS], [[site, *(str(found[one]) for one in FINDINGS)]])
        listing(
            ["record", "role", "finding"],
            [[f"{w.known.kind}/{w.known.record}", w.known.role, w.finding] for w in wrong],
        )
        if repair:
            say(f"sent again: {', '.join(f'{count} {state}' for state, count in sent.items()) or 'nothing'}")
    left = sum(one.finding not in MENDABLE for one in wrong) if repair else len(wrong)
    if left or any(sent.get(one) for one in OPEN | SET_ASIDE):
        raise typer.Exit(FAILED)


def retract(
    context: typer.Context,
    site: Annotated[str, typer.Option(help="Site of the configuration.")],
    run: Annotated[str, typer.Option(help="Id of the run to take back.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this it is only counted.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print it for scripts.")] = False,
) -> None:
    """Take back everything that a run sent: entered-in-error where the type has a status, else as the site is set.

    \b
    fhirbridge retract --site hospital --run 20261122T100000Z-1a2b3c4d
    fhirbridge retract --site hospital --run 20261122T100000Z-1a2b3c4d --yes
    """
    config = warned(configuration(context))
    with stopped_in_order(), Site.open(site, config) as hospital, open_ledger(config) as ledger:
        rows = sent_by(ledger, site, run)
        if not rows:
            raise UsageError(
                "the ledger knows no such run at this site", code="usage.run", hint="see: fhirbridge explain"
            )
        sent: dict[str, int] = {}
        if yes:
            hospital.check()
            by = new_run(time.time())
            withdraw(ledger, site, run, by)
            sent = deliver(hospital, ledger, by)
    if json:
        print_json({"site": site, "run": run, "resources": len(rows), "retracted": sent}, to_stdout=True)
    elif yes:
        say(f"{len(rows)} resources of that run: {', '.join(f'{count} {state}' for state, count in sent.items())}")
    else:
        say(f"would retract {len(rows)} resources; add --yes to do it")
    if any(sent.get(one) for one in OPEN | SET_ASIDE):
        raise typer.Exit(FAILED)


def deliver(site: Site, ledger: Ledger, run: str) -> dict[str, int]:
    """Deliver until nothing of a run is left that could go now; how many of it stand where."""

    def goes_on() -> bool:
        standing = ledger.of_run(run, site.name)
        return any(standing.get(one) for one in OPEN)

    Worker(site, ledger).run(goes_on, PATIENCE)
    return {str(state): count for state, count in sorted(ledger.of_run(run, site.name).items()) if count}


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(verify)
    app.command()(retract)
