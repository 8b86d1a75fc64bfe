"""A dataset out of a source: two passes over it, tables, the leak check, and only then a folder under its name.

Nothing appears where the dataset is to be until all of it is written and checked; what was stopped or refused leaves no
trace but the file of what was set aside.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import hashlib
import os
import re
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fhirbridge.binding import Binding, Clinic, Release
from fhirbridge.consent import NO_POLICIES, Act, Decider, Evidence, Policies
from fhirbridge.errors import Leaking, SourceError, UsageError
from fhirbridge.mapping import Mappings
from fhirbridge.research import manifest, papers
from fhirbridge.research.copies import outdated
from fhirbridge.research.deidentify.codes import Census, Key
from fhirbridge.research.deidentify.demographics import demographics
from fhirbridge.research.deidentify.facts import SourceFacts
from fhirbridge.research.deidentify.key import ProjectKey
from fhirbridge.research.deidentify.leaks import Leak, LeakCheck
from fhirbridge.research.deidentify.profile import Profile
from fhirbridge.research.deidentify.records import Deidentifier
from fhirbridge.research.diff import compare
from fhirbridge.research.finish import Finish, Written, columns_of
from fhirbridge.research.output import write_database, write_resources, write_sdtm, write_views
from fhirbridge.research.people import People, forbidding, people
from fhirbridge.research.permission import Permission
from fhirbridge.research.source import Piece, pieces
from fhirbridge.research.survey import Survey, survey
from fhirbridge.research.tables import OF_RECORDS, TABLES, patients
from fhirbridge.research.transfer import Moved, Plan, Transfer, person_of
from fhirbridge.research.workers import each
from fhirbridge.sources import WholeFile

_VERSION = re.compile(r"v([0-9]{4,})")
Tick = Callable[[str, int], None]
Consents = Callable[[str], Sequence[Evidence]]


@dataclass(frozen=True, slots=True, repr=False)
class Request:
    """What a dataset is to be made of, and how. ``clinics`` gives the clinic's own consents of a patient, by identity,
    where there is a ledger of them; ``releases`` are those of the servers of the source, by folder.
    """

    sources: tuple[str, ...]
    out: Path
    clinic: Clinic
    project: str
    key: ProjectKey
    profile: Profile
    act: Act
    at: dt.datetime
    set_aside: Path
    release: Release = Release.R4
    releases: Mapping[str, Release] = field(default_factory=dict)
    policies: Policies = NO_POLICIES
    clinics: Consents | None = None
    with_resources: bool = False
    jobs: int = 1
    paper: papers.Paper = field(default_factory=papers.Paper)
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class Built:
    """A finished dataset: where it is, its manifest, and how many lines were set aside."""

    folder: Path
    manifest: Mapping[str, Any]
    set_aside: int


def build(request: Request, tick: Tick = lambda what, count: None) -> Built:
    """Make a dataset. ``tick`` hears what is being done, and how far it is.

    Raises :class:`SourceError` (nothing to read, consents that cannot be read), :class:`Leaking`,
    :class:`UsageError` where nothing can be written.
    """
    with _workplace(request.out) as (work, name, before):
        found = _Build(request, work, tick).run(name, before)
        _appear(work / "dataset", request.out / name)
    return Built(request.out / name, found.manifest, found.set_aside)


def versions(out: Path) -> list[Path]:
    """The finished versions of a dataset, oldest first."""
    if not out.is_dir():
        return []
    return sorted(
        (path for path in out.iterdir() if _VERSION.fullmatch(path.name) and (path / manifest.MANIFEST).is_file()),
        key=lambda path: int(path.name[1:]),
    )


@contextlib.contextmanager
def _workplace(out: Path) -> Iterator[tuple[Path, str, Path | None]]:
    """A temporary folder beside the versions, the name of the next one, and the last one there is."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        known = versions(out)
        number = int(known[-1].name[1:]) + 1 if known else 1
        work = Path(tempfile.mkdtemp(prefix=f".v{number:04d}.", suffix=".part", dir=out))
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror or 'cannot be written'}", code="usage.output") from None
    try:
        (work / "dataset").mkdir()
        (work / "parts").mkdir()
        yield work, f"v{number:04d}", known[-1] if known else None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _appear(made: Path, place: Path) -> None:
    """Give the finished folder its name; where another build took it meanwhile, this one gives way."""
    if place.exists():
        raise UsageError(f"{place}: another build has just made it", code="usage.output", hint="build again")
    for path in made.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    made.rename(place)


