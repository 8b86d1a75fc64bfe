"""What will be sent, and in which order. Pure: records in, groups of planned records out.

One group has one patient; nothing of two patients is ever in one bundle. Within a group the revisions of a record
follow each other in rounds, never two of them in one bundle, and what others point to comes first.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from fhirbridge.errors import Fault
from fhirbridge.fhir.bundle import Address, BundleType
from fhirbridge.fhir.json import Tree, canonical
from fhirbridge.mapping import Mappings, Part
from fhirbridge.records import Instant, Record, Ref, to_json
from fhirbridge.sources.lines import Line
from fhirbridge.sync.references import Pointer, pointers, rank

RevisionKey = tuple[int, int | dt.datetime]


@dataclass(frozen=True, slots=True)
class Planned:
    """A record that can be said in the site's release, with its resources."""

    line: Line = field(repr=False)
    record: Record
    parts: tuple[Part, ...]
    dropped: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Which record it is, whatever its revision."""
        return self.record.kind, self.record.id


def planned(line: Line, record: Record, mappings: Mappings) -> Planned:
    """Map one record. Raises :class:`NotExpressible` and the other refusals of a mapping."""
    written = mappings.to_fhir(record, line.residue)
    return Planned(line, record, written.parts, written.dropped)


def by_patient(records: Iterable[Planned]) -> list[tuple[Ref, list[Planned]]]:
    """Records grouped by patient, groups and records in the order in which they came."""
    groups: dict[bytes, tuple[Ref, list[Planned]]] = {}
    for one in records:
        patient = one.record.patient
        # What the reference displays must not part one patient's records.
        same = patient if patient.identifier is None else patient.model_copy(update={"display": None})
        key = canonical(to_json(same))
        groups.setdefault(key, (patient, []))[1].append(one)
    return list(groups.values())


def revision_key(revision: int | str) -> RevisionKey:
    """What orders revisions: numbers by value, instants by moment, and a number never beats an instant."""
    return (0, revision) if isinstance(revision, int) else (1, Instant(revision).as_datetime())


def rounds(records: Sequence[Planned]) -> tuple[list[list[Planned]], list[tuple[Planned, Fault | None]]]:
    """The records in rounds, the n-th revision of each in the n-th round, and those that came twice.

    One that came twice has a fault if the two say different things.
    """
    versions: dict[tuple[str, str], list[Planned]] = {}
    for one in records:
        versions.setdefault(one.key, []).append(one)
    result: list[list[Planned]] = []
    duplicates: list[tuple[Planned, Fault | None]] = []
    for several in versions.values():
        several.sort(key=lambda one: revision_key(one.record.revision))
        kept: list[Planned] = []
        for one in several:
            if kept and revision_key(kept[-1].record.revision) == revision_key(one.record.revision):
                same = canonical(to_json(kept[-1].record)) == canonical(to_json(one.record))
                duplicates.append((one, None if same else _CONFLICT))
            else:
                kept.append(one)
        for number, one in enumerate(kept):
            if number == len(result):
                result.append([])
            result[number].append(one)
    return result, duplicates


def own_pointers(part: Part) -> Iterator[Pointer]:
    """The logical references that mean this resource: its type with each of its identifiers."""
    listed = part.resource.get("identifier")
    # R4 AdverseEvent has a single identifier.
    for one in listed if isinstance(listed, list) else [listed]:
        if isinstance(one, dict) and isinstance(one.get("value"), str):
            yield part.resource_type, one.get("system", ""), one["value"]


def ordered(records: Sequence[Planned]) -> list[list[Planned]]:
    """The records of a round in levels: each level points only into those before it, or at itself in a circle."""
    owners = {pointer: one.key for one in records for part in one.parts for pointer in own_pointers(part)}
    by_type: dict[int, list[Planned]] = {}
    for one in records:
        by_type.setdefault(rank(one.parts[0].resource_type), []).append(one)
    levels: list[list[Planned]] = []
    for _, waiting in sorted(by_type.items()):
        left = {one.key: one for one in waiting}
        while left:
            free = [one for one in left.values() if not _waits(one, owners, left)]
            # In a circle nobody is free; they go together, and point to each other only logically.
            level = free or list(left.values())
            levels.append(level)
            gone = {one.key for one in level}
            left = {key: one for key, one in left.items() if key not in gone}
    return levels


def _waits(one: Planned, owners: dict[Pointer, tuple[str, str]], left: dict[tuple[str, str], Planned]) -> bool:
    targets = (owners.get(pointer) for part in one.parts for pointer in pointers(part.resource))
    return any(target in left and target != one.key for target in targets if target is not None)


def packed(levels: Iterable[Sequence[Planned]], limit: int, kind: BundleType) -> Iterator[list[Planned]]:
    """Levels cut into bundles of at most ``limit`` resources; a record stays whole, even one that is over the limit.

    A transaction may hold several levels, for it is judged as a whole; a batch holds one.
    """
    current: list[Planned] = []
    size = 0
    for level in levels:
        for one in level:
            if current and size + len(one.parts) > limit:
                yield current
                current, size = [], 0
            current.append(one)
            size += len(one.parts)
        if kind == "batch" and current:
            yield current
            current, size = [], 0
    if current:
        yield current


def addresses(records: Iterable[Planned]) -> list[Address]:
    """Where the resources of these records go."""
    return [Address(part.resource_type, part.id) for one in records for part in one.parts]


def newest_revision(resource: Tree, systems: frozenset[str]) -> RevisionKey | None:
    """The newest revision a server's copy carries in its tags; servers merge tags, so there may be several."""
    meta = resource.get("meta")
    tags = meta.get("tag") if isinstance(meta, dict) else None
    found = []
    for tag in tags if isinstance(tags, list) else ():
        if isinstance(tag, dict) and tag.get("system") in systems and isinstance(tag.get("code"), str):
            code = tag["code"]
            try:
                found.append(revision_key(int(code) if code.isdecimal() and len(code) < 20 else code))
            except ValueError:
                continue
    return max(found, default=None)


_CONFLICT = Fault(
    "revision.conflict", "revision", "the same revision of this record came with other content", "raise the revision"
)
