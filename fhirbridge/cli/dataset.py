"""``fhirbridge dataset``: a de-identified, consented dataset out of resources; and a look at one."""

from __future__ import annotations

import datetime as dt
import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fhirbridge.cli.app import FAILED, configuration, warned
from fhirbridge.cli.console import counting, print_json, say, table
from fhirbridge.cli.stopping import stopped_in_order
from fhirbridge.config import Config
from fhirbridge.errors import ConfigError, UsageError
from fhirbridge.mapping import Release
from fhirbridge.records import DateTime, Identifier, Ref
from fhirbridge.site import clinic, policies

if TYPE_CHECKING:
    from fhirbridge.research.dataset import Consents, Request
    from fhirbridge.research.deidentify.key import ProjectKey

_HELP = """A dataset for research out of FHIR resources: consented, de-identified, checked, ready for analysis.

\b
fhirbridge dataset build harvest/ --study 'https://clinic.example/sid/study|KET-OUTCOMES' --out ket-outcomes
fhirbridge dataset show ket-outcomes/v0001
"""
dataset = typer.Typer(help=_HELP, no_args_is_help=True)
# Public on purpose, like the demo id key.
_DEMO_KEY = hashlib.sha256(b"fhirbridge demonstration project key, not a secret").digest()


@dataset.command("build")
def build(
    context: typer.Context,
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="Folders or files of resources: NDJSON (.gz) or bundles.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the dataset; a version is made in it.")],
    study: Annotated[
        list[str] | None, typer.Option(help="SYSTEM|VALUE of the study, as consents name it; may be repeated.")
    ] = None,
    recipient: Annotated[
        list[str] | None, typer.Option(help="SYSTEM|VALUE of who receives the data; may be repeated.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="De-identification: safe-harbor, limited, shifted, or a file.")
    ] = None,
    project: Annotated[str | None, typer.Option(help="Name of the project: its pseudonyms are its own.")] = None,
    release: Annotated[Release, typer.Option(help="Release of resources whose site is not configured.")] = Release.R4,
    at: Annotated[
        str | None, typer.Option(help="Decide about consents, and ages, as of this moment; else now.")
    ] = None,
    ledger: Annotated[bool, typer.Option("--ledger", help="The clinic's own consents decide too.")] = False,
    resources: Annotated[bool, typer.Option("--resources", help="Also write the de-identified resources.")] = False,
    set_aside: Annotated[Path, typer.Option(help="File for what cannot be read; it names patients.")] = Path(
        "set-aside.ndjson"
    ),
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Processes that read.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print the manifest for scripts.")] = False,
) -> None:
    """Make the next version of a dataset. It appears only when it is whole and the leak check has found nothing.

    Exit code 1: lines were set aside (the dataset is there), or the leak check found something (it is not).

    \b
    fhirbridge dataset build harvest/ --profile shifted --out ket-outcomes
    fhirbridge dataset build bundles/ --study 'https://clinic.example/sid/study|1' --out trial --resources --jobs 2
    """
    _needs_extra()
    from fhirbridge.research import dataset as datasets

    config = warned(configuration(context))
    moment = _moment(at)
    with stopped_in_order(), counting("resources") as tick, _clinics(config, ledger) as clinics:
        request = _request(
            config, tuple(sources), out, study or config.research.studies, recipient or config.research.recipients,
            profile or config.research.profile, project or config.research.project, release, moment, set_aside,
            clinics, resources, jobs,
        )  # fmt: skip
        try:
            built = datasets.build(request, lambda what, count: tick(count))
        except KeyboardInterrupt:
            say("no dataset was made: one appears only when it is whole")
            raise
    counts = built.manifest["counts"]
    if json:
        print_json({"folder": str(built.folder), "set_aside": built.set_aside, **built.manifest}, to_stdout=True)
    else:
        table(["table", "rows"], [[name, str(one["rows"])] for name, one in built.manifest["tables"].items()])
        say(f"{built.folder}: {counts['patients']} patients, content hash {built.manifest['content_hash'][:16]}")
        if counts["excluded"]:
            say("left out: " + ", ".join(f"{count} {reason}" for reason, count in counts["excluded"].items()))
    if built.set_aside:
        say(f"{built.set_aside} lines could not become records, see {set_aside}; that file names patients")
        raise typer.Exit(FAILED)


@dataset.command("show")
def show(
    folder: Annotated[Path, typer.Argument(help="A version of a dataset.")],
    json: Annotated[bool, typer.Option("--json", help="Print it for scripts.")] = False,
) -> None:
    """Show how many of what a dataset has, and the ranges of what was measured. No single patient is shown.

    \b
    fhirbridge dataset show ket-outcomes/v0001
    """
    _needs_extra()
    from fhirbridge.research.check import opened
    from fhirbridge.research.show import summaries

    tree = opened(folder)
    found = summaries(folder)
    if json:
        print_json({"manifest": tree, "summaries": [one._asdict() for one in found]}, to_stdout=True)
        return
    say(f"{tree['project']} {tree['version']}: {tree['profile']['title']}")
    for one in found:
        say(f"\n{one.title}")
        table(one.columns, one.rows)