@dataclass(frozen=True, slots=True)
class _Made:
    manifest: dict[str, Any]
    set_aside: int


@dataclass(frozen=True, slots=True)
class _Task:
    """One piece for the second pass."""

    piece: Piece
    number: int
    lines: int
    outdated: set[int]
    only: set[int] | None = None


class _Build:
    """One build, step by step."""

    def __init__(self, request: Request, work: Path, tick: Tick) -> None:
        self._request, self._tick = request, tick
        self._parts, self._folder = work / "parts", work / "dataset"
        dates = request.profile.times.dates
        self._columns = columns_of(dates=dates != "from-first-dose", years=dates != "shift")
        self._secret = secrets.token_bytes(16)
        words = papers.words(request.paper, request.project, request.profile)
        self._facts = SourceFacts(words, secret=self._secret)
        self._seen = 0
        self._tables: dict[str, Written] = {}
        self._leaks: list[Leak] = []

    def run(self, name: str, before: Path | None) -> _Made:
        cut = pieces(self._request.sources)
        surveys = self._survey(cut)
        old = outdated([one.copies for one in surveys])
        everybody = people(surveys, old, Binding(self._request.clinic, self._request.release).sid("patient"))
        self._hear(everybody)
        permission = Permission(self._request.act, self._request.at, everybody.facts, self._request.policies)
        moved = self._transfer(cut, surveys, old, everybody, permission)
        total = _added(moved)
        set_aside = self._set_aside()
        check = LeakCheck(self._facts, self._request.profile)
        self._write_tables(check, total, everybody, permission)
        self._write_papers(check, name)
        tree = self._manifest(name, before, surveys, total, everybody)
        if before is not None:
            difference = compare(before, self._folder)
            self._text("diff.json", papers.as_json(difference))
            tree["changes"] = {table: one["counts"] for table, one in difference["tables"].items()}
        self._check_files(check)
        tree["files"] = manifest.file_hashes(self._folder)
        manifest.write(self._folder, tree)
        self._leaks += check.check_file(self._folder / manifest.MANIFEST)
        if self._leaks:
            raise Leaking(self._leaks)
        return _Made(tree, set_aside)

    # ----------------------------------------------------------------------------------------------- reading
    def _survey(self, cut: Sequence[Piece]) -> list[Survey]:
        request, found = self._request, []
        make = functools.partial(_Surveyor, request.clinic, request.release, dict(request.releases))
        for one in each(request.jobs, make, _surveyed, list(enumerate(cut))):
            found.append(one)
            self._seen += len(one.copies.who)
            self._tick("looking through resources", self._seen)
        lost = sum(len(one.lost_consents) for one in found)
        if lost:
            where = [f"{Path(piece.file).name}" for piece, one in zip(cut, found, strict=True) if one.lost_consents]
            raise SourceError(
                f"{lost} lines may be consents, and cannot be read or do not say whose they are"
                f" ({', '.join(sorted(set(where))[:5])})",
                code="dataset.lost_consents",
                hint="a refusal may stand there: mend the lines, or take them out",
            )
        return found

    def _hear(self, everybody: People) -> None:
        """The clinic's own consents beside those of the source."""
        if self._request.clinics is None:
            return
        for identity, facts in everybody.facts.items():
            facts.evidence = [*self._request.clinics(identity), *forbidding(facts.evidence)]

    def _transfer(
        self,
        cut: Sequence[Piece],
        surveys: Sequence[Survey],
        old: list[set[int]],
        everybody: People,
        permission: Permission,
    ) -> list[Moved]:
        census = Census(self._request.profile.codes)
        for survey_, outdated_ in zip(surveys, old, strict=True):
            for place, alias, codes in survey_.codes:
                identity = everybody.identity(alias)
                if place not in outdated_ and identity is not None and not permission.of_person(identity):
                    census.add(codes, identity)
        tasks = [
            _Task(piece, number, lines, old[number])
            for number, (piece, lines) in enumerate(zip(cut, _lines_before(cut, surveys), strict=True))
        ]
        moved = self._moved(tasks, everybody, census.common())
        for one in moved:
            for codes, identity in one.codes:
                census.add(codes, identity)
        deferred = [
            _Task(task.piece, task.number, task.lines, task.outdated, one.deferred)
            for task, one in zip(tasks, moved, strict=True)
            if one.deferred
        ]
        if deferred:
            moved += self._moved(deferred, everybody, census.common())
        return moved

    def _moved(self, tasks: Sequence[_Task], everybody: People, common: frozenset[Key]) -> list[Moved]:
        request, found = self._request, []
        plan = Plan(
            clinic=request.clinic,
            releases=dict(request.releases),
            release=request.release,
            act=request.act,
            at=request.at,
            policies=request.policies,
            profile=request.profile,
            key=request.key,
            columns={name: self._columns[name] for name in OF_RECORDS},
            folder=self._parts,
            secret=self._secret,
            with_resources=request.with_resources,
        )
        done = 0
        for one in each(request.jobs, functools.partial(Transfer, plan, everybody, common), _moved, tasks):
            # Put together at once: what every piece remembers would fill the memory.
            self._facts.merge(one.facts)
            one.facts = SourceFacts(secret=self._secret)
            found.append(one)
            done += one.records.total() + one.excluded.total() + one.skipped.total() + one.other.total()
            self._tick("de-identifying resources", done)
        return found

    def _set_aside(self) -> int:
        """Put together what was set aside; it names patients, so it is no part of the dataset."""
        files = sorted(self._parts.glob("aside-*.ndjson"))
        if not files:
            return 0
        count = 0
        place = self._request.set_aside
        with WholeFile(place) as whole:
            for path in files:
                with path.open("rb") as file:
                    for line in file:
                        count += 1
                        whole.write(line)
        return count

    # ----------------------------------------------------------------------------------------------- writing
    def _write_tables(self, check: LeakCheck, total: Moved, everybody: People, permission: Permission) -> None:
        def look(table: Any, columns: Any, name: str) -> None:
            self._leaks += check.check_table(table, columns, name)

        with Finish(self._parts, self._folder, self._columns, look) as finish:
            for name, shape in OF_RECORDS.items():
                self._tick(f"writing {name}", 0)
                self._tables[name] = finish.of_records(shape)
            self._tables["session_course"] = finish.course()
            rows = self._patients(total, everybody, permission)
            self._tables["patients"] = finish.patients(rows)
            if self._request.with_resources:
                self._tick("writing resources", 0)
                self._leaks += write_resources(finish.resources(), self._folder, check)
        self._tick("writing sdtm and the DuckDB file", 0)
        columns = {name: one.columns for name, one in self._tables.items()}
        write_sdtm(self._folder, self._request.project, columns, look)
        write_database(self._folder, [self._tables[name] for name in TABLES])

    def _patients(self, total: Moved, everybody: People, permission: Permission) -> list[tuple[Any, ...]]:
        request = self._request
        work = Deidentifier(request.profile, request.key)
        rows = []
        for identity in sorted(total.included_people):
            facts = everybody.of(identity)
            assert facts is not None  # somebody in doubt is not included
            person = person_of(work, identity, facts, request.at)
            chart = facts.chart
            told = chart if chart is not None and not permission.of_resource(identity, chart) else {}
            if not told:
                person = work.person(identity, first_dose=person.first_dose, until=person.until)
            years = request.profile.times.dates != "shift" and facts.first_dose is not None
            year = int(facts.first_dose[:4]) if years and facts.first_dose is not None else None
            rows.append(patients.row(demographics(told, person, request.profile), year, known=bool(told)))
        return rows

    def _write_papers(self, check: LeakCheck, name: str) -> None:
        request = self._request
        tables = [(TABLES[table], self._columns[table]) for table in TABLES]
        entries = manifest.dictionary(tables)
        self._text("dictionary.csv", manifest.dictionary_csv(entries))
        self._text("dictionary.json", papers.as_json(entries))
        self._text("README.md", papers.readme(request.paper, request.project, name, request.profile, self._rows()))
        self._text("CITATION.cff", papers.citation(request.paper, request.project, name, request.at))
        write_views(self._folder)

    def _rows(self) -> dict[str, int]:
        return {name: self._tables[name].rows for name in TABLES}

    def _text(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text, "utf-8")

    def _check_files(self, check: LeakCheck) -> None:
        self._tick("checking for leaks", 0)
        for path in sorted(self._folder.rglob("*")):
            # Resources were looked at one by one, with the patient in mind.
            if path.is_file() and path.suffix != ".ndjson":
                self._leaks += check.check_file(path)

    def _manifest(
        self, name: str, before: Path | None, surveys: Sequence[Survey], total: Moved, everybody: People
    ) -> dict[str, Any]:
        request = self._request
        types: Counter[str] = Counter()
        for one in surveys:
            types.update(one.types)
        found = manifest.exclusions(total.excluded, total.excluded_people, total.included_people)
        self._text("exclusions.csv", manifest.exclusions_csv(found))
        hashes = {table: (one.rows, one.hash) for table, one in self._tables.items()}
        return {
            "format": manifest.FORMAT,
            "project": request.project,
            "version": name,
            "previous": None if before is None else before.name,
            "content_hash": manifest.content_hash(hashes),
            "made_with": manifest.made_with(),
            "profile": {
                "name": request.profile.name,
                "title": request.profile.title,
                "label": request.profile.label,
                "digest": request.profile.digest,
            },
            "consent": {
                "act": request.act.name,
                "at": request.at.isoformat(),
                "clinics_own": request.clinics is not None,
                "snapshot": self._snapshot(everybody),
            },
            "source": {
                "digest": hashlib.sha256(b"".join(one.digest for one in surveys)).hexdigest(),
                "resources": manifest.ordered(types),
            },
            "counts": {
                "patients": self._tables["patients"].rows,
                "records": manifest.ordered(total.records),
                "other": manifest.ordered(total.other),
                "skipped": manifest.ordered(total.skipped),
                "set_aside": manifest.ordered(total.set_aside),
                "excluded": {f"{one.stage}: {one.reason}": manifest.shown(one.resources) for one in found},
            },
            "tables": {table: {"rows": self._tables[table].rows, "hash": self._tables[table].hash} for table in TABLES},
            "left_out": manifest.ordered(total.dropped),
            "residue": manifest.ordered(total.residue),
            "k_anonymity": papers.anonymity(self._folder / "patients.parquet", self._columns["patients"]),
            "reproduce": manifest.command(request.options),
        }

    def _snapshot(self, everybody: People) -> str:
        """A digest of the consents that decided: keyed by the project, so that nobody can be looked up in it."""
        lines = []
        for identity, facts in everybody.facts.items():
            versions_ = Decider(facts.evidence, self._request.policies).versions
            lines.append(self._request.key.pseudonym("consents", f"{identity}|{versions_}"))
        return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


