"""``fhirbridge consent``: what a patient has signed, what it permits, and what became of it.

Its output is for somebody who may see the patient's consents: it names recipients and rules, and is no log.
"""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer
from pydantic_core import PydanticCustomError

from fhirbridge.cli.app import FAILED, configuration
from fhirbridge.cli.console import listing, print_json, say
from fhirbridge.cli.named import patient_key
from fhirbridge.cli.reading import open_records
from fhirbridge.cli.status import moment, places_of
from fhirbridge.config import Config
from fhirbridge.consent import DENIALS, PERMITS, Act, Cell, Decider, Subject, Unreadable, matrix, purposes_of, tree
from fhirbridge.errors import UsageError
from fhirbridge.fhir.json import Tree, parse
from fhirbridge.ledger import Decided, Ledger, Patient
from fhirbridge.mapping import kinds
from fhirbridge.records import DateTime, to_json
from fhirbridge.site import act_of, policies
from fhirbridge.sync.evidence import evidence_of, read
from fhirbridge.sync.opening import open_ledger
from fhirbridge.sync.rehearsal import rehearse

_HELP = """What patients have signed, what it permits, and why something does not go.

\b
fhirbridge consent show P-1001
fhirbridge consent explain session/6f2c1d0e
fhirbridge consent simulate changed-consent.ndjson
"""
consent = typer.Typer(help=_HELP, no_args_is_help=True)


@consent.command("show")
def show(
    context: typer.Context,
    patient: Annotated[str, typer.Argument(help="The patient's identifier: a value of the clinic's, or SYSTEM|VALUE.")],
    at: Annotated[str | None, typer.Option(help="As of this day or moment; else now.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print it for scripts.")] = False,
) -> None:
    """Show a patient's consents as trees, and what they permit: what kind, to which site, for which purpose.

    \b
    fhirbridge consent show P-1001
    fhirbridge consent show 'https://clinic.example/sid/patient|P-1001' --at 2026-12-01 --json
    """
    config = configuration(context)
    rules = policies(config)
    when = _moment(at, rules.zone)
    key = patient_key(patient, config)
    with open_ledger(config) as ledger:
        found, standing = read(ledger.consents(key)), ledger.patient(key)
    if not found:
        say("no consent of that patient is known")
        raise typer.Exit(FAILED)
    decider = Decider(found, rules)
    cells = _cells(decider, config, when)
    unreadable = [one for one in found if isinstance(one, Unreadable)]
    if json:
        out: Tree = {
            "at": when.isoformat(),
            "effective": _is_effective(standing),
            "consents": [to_json(one) for one in decider.consents],
            "unreadable": [{"id": one.id, "reason": one.reason} for one in unreadable],
            "permits": [
                {"kind": one.kind, "site": one.recipient, "purpose": one.purpose, "effect": one.decision.effect,
                 "reason": one.decision.reason}
                for one in cells
            ],
        }  # fmt: skip
        print_json(out, to_stdout=True)
        return
    for one in decider.consents:
        listing(["consent", ""], [["  " * line.depth + line.text, line.path] for line in tree(one)])
    for unread in unreadable:
        say(f"{unread.id} cannot be read [{unread.reason}]: until it is corrected, everything is denied")
    purposes = list(dict.fromkeys(cell.purpose for cell in cells))
    listing(["kind", "site", *purposes], _matrix_rows(cells))
    if not _is_effective(standing):
        say("the last change is not effective yet: a request under the consents before it may still be under way")


@consent.command("explain")
def explain(
    context: typer.Context,
    what: Annotated[str, typer.Argument(help="A record, as KIND/ID or its id alone; or a patient's identifier.")],
    site: Annotated[str | None, typer.Option(help="Only this site.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print it for scripts, one line each.")] = False,
) -> None:
    """Tell what was decided about a record and by which rule of which consent; or how a patient's records stand.

    \b
    fhirbridge consent explain session/6f2c1d0e
    fhirbridge consent explain P-1001 --site hospital --json
    """
    config = configuration(context)
    sites = config.sites if site is None else (site,)
    for one in sites:
        config.site(one)
    with open_ledger(config) as ledger:
        places = places_of(ledger, what, site)
        if places:
            for place in places:
                _explain_record(place, ledger.decisions(*place), as_json=json)
            return
        _explain_patient(ledger, patient_key(what, config), sites, as_json=json)


@consent.command("simulate")
def simulate(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="Changed or new consents, as records; - is standard input.")],
    json: Annotated[bool, typer.Option("--json", help="Print it for scripts.")] = False,
) -> None:
    """Show what changed consents would block or release of what is known, before they are signed. Nothing is written.

    \b
    fhirbridge consent simulate changed-consent.ndjson
    """
    config = configuration(context)
    with open_ledger(config) as ledger, open_records(file, None, config) as lines:
        changed = list(evidence_of(lines, config.id_key()))
        if not changed:
            raise UsageError("there is no consent in it", code="usage.no_consent", hint="a line with kind consent")
        found = list(rehearse(changed, _acts(config), ledger, policies(config), time.time()))
    if json:
        print_json({"consents": len(changed), "changes": [one.as_json() for one in found]}, to_stdout=True)
        return
    listing(
        ["record", "role", "site", "", "before", "after"],
        [[f"{one.kind}/{one.record}", one.role, one.site, one.outcome, one.before, one.after] for one in found],
    )
    counts = Counter((one.site, one.kind, one.outcome) for one in found)
    said = ", ".join(f"{number} {kind} {outcome} at {name}" for (name, kind, outcome), number in sorted(counts.items()))
    say(said or "nothing that is known would change")


