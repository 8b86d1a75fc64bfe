"""``fhirbridge audit``: read the audit trail, prove that it is what was written, and hand it on."""

from __future__ import annotations

import datetime as dt
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from pydantic_core import PydanticCustomError

from fhirbridge.audit import audit_folder, audit_keys
from fhirbridge.audit.checkpoint import Checkpoint, Checkpoints, read_checkpoints, written
from fhirbridge.audit.events import events
from fhirbridge.audit.files import names_in
from fhirbridge.audit.head import head_of
from fhirbridge.audit.keys import Keys
from fhirbridge.audit.summary import OUTCOMES, Summary, summary
from fhirbridge.audit.verify import Verified
from fhirbridge.audit.verify import verify as verified
from fhirbridge.cli.app import FAILED, configuration
from fhirbridge.cli.console import listing, print_json, say
from fhirbridge.cli.files import STDOUT, open_output
from fhirbridge.cli.named import patient_key
from fhirbridge.config import Config
from fhirbridge.errors import UsageError
from fhirbridge.fhir.json import Tree, dump
from fhirbridge.records import DateTime
from fhirbridge.sync.opening import open_ledger

audit = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The audit trail: what was asked, sent, denied and handed out; and the proof that nobody changed it.",
)

_MOST_SHOWN = 12
Since = Annotated[str | None, typer.Option(help="Only events from this day or moment on.")]
Until = Annotated[str | None, typer.Option(help="Only events before this day or moment.")]


@audit.command("show")
def show(
    context: typer.Context,
    since: Since = None,
    until: Until = None,
    site: Annotated[str | None, typer.Option(help="Only events at this site.")] = None,
    outcome: Annotated[str | None, typer.Option(help="Only well, refused, failed or unknown.")] = None,
    patient: Annotated[
        bool, typer.Option("--patient", help="Only of one patient, whose identifier is read from standard input.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print it for scripts, one line each.")] = False,
) -> None:
    """List what the trail holds: when, what, where, for which patient (a key), and how it ended.

    An identifier on a command line would stay in the shell's history, so --patient asks for it, or reads one line.

    \b
    fhirbridge audit show --since 2026-11-22 --outcome refused
    fhirbridge audit show --patient --json < identifier.txt
    """
    config = configuration(context)
    if outcome is not None and outcome not in OUTCOMES.values():
        raise UsageError("there is no such outcome", code="usage.outcome", hint=", ".join(OUTCOMES.values()))
    key = _patient(config) if patient else None
    found = (
        one
        for one in map(summary, _events(config, since, until))
        if (site is None or one.site == site)
        and (outcome is None or one.outcome == outcome)
        and (key is None or one.patient == key)
    )
    if json:
        for one in found:
            print_json(one.as_json(), to_stdout=True)
        return
    listing(["time", "what", "site", "patient", "resources", "outcome", "", "id"], map(_row, found))


@audit.command("verify")
def verify(
    context: typer.Context,
    checkpoint: Annotated[
        list[Path] | None, typer.Option(help="File of checkpoints that was kept elsewhere; may be repeated.")
    ] = None,
    archived: Annotated[
        list[Path] | None, typer.Option(help="File of checkpoints of what you have put away; may be repeated.")
    ] = None,
    ledger: Annotated[bool, typer.Option("--ledger", help="Check the ledger's rows as well.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print it for scripts.")] = False,
) -> None:
    """Find every edit, insertion, deletion, reorder and truncation of the audit trail; exit code 1 if there is one.

    Each file names what other files remember of it. Only a checkpoint that was kept elsewhere can tell that the newest
    file, or its last lines, are gone. Files that were put away are named by --archived, else they count as gone.

    \b
    fhirbridge audit verify
    fhirbridge audit verify --checkpoint /mnt/other/checkpoints.ndjson --ledger --json
    """
    config = configuration(context)
    keys = audit_keys(config)
    found = verified(audit_folder(config), keys, _checkpoints(checkpoint, keys), _checkpoints(archived, keys))
    rows = _rows(config) if ledger else []
    if json:
        tree: Tree = {"intact": found.intact and not rows, "files": found.files, "lines": found.lines}
        tree |= {"events": found.events, "findings": [one.as_json() for one in found.findings]}
        print_json(tree | ({"ledger": rows} if ledger else {}), to_stdout=True)
    else:
        _tell(found, checkpointed=bool(checkpoint))
        listing(["ledger row", "what was found"], [[f"{one['table']} {one['id']}", one["what"]] for one in rows])
    if not found.intact or rows:
        raise typer.Exit(FAILED)


