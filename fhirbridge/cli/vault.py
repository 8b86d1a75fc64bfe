"""``fhirbridge vault`` and ``purge``: under which keys the ledger is sealed, sealing it anew, deleting what is over."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from fhirbridge.cli.app import configuration
from fhirbridge.cli.console import counting, listing, print_json, say
from fhirbridge.errors import UsageError
from fhirbridge.ledger import Ledger, Purged
from fhirbridge.sync.identity import lane_named
from fhirbridge.sync.opening import open_ledger

_DAY = 86_400.0
# Longer than any list of patients that somebody wrote by hand.
_MOST_TEXT = 1 << 20

_HELP = """The keys under which the ledger is sealed.

\b
fhirbridge vault status
fhirbridge vault rekey
"""
vault = typer.Typer(help=_HELP, no_args_is_help=True)


@vault.command()
def status(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print it for scripts.")] = False,
) -> None:
    """Show how many values are sealed under each key, and which keys are in the ring.

    \b
    fhirbridge vault status
    fhirbridge vault status --json
    """
    config = configuration(context)
    ring = config.vault()
    with open_ledger(config) as ledger:
        counts = ledger.sealed_under()
    names = sorted({*ring.names, *counts})
    if json:
        keys = {one: {"values": counts.get(one, 0), "in_ring": one in ring.names} for one in names}
        print_json({"active": ring.active, "keys": keys}, to_stdout=True)
        return
    what = {True: "in the ring", False: "missing: what it sealed cannot be read"}
    listing(
        ["key", "values", ""],
        [[one, str(counts.get(one, 0)), "active" if one == ring.active else what[one in ring.names]] for one in names],
    )


@vault.command()
def rekey(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print the count for scripts.")] = False,
) -> None:
    """Seal everything under the active key, while workers go on. Afterwards the older keys can go.

    \b
    1. fhirbridge keys secret --out vault-2027.key; [vault.key.2027] file = "vault-2027.key" beside the old key
    2. start all workers anew, so that they can read what is sealed under it
    3. active = "2027", start them anew; fhirbridge vault rekey
    4. when vault status names no value under the old key, take it out; backups of before still need it
    """
    config = configuration(context)
    done = 0
    with open_ledger(config) as ledger:
        with counting("values sealed anew") as count:
            for some in ledger.rekey():
                done += some
                count(done)
        left = {name: number for name, number in ledger.sealed_under().items() if name != config.vault().active}
    if json:
        print_json({"sealed": done, "left": left}, to_stdout=True)
        return
    say(f"{done} values sealed under {config.vault().active}")
    for name, number in left.items():
        say(f"{number} under {name} since then: a worker still seals with it; start it anew, then rekey again")


def purge(
    context: typer.Context,
    patient: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|-|ask",
            help="Patients, as lines of SYSTEM|VALUE in a file or on standard input, or asked for at a prompt.",
        ),
    ] = None,
    older_than: Annotated[str | None, typer.Option(help="What was over for so long, such as 90d.")] = None,
    site: Annotated[str | None, typer.Option(help="With --older-than: only this site.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this, it is only counted.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the counts for scripts.")] = False,
) -> None:
    """Delete bodies from the ledger that nothing needs any more. Without --yes, nothing is deleted.

    What proves that something was sent, and what a retraction needs, stays. For a patient everything that is over is
    deleted; what waits for a person or for a consent keeps its body, and while something is on its way nothing is
    deleted. By age, what the site acknowledged last stays, for merging and for verify --repair.

    \b
    fhirbridge purge --patient ask --yes
    fhirbridge purge --patient - --yes < patients.txt
    fhirbridge purge --older-than 90d --site hospital
    """
    if (patient is None) == (older_than is None):
        raise UsageError("purge wants one of two", code="usage.purge", hint="--patient, or --older-than 90d")
    config = configuration(context)
    if site is not None:
        if patient is not None:
            raise UsageError("a patient is purged at all sites", code="usage.purge", hint="leave --site out")
        config.site(site)
    named = [] if patient is None else _patients(patient)
    before = time.time() - (0.0 if older_than is None else _seconds(older_than))
    with open_ledger(config) as ledger:
        if patient is None:
            done, unknown = ledger.purge(before, site=site, rehearse=not yes), 0
        else:
            keys = [lane_named(system, value, config.id_key()) for system, value in named]
            done, unknown = _purged(ledger, keys, yes)
    if json:
        print_json({"deleted": yes, "unknown": unknown, **done._asdict()}, to_stdout=True)
        return
    verb = "deleted" if yes else "would be deleted; --yes does it"
    if unknown:
        say(f"{unknown} of {len(named)} patients are not in the ledger")
    say(
        f"{done.bodies} bodies, {done.subjects} subjects of decisions, {done.papers} older consents {verb};"
        f" {done.needed} bodies are needed still"
    )


def _purged(ledger: Ledger, keys: list[str], yes: bool) -> tuple[Purged, int]:
    done, unknown = Purged(), 0
    for key in keys:
        if ledger.patient(key) is None:
            unknown += 1
            continue
        done = done.plus(ledger.purge_patient(key, rehearse=not yes))
    return done, unknown


def _patients(given: str) -> list[tuple[str, str]]:
    """Systems and values. Raises :class:`UsageError`, quoting none of them."""
    if "|" in given:
        raise UsageError(
            "an identifier does not belong on a command line: the shell's history and lists of processes keep it",
            code="usage.purge",
            hint="--patient ask, or - for standard input, or the name of a file",
        )
    if given == "ask":
        text = str(typer.prompt("SYSTEM|VALUE", hide_input=True, err=True))
    elif given == "-":
        text = sys.stdin.read(_MOST_TEXT)
    else:
        try:
            text = Path(given).read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            raise UsageError("the file of patients cannot be read", code="usage.purge") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    pairs = [line.partition("|") for line in lines]
    if not pairs or not all(bar and value for _, bar, value in pairs):
        raise UsageError("each patient is a line of SYSTEM|VALUE", code="usage.purge", hint="|VALUE without a system")
    return [(system, value) for system, _, value in pairs]


def _seconds(age: str) -> float:
    found = re.fullmatch(r"(\d{1,5})d", age)
    if found is None:
        raise UsageError("an age is a number of days", code="usage.purge", hint="such as 90d")
    return int(found[1]) * _DAY


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(vault, name="vault")
    app.command()(purge)