def _moment(text: str | None, zone: dt.tzinfo) -> dt.datetime:
    """A day is its first moment at the clinic. Raises :class:`UsageError`."""
    if text is None:
        return dt.datetime.now(dt.UTC)
    try:
        return DateTime(text).as_datetime(zone)
    except (ValueError, PydanticCustomError):
        raise UsageError("--at wants a day or a moment", code="usage.at", hint="such as 2026-12-01") from None


def _is_effective(standing: Patient | None) -> bool:
    return standing is None or standing.effective == standing.version


def _acts(config: Config) -> dict[str, Act]:
    """What is done at each site with what is sent there."""
    settings = {name: config.site(name).consent for name in config.sites}
    return {name: act_of(one, one.act) for name, one in settings.items()}


def _cells(decider: Decider, config: Config, when: dt.datetime) -> tuple[Cell, ...]:
    subjects = [Subject(name, one.resource_type) for name, one in sorted(kinds().items())]
    acts = _acts(config)
    recipients = {name: act.recipients for name, act in acts.items()} or {"(nobody named)": ()}
    studies = tuple(dict.fromkeys(study for act in acts.values() for study in act.studies))
    return matrix(decider, subjects, recipients, purposes_of(decider.consents), when, studies)


def _matrix_rows(cells: Iterable[Cell]) -> list[list[str]]:
    rows: dict[tuple[str, str], list[str]] = {}
    for one in cells:
        said = one.decision.effect if one.decision.permitted else f"deny ({one.decision.reason})"
        rows.setdefault((one.kind, one.recipient), []).append(said)
    return [[kind, name, *answers] for (kind, name), answers in rows.items()]


def _explain_record(place: tuple[str, str, str], decisions: list[Decided], *, as_json: bool) -> None:
    site, kind, own = place
    if as_json:
        for one in decisions:
            print_json({"site": site, "kind": kind, "id": own, **_decided(one)}, to_stdout=True)
        return
    say(f"{kind}/{own} at {site}")
    if not decisions:
        say("nothing was decided about it yet: no worker has come to it")
    rows = [
        [moment(one.at), one.role, one.revision, one.act, "permit" if one.permit else "deny", one.reason, one.state]
        for one in decisions
    ]
    listing(["time", "role", "revision", "act", "", "reason", "state"], rows)
    for one in {one.id: one for one in decisions}.values():
        say(f"{one.reason}: {_words(one.reason)}")
        listing(["consent", "revision", "rule", "says", "because", "found at"], _steps(one))


def _decided(one: Decided) -> Tree:
    return {
        "at": moment(one.at), "role": one.role, "revision": one.revision, "state": one.state, "act": one.act,
        "effect": "permit" if one.permit else "deny", "reason": one.reason, "consents": one.consents,
        "trail": parse(one.trail.encode()), "decision": one.id,
    }  # fmt: skip


def _steps(one: Decided) -> Iterator[list[str]]:
    trail: Any = parse(one.trail.encode())
    for consent_id, revision, path, effect, reason, origin, *_ in trail:
        yield [consent_id, revision, path, effect, reason, origin or "the clinic"]


def _words(reason: str) -> str:
    return DENIALS.get(reason) or PERMITS.get(reason, "")


def _explain_patient(ledger: Ledger, key: str, sites: Iterable[str], *, as_json: bool) -> None:
    standing = ledger.patient(key)
    rows = [(site, row) for site in sites for row in ledger.of_patient(site, key)]
    if standing is None and not rows:
        say("the ledger has never heard of that record or patient")
        raise typer.Exit(FAILED)
    if not as_json and standing is not None and standing.requested_at is not None:
        effect = "not yet" if not _is_effective(standing) or standing.effective_at is None else None
        effective = effect or moment(standing.effective_at or 0.0)
        say(f"consents last changed {moment(standing.requested_at)}, effective {effective}")
    if as_json:
        for site, row in rows:
            tree_: Tree = {"site": site, "kind": row.kind, "id": row.record, "role": row.role}
            tree_ |= {"server": row.server, "state": row.state, "reason": row.reason, "withdrawn": row.withdrawn}
            print_json(tree_, to_stdout=True)
        return
    listing(
        ["record", "role", "site", "there", "state", "reason"],
        [[f"{row.kind}/{row.record}", row.role, site, row.server, row.state or "", row.reason] for site, row in rows],
    )


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(consent, name="consent")