class _Surveyor:
    """What a process needs for the first pass."""

    def __init__(self, clinic: Clinic, release: Release, releases: Mapping[str, Release]) -> None:
        self._release, self._releases = release, releases
        self._mappings = {one: Mappings(Binding(clinic, one)) for one in {release, *releases.values()}}

    def mappings(self, origin: str) -> Mappings:
        """Those of the server that a piece came from."""
        return self._mappings[self._releases.get(origin, self._release)]


def _surveyed(surveyor: _Surveyor, item: tuple[int, Piece]) -> Survey:
    number, piece = item
    return survey(piece, number, surveyor.mappings(piece.origin))


def _moved(transfer: Transfer, task: _Task) -> Moved:
    return transfer.move(task.piece, task.number, task.lines, task.outdated, task.only)


def _lines_before(cut: Sequence[Piece], surveys: Sequence[Survey]) -> Iterator[int]:
    """How many lines of its file come before each piece."""
    before: Counter[str] = Counter()
    for piece, one in zip(cut, surveys, strict=True):
        yield before[piece.file]
        before[piece.file] += one.lines


def _added(moved: Sequence[Moved]) -> Moved:
    total = Moved(SourceFacts(secret=bytes(16)))
    for one in moved:
        for name in ("records", "excluded", "skipped", "other", "dropped", "residue", "set_aside"):
            getattr(total, name).update(getattr(one, name))
        for reason, who in one.excluded_people.items():
            total.excluded_people.setdefault(reason, set()).update(who)
        total.included_people |= one.included_people
    return total