@audit.command("checkpoint")
def checkpoint(
    context: typer.Context,
    out: Annotated[str, typer.Option(help="File to add it to; - is standard output.")] = STDOUT,
) -> None:
    """Write down how far every file of the trail has come, sealed, to be kept where nobody can reach it from here.

    Print it, mail it, put it on a disk that can only be written once. The trail is verified first; one that is not
    intact gets no checkpoint.

    \b
    fhirbridge audit checkpoint --out /mnt/other/checkpoints.ndjson
    fhirbridge audit checkpoint | mail -s "audit checkpoint" security@clinic.example
    """
    config = configuration(context)
    folder, keys = audit_folder(config), audit_keys(config)
    found = verified(folder, keys)
    if not found.intact:
        _tell(found, checkpointed=False)
        raise typer.Exit(FAILED)
    names, _ = names_in(folder)
    heads = [head_of(folder / name, keys) for name in names]
    if out == STDOUT:
        sys.stdout.buffer.write(written(heads, time.time(), keys, config.clinic.domain))
        sys.stdout.buffer.flush()
        return
    Checkpoints(Path(out), keys, config.clinic.domain, every=1).add(heads, time.time())
    say(f"{len(heads)} files, {found.events} events")


@audit.command("export")
def export(
    context: typer.Context,
    output: Annotated[str, typer.Option("--output", "-o", help="File to write; - is standard output.")] = STDOUT,
    since: Since = None,
    until: Until = None,
) -> None:
    """Write the events as FHIR AuditEvents, one NDJSON line each, for an audit repository.

    Each has its outcome, and the IHE BALP profile that it follows. What was announced and never ended has none.

    \b
    fhirbridge audit export --since 2026-11-01 -o audit-events.ndjson
    """
    config = configuration(context)
    with open_output(output) as write:
        for event in _events(config, since, until):
            write(dump(event) + b"\n")


def _events(config: Config, since: str | None, until: str | None) -> Iterator[Tree]:
    begin, end = _moment(since), _moment(until)
    for event in events(audit_folder(config), audit_keys(config)):
        recorded = dt.datetime.fromisoformat(str(event["recorded"]))
        if (begin is None or recorded >= begin) and (end is None or recorded < end):
            yield event


def _moment(text: str | None) -> dt.datetime | None:
    """A day is its first moment, in UTC. Raises :class:`UsageError`."""
    if text is None:
        return None
    try:
        return DateTime(text).as_datetime(dt.UTC)
    except (ValueError, PydanticCustomError):
        raise UsageError("that is no day and no moment", code="usage.at", hint="such as 2026-12-01") from None


def _patient(config: Config) -> str:
    """The key of the patient whose identifier is on the first line of standard input. Raises :class:`UsageError`."""
    if sys.stdin.isatty():
        said = typer.prompt("identifier, or SYSTEM|VALUE", hide_input=True, err=True)
    else:
        said = sys.stdin.readline()
    return patient_key(str(said).strip(), config)


def _checkpoints(paths: Sequence[Path] | None, keys: Keys) -> list[Checkpoint]:
    return [one for path in paths or () for one in read_checkpoints(path, keys)]


def _rows(config: Config) -> list[dict[str, str]]:
    """The rows of the ledger that are not what was written. Raises :class:`LedgerError`."""
    with open_ledger(config) as ledger:
        return [{"table": one.table, "id": str(one.id), "what": one.what} for one in ledger.tampered()]


def _tell(found: Verified, *, checkpointed: bool) -> None:
    for one in found.findings:
        say(str(one))
    said = "intact" if found.intact else f"NOT intact: {len(found.faults)} files, each named with its first fault"
    say(f"{found.files} files, {found.lines} lines, {found.events} events: {said}")
    if found.intact and not checkpointed:
        say("without a checkpoint nobody can tell whether the newest file, or its last lines, were removed")


def _row(one: Summary) -> list[str]:
    return [
        one.recorded, one.what, one.site, one.patient[:_MOST_SHOWN], str(one.resources), one.outcome, one.words, one.id,
    ]  # fmt: skip


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(audit, name="audit")
