"""The second pass over a piece: resource → record → consent? → de-identified → rows, in files of the piece's own."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from fhirbridge.binding import Binding, Clinic, Release
from fhirbridge.consent import Act, Policies
from fhirbridge.errors import Fault, JsonError, Refused
from fhirbridge.fhir.json import Tree
from fhirbridge.mapping import Mappings, Reading
from fhirbridge.records import Assessment, Concept, DateTime, Instant, Record, VitalSign
from fhirbridge.records.vitals import Oxygen
from fhirbridge.research import intake
from fhirbridge.research.arrow import PartFile
from fhirbridge.research.columns import Column
from fhirbridge.research.deidentify.clock import Clock
from fhirbridge.research.deidentify.codes import Key, codes_in
from fhirbridge.research.deidentify.facts import PEOPLE, SourceFacts
from fhirbridge.research.deidentify.key import ProjectKey
from fhirbridge.research.deidentify.person import Person
from fhirbridge.research.deidentify.profile import Profile
from fhirbridge.research.deidentify.records import Deidentifier
from fhirbridge.research.people import Facts, People
from fhirbridge.research.permission import NOBODY, Permission
from fhirbridge.research.released import RESOURCE_COLUMNS, RESOURCES, Released
from fhirbridge.research.source import Item, Piece, items
from fhirbridge.research.tables import OF_RECORDS, ROWS, Seen, is_void
from fhirbridge.research.tables.values import day, seconds
from fhirbridge.sources import Line, faults_of, write_reject

# Rows held until they are written.
_MOST_ROWS = 20_000
_INDEX = re.compile(r"\[\d+\]")
_MICROSECONDS = 1_000_000
_NO_MAPPING = "resource.no_mapping"
_OBSERVED = frozenset({VitalSign.kind, Assessment.kind})


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """All that a worker has to know beside the people. ``columns`` are those that the dataset has, by table."""

    clinic: Clinic
    releases: Mapping[str, Release]
    release: Release
    act: Act
    at: dt.datetime
    policies: Policies
    profile: Profile
    key: ProjectKey
    columns: Mapping[str, tuple[Column, ...]]
    folder: Path
    # For the hashes of what must not stand in the dataset; lives as long as the build.
    secret: bytes
    with_resources: bool = False


@dataclass(slots=True, repr=False)
class Moved:
    """What became of a piece: records by kind, what was left out and why, of whom, by which paths.

    ``deferred`` are the places of records with codes of open vocabularies, whose ``codes`` have to be counted first;
    ``facts`` what of the source must not stand in the dataset.
    """

    facts: SourceFacts
    records: Counter[str] = field(default_factory=Counter)
    excluded: Counter[tuple[str, str]] = field(default_factory=Counter)
    excluded_people: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    included_people: set[str] = field(default_factory=set)
    skipped: Counter[str] = field(default_factory=Counter)
    other: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    residue: Counter[str] = field(default_factory=Counter)
    set_aside: Counter[str] = field(default_factory=Counter)
    deferred: set[int] = field(default_factory=set)
    codes: list[tuple[frozenset[Key], str]] = field(default_factory=list)


class _Known(NamedTuple):
    identity: str
    person: Person
    clock: Clock
    seen: Seen


class Transfer:
    """Moves pieces. One for each process: what it learns of the layouts of one piece serves for the next."""

    def __init__(self, plan: Plan, people: People, common: frozenset[Key]) -> None:
        self.plan, self._people = plan, people
        releases = {plan.release, *plan.releases.values()}
        self._mappings = {release: Mappings(Binding(plan.clinic, release)) for release in releases}
        self.permission = Permission(plan.act, plan.at, people.facts, plan.policies)
        self.work = Deidentifier(plan.profile, plan.key, common=common)
        self._known: dict[str, _Known | None] = {}
        self.released = Released(self.work) if plan.with_resources else None

    def move(self, piece: Piece, number: int, lines: int, outdated: set[int], only: set[int] | None = None) -> Moved:
        """Move a piece. ``lines`` come before it in its file; ``only`` those places are meant, which were deferred.

        Raises :class:`SourceError`.
        """
        release = self.plan.releases.get(piece.origin, self.plan.release)
        moving = _Moving(self, self._mappings[release], piece, f"{number:06d}{'' if only is None else '-deferred'}")
        moving.defers, moving.lines = only is None, lines
        try:
            for place, item in enumerate(items(piece)):
                if only is not None and place not in only:
                    continue
                if place in outdated:
                    moving.moved.skipped["an older copy"] += 1
                elif item.deleted is not None:
                    moving.moved.skipped["a deletion"] += 1
                else:
                    moving.item(item, place, number << 32 | place)
        finally:
            moving.close()
        return moving.moved

    def known(self, alias: str) -> _Known | None:
        """The patient whom an alias means; ``None`` where that is in doubt."""
        try:
            return self._known[alias]
        except KeyError:
            identity = self._people.identity(alias)
            found = self._known[alias] = None if identity is None else self._of(identity)
            return found

    def chart(self, identity: str) -> Tree | None:
        """What is needed of a patient's chart, where there is one."""
        facts = self._people.facts.get(identity)
        return None if facts is None else facts.chart

    def _of(self, identity: str) -> _Known:
        facts = self._people.facts.get(identity) or Facts()
        person = person_of(self.work, identity, facts, self.plan.at)
        course = self.work.course(person)
        doses: dict[str, float] = {}
        for session, text in facts.doses:
            moved = course.clock.moved(DateTime(text))
            at = None if moved is None else seconds(moved)
            if at is not None:
                doses[course.names.once("Procedure", session)] = at
        first = None if facts.first_dose is None else course.clock.moved(DateTime(facts.first_dose))
        return _Known(identity, person, course.clock, Seen(person.pseudonym, seconds(first), day(first), doses))