@dataset.command("check")
def check(
    folder: Annotated[Path, typer.Argument(help="A version of a dataset.")],
    json: Annotated[bool, typer.Option("--json", help="Print it for scripts.")] = False,
) -> None:
    """Verify a dataset: every file and every row as the manifest says, every column as it is declared.

    \b
    fhirbridge dataset check ket-outcomes/v0001
    """
    _needs_extra()
    from fhirbridge.research.check import check as wrong_in

    wrong = list(wrong_in(folder))
    if json:
        print_json({"folder": str(folder), "wrong": wrong}, to_stdout=True)
    for one in wrong if not json else ():
        say(one)
    if wrong:
        raise typer.Exit(FAILED)
    if not json:
        say(f"{folder}: all as the manifest says")


@dataset.command("diff")
def diff(
    before: Annotated[Path, typer.Argument(help="A version of a dataset.")],
    after: Annotated[Path, typer.Argument(help="Another version of it.")],
    json: Annotated[bool, typer.Option("--json", help="Print it for scripts, with the keys of the rows.")] = False,
) -> None:
    """Show which rows came, changed and went between two versions.

    \b
    fhirbridge dataset diff ket-outcomes/v0001 ket-outcomes/v0002
    """
    _needs_extra()
    from fhirbridge.research.check import opened
    from fhirbridge.research.diff import compare

    opened(before), opened(after)
    found = compare(before, after)
    if json:
        print_json(found, to_stdout=True)
        return
    rows = [[name, *(str(count) for count in one["counts"].values())] for name, one in found["tables"].items()]
    table(["table", "added", "changed", "removed"], rows)


@dataset.command("key")
def key() -> None:
    """Print a new project key, for a file that only the clinic can read: research.key = {file = "..."}.

    \b
    fhirbridge dataset key > project.key
    """
    from fhirbridge.research.deidentify.key import ProjectKey

    typer.echo(ProjectKey.generate("new").as_text())


def _request(
    config: Config, sources: tuple[str, ...], out: Path, studies: Sequence[str], recipients: Sequence[str],
    profile: str, project: str, release: Release, at: dt.datetime, set_aside: Path, clinics: Consents | None,
    resources: bool, jobs: int,
) -> Request:  # fmt: skip
    from fhirbridge.consent import Act
    from fhirbridge.research.dataset import Request
    from fhirbridge.research.deidentify.profile import Profile
    from fhirbridge.research.papers import Paper

    settings = config.research
    options = [*(("--study", one) for one in studies), *(("--recipient", one) for one in recipients)]
    options += [("--profile", profile), ("--project", project), ("--release", release.value), ("--at", at.isoformat())]
    options += [("--ledger", "")] * (clinics is not None) + [("--resources", "")] * resources + [("--out", "DIR")]
    return Request(
        sources=sources,
        out=out,
        clinic=clinic(config),
        project=project,
        key=_key(config, project),
        profile=Profile.load(profile),
        act=Act("research", tuple(map(_named, recipients)), tuple(map(_named, studies))),
        at=at,
        set_aside=set_aside,
        release=release,
        releases={name: Release(config.site(name).release) for name in config.sites},
        policies=policies(config),
        clinics=clinics,
        with_resources=resources,
        jobs=jobs,
        paper=Paper(settings.title, settings.authors, settings.licence),
        options=tuple(options),
    )


def _key(config: Config, project: str) -> ProjectKey:
    from fhirbridge.research.deidentify.key import ProjectKey

    said = config.research.key
    if said is not None:
        return ProjectKey.from_text(config.secret(said).decode("ascii", "replace"), project)
    if not config.clinic.demo:
        raise ConfigError(
            "research.key is missing: pseudonyms need a secret", code="config.project_key",
            hint="make one with: fhirbridge dataset key > project.key",
        )  # fmt: skip
    say("warning: the demo project key is public: anybody can undo these pseudonyms; set research.key for real data")
    return ProjectKey(_DEMO_KEY, project)


@contextmanager
def _clinics(config: Config, wanted: bool) -> Iterator[Consents | None]:
    """The clinic's own consents, by the patient's identity, where they are wanted."""
    if not wanted:
        yield None
        return
    from fhirbridge.sync.evidence import read
    from fhirbridge.sync.identity import lane_named
    from fhirbridge.sync.opening import open_ledger

    with open_ledger(config) as ledger:

        def consents(identity: str) -> Sequence[Any]:
            system, _, value = identity.partition("|")
            return read(ledger.consents(lane_named(system, value, config.id_key())))

        yield consents


def _named(text: str) -> Ref:
    system, bar, value = text.partition("|")
    if not (system and bar and value.strip()):
        raise UsageError(
            f"{text}: not SYSTEM|VALUE", code="usage.named", hint="such as https://clinic.example/sid/study|1"
        )
    return Ref(identifier=Identifier(system=system, value=value))


def _moment(text: str | None) -> dt.datetime:
    if text is None:
        return dt.datetime.now(dt.UTC).replace(microsecond=0)
    try:
        return DateTime(text).as_datetime()
    except ValueError:
        raise UsageError("--at: not a day or a moment", code="usage.at", hint="such as 2026-12-01") from None


def _needs_extra() -> None:
    missing = [name for name in ("pyarrow", "duckdb") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"datasets need {' and '.join(missing)}", code="usage.extra", hint="pip install 'fhirbridge[research]'"
        )


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(dataset, name="dataset")
