"""``fhirbridge enrol``: fill and check the crosswalk between the clinic's patients and a hospital's."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from fhirbridge.cli.app import FAILED, configuration, warned
from fhirbridge.cli.console import Listing, counting, print_json, say, table
from fhirbridge.cli.stopping import stopped_in_order
from fhirbridge.site import Site
from fhirbridge.sync.enrol import CHANGES, STATES, Enrolment, Finding


def enrol(
    context: typer.Context,
    site: Annotated[str, typer.Argument(help="Site of the configuration.")],
    file: Annotated[str, typer.Argument(help="The clinic's list of patients, CSV or NDJSON; - is standard input.")],
    check: Annotated[bool, typer.Option("--check", help="Write nothing; compare with who is enrolled.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print it for scripts.")] = False,
) -> None:
    """Look up the clinic's patients at a hospital, and enrol those who are certainly found there.

    The list has identifier, family, given, birth_date and, where you know it, hospital (the value there). Of birth date
    and name only a keyed fingerprint is compared and kept. With --check the exit code is 1 unless everybody is found
    and enrolled as in the list.

    \b
    fhirbridge enrol hospital patients-of-the-clinic.csv
    fhirbridge enrol hospital patients-of-the-clinic.csv --check --json
    """
    config = warned(configuration(context))
    found: list[Finding] = []
    with stopped_in_order(), Site.open(site, config) as hospital, counting("patients") as tick:
        enrolment = Enrolment(hospital)
        listing = Listing()
        for count, one in enumerate(enrolment.findings(file), start=1):
            found.append(one)
            if one.faults and not json:
                listing.add(f"{file}:{one.line}", one.faults)
            tick(count)
        if not check:
            enrolment.keep()
    states, changes = Counter(one.state for one in found), Counter(one.change for one in found)
    if json:
        tree = {
            "site": site,
            "totals": {state: states[state] for state in STATES},
            "changes": {change: changes[change] for change in CHANGES},
            "unlisted": enrolment.unlisted,
            "written": not check,
            "wrong": [one.as_json() for one in found if one.state != "matched"],
        }
        print_json(tree, to_stdout=True)
    else:
        table(["site", *STATES], [[site, *(str(states[state]) for state in STATES)]])
        would = "would be " if check else ""
        said = f"{changes['new']} {would}enrolled, {changes['changed']} {would}changed, {changes['same']} as before"
        say(f"{said}; {enrolment.unlisted} enrolled that the list does not name")
    if states["matched"] < len(found) or (check and changes["same"] < len(found)):
        raise typer.Exit(FAILED)


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(enrol)