def person_of(work: Deidentifier, identity: str, facts: Facts, at: dt.datetime) -> Person:
    """The patient, as de-identification wants one. Ages are those at ``at``: nobody in the data was older then."""
    chart = facts.chart or {}
    birth, sex = chart.get("birthDate"), chart.get("gender")
    first = facts.first_dose
    return work.person(
        identity,
        first_dose=None if first is None else DateTime(first).as_datetime(),
        birth_date=birth if isinstance(birth, str) else None,
        sex=sex if isinstance(sex, str) else None,
        until=at,
    )


class _Moving:
    """One piece while it is moved: the rows that wait to be written, and the counts."""

    def __init__(self, transfer: Transfer, mappings: Mappings, piece: Piece, name: str) -> None:
        self._transfer, self._mappings, self._piece, self._name = transfer, mappings, piece, name
        self._plan = transfer.plan
        self.moved = Moved(SourceFacts(secret=transfer.plan.secret))
        self.defers = True
        self.lines = 0
        self._rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in OF_RECORDS}
        self._waiting = 0
        self._files: dict[str, PartFile] = {}
        self._lost: Counter[tuple[str, ...]] = Counter()
        self._aside: BinaryIO | None = None

    def item(self, item: Item, place: int, copy: int) -> None:
        if item.fault is not None:
            self._set_aside(item, (item.fault,))
            return
        try:
            if self._mappings.holds_projection(item.body):
                self.moved.skipped["a projection of ours"] += 1
                return
            reading = intake.read(self._mappings, item.body, self._piece.origin)
        except (JsonError, Refused) as error:
            faults = faults_of(error)
            if faults[0].code == _NO_MAPPING:
                self._other(item, copy)
            else:
                self._set_aside(item, faults)
            return
        self._record(reading, item, place, copy)

    def _record(self, reading: Reading, item: Item, place: int, copy: int) -> None:
        record = reading.record
        transfer, moved = self._transfer, self.moved
        known = transfer.known(intake.alias(record.patient))
        if known is None:
            self._exclude("consent", NOBODY, "")
            return
        if is_void(record):
            self._exclude("record", "entered-in-error", known.identity)
            return
        origin, body = self._piece.origin, item.body
        reason = transfer.permission.reason(
            known.identity, record, lambda: intake.tree_of(body, origin), plain=not reading.residue
        )
        if reason:
            self._exclude("consent", reason, known.identity)
            return
        if self.defers and record.kind in _OBSERVED and has_codes(record):
            moved.deferred.add(place)
            moved.codes.append((frozenset(codes_in(record)), known.identity))
            return
        if record.kind not in ROWS:
            moved.other[record.kind] += 1
            return
        pseudonym = known.person.pseudonym
        moved.facts.begin(pseudonym, known.clock)
        moved.facts.record(record, pseudonym)
        found = transfer.work.record(record, known.person)
        self._lost[found.paths] += 1
        if found.record is None:
            self._exclude("de-identification", found.reason, known.identity)
            return
        moved.records[record.kind] += 1
        moved.included_people.add(known.identity)
        for entry in reading.residue:
            moved.residue[f"{record.kind}: {_INDEX.sub('[]', entry.path)}"] += 1
        tail = (_rank(record.revision), copy)
        for table, rows in ROWS[record.kind](found.record, known.seen):
            waiting = self._rows[table]
            before = len(waiting)
            waiting += [row + tail for row in rows]
            self._waiting += len(waiting) - before
        if transfer.released is not None:
            for row in transfer.released.of_record(found.record, pseudonym):
                self._rows.setdefault(RESOURCES, []).append(row + tail)
        if self._waiting >= _MOST_ROWS:
            self._flush()

    def _other(self, item: Item, copy: int) -> None:
        """A resource that no record is made of."""
        origin, transfer, moved = self._piece.origin, self._transfer, self.moved
        tree = intake.tree_of(item.body, origin)
        named, own = tree.get("resourceType"), tree.get("id")
        type_ = named if isinstance(named, str) and named.isalpha() else "(none)"
        if type_ in PEOPLE:
            moved.facts.people(tree)
        alias = intake.address(origin, f"Patient/{own}") if type_ == "Patient" else intake.alias_in(tree)
        known = None if alias is None else transfer.known(alias)
        if known is None:
            moved.other[type_] += 1
            return
        reason = transfer.permission.of_resource(known.identity, tree)
        if reason:
            self._exclude("consent", reason, known.identity)
            return
        moved.other[type_] += 1
        moved.facts.begin(known.person.pseudonym, known.clock)
        moved.facts.resource(tree, known.person.pseudonym)
        if transfer.released is not None:
            found = transfer.released.of_resource(tree, known.person)
            self._lost[found.paths] += 1
            if found.row is not None:
                self._rows.setdefault(RESOURCES, []).append((*found.row, 0, copy))

    def _exclude(self, stage: str, reason: str, identity: str) -> None:
        self.moved.excluded[stage, reason] += 1
        if identity:
            self.moved.excluded_people.setdefault((stage, reason), set()).add(identity)

    def _set_aside(self, item: Item, faults: tuple[Fault, ...]) -> None:
        self.moved.set_aside.update({fault.code for fault in faults})
        if self._aside is None:
            self._aside = (self._plan.folder / f"aside-{self._name}.ndjson").open("wb")
        raw = item.body.decode("utf-8", "backslashreplace") if item.body else None
        self._aside.write(write_reject(Line(self._piece.file, self.lines + item.line, faults=faults, raw=raw)))

    def _flush(self) -> None:
        for table, rows in self._rows.items():
            if not rows:
                continue
            if table not in self._files:
                given = RESOURCE_COLUMNS if table == RESOURCES else OF_RECORDS[table].columns
                path = self._plan.folder / f"{table}-{self._name}.parquet"
                self._files[table] = PartFile(path, given, self._plan.columns.get(table, given))
            self._files[table].write(rows)
            rows.clear()
        self._waiting = 0

    def close(self) -> None:
        """Write what is left, and add up what was left out."""
        self._flush()
        for file in self._files.values():
            file.close()
        if self._aside is not None:
            self._aside.close()
        for paths, count in self._lost.items():
            for path in paths:
                self.moved.dropped[path] += count


# The fields of observations in which somebody else's codes may stand.
_CODED = ("timepoint", "absent_reason", "code", "body_site", "method", "position", "cuff_size", "finding", "scale",
          "answer")  # fmt: skip


def has_codes(record: Record) -> bool:
    """Whether anything that may be shown of an observation is coded in somebody else's words: such codes are shown only
    where enough patients have them."""
    fields = record.__dict__
    for name in _CODED:
        value = fields.get(name)
        if type(value) is Concept and value.codings:
            return True
    for value in (*fields["interpretation"], *(one.absent_reason for one in fields.get("readings", ()))):
        if type(value) is Concept and value.codings:
            return True
    oxygen: Oxygen | None = fields.get("oxygen")
    if oxygen is not None and type(oxygen.delivery) is Concept:
        return True
    return any(type(one.answer) is Concept or type(one.absent_reason) is Concept for one in fields.get("items", ()))


def _rank(revision: int | str) -> int:
    if isinstance(revision, int):
        return revision
    return round(Instant(revision).as_datetime().timestamp() * _MICROSECONDS)
