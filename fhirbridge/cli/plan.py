"""``fhirbridge plan``: what a push would do, without doing it."""

from __future__ import annotations

import time
from collections import Counter
from typing import Annotated

import typer

from fhirbridge.cli.app import FAILED, caution, configuration, warned
from fhirbridge.cli.console import listing, print_json, say
from fhirbridge.cli.reading import open_records
from fhirbridge.fhir.json import Tree
from fhirbridge.site import Site
from fhirbridge.sync.opening import open_ledger
from fhirbridge.sync.preview import WOULD, Preview, Step, Would
from fhirbridge.sync.rate import keep_rate

_CHANGES: tuple[Would, ...] = ("create", "update", "retract")
_NOT_WELL: tuple[Would, ...] = ("conflict", "blocked")


def plan(
    context: typer.Context,
    site: Annotated[str, typer.Option(help="Site of the configuration.")],
    records: Annotated[str | None, typer.Argument(help="File of records; - is standard input.")] = None,
    source: Annotated[str | None, typer.Option(help="Source of the configuration (for CSV and SQL).")] = None,
    patients: Annotated[
        bool, typer.Option("--patients", help="Count by patient, too; a patient is a keyed hash.")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Show which paths change, by hashes and without values.")
    ] = False,
    resend: Annotated[bool, typer.Option("--resend", help="Count what only a new mapping changes as updates.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask the site for its patients.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print it for scripts.")] = False,
) -> None:
    """Show what a push of these records would create, update, retract, or leave. Nothing is written anywhere.

    Exit code 1: something conflicts or is blocked, other than by a patient's consent. "resend" is what only a newer
    mapping says otherwise.

    \b
    fhirbridge plan records.ndjson --site hospital
    fhirbridge plan records.ndjson --site hospital --diff --json
    fhirbridge plan --source monitor --site hospital --patients
    """
    config = warned(configuration(context))
    kinds: dict[str, Counter[Would]] = {}
    lanes: dict[str, Counter[Would]] = {}
    changed = waiting = 0
    last: tuple[str, str] | None = None
    with (
        Site.open(site, config) as hospital,
        open_ledger(config) as ledger,
        open_records(records, source, config) as lines,
    ):
        keep_rate(hospital, time.time)
        caution(hospital)
        preview = Preview(hospital, ledger, time.time(), resend=resend, diff=diff, look=not offline)
        for step in preview.steps(lines):
            waiting += step.waits
            kinds.setdefault(step.kind or "(unreadable)", Counter())[step.would] += 1
            # The resources of a record come one after the other.
            if step.would in _CHANGES and (step.kind, step.record) != last:
                last = step.kind, step.record
                changed += 1
            if patients:
                lanes.setdefault(step.lane or "(none)", Counter())[step.would] += 1
            if json and (step.would in (*_NOT_WELL, "retract") or step.changes):
                print_json(step.as_json(), to_stdout=False)
            elif not json:
                _tell(step)
    totals: Counter[Would] = sum(kinds.values(), Counter())
    if json:
        tree: Tree = {"site": site, "totals": {one: totals[one] for one in WOULD}, "kinds": _tree(kinds)}
        tree |= {"changed_records": changed, "before_start": preview.aside, "blocked_by_consent": waiting}
        print_json(tree | ({"patients": _tree(lanes)} if patients else {}), to_stdout=True)
    else:
        listing(["resources", *WOULD], _rows(kinds))
        if patients:
            listing(["patient", *WOULD], _rows(lanes))
        say(f"{changed} records changed, {sum(totals[one] for one in _CHANGES)} resources would be sent")
        if preview.aside:
            say(f"{preview.aside} before start, which are not queued")
        if waiting:
            say(f"{waiting} of the blocked wait for consent, and go by themselves when it comes")
        if totals["resend"]:
            say(f"would resend {totals['resend']}, which only the mapping changed: push --resend")
    if sum(totals[one] for one in _NOT_WELL) > waiting:
        raise typer.Exit(FAILED)


def _tell(step: Step) -> None:
    for fault in step.faults:
        say(f"{step.kind}/{step.record}: {fault}")
    for change in step.changes:
        was, now = change.base or "absent", change.ours or "absent"
        say(f"{step.kind}/{step.record} {step.role}: {change.path}: {was} → {now}")


def _tree(counted: dict[str, Counter[Would]]) -> dict[str, dict[str, int]]:
    return {name: {one: counts[one] for one in WOULD if counts[one]} for name, counts in sorted(counted.items())}


def _rows(counted: dict[str, Counter[Would]]) -> list[list[str]]:
    return [[name, *(str(counts[one]) for one in WOULD)] for name, counts in sorted(counted.items())]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(plan)
