"""A record with its resources, and what orders the revisions of one record. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field

from fhirbridge.fhir.json import Tree
from fhirbridge.mapping import Mappings, Part
from fhirbridge.records import Instant, Record
from fhirbridge.sources.lines import Line
from fhirbridge.sync.references import Pointer

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


def revision_key(revision: int | str) -> RevisionKey:
    """What orders revisions: numbers by value, instants by moment, and a number never beats an instant."""
    return (0, revision) if isinstance(revision, int) else (1, Instant(revision).as_datetime())


def own_pointers(resource: Tree) -> Iterator[Pointer]:
    """The logical references that mean this resource: its type with each of its identifiers."""
    listed = resource.get("identifier")
    # R4 AdverseEvent has a single identifier.
    for one in listed if isinstance(listed, list) else [listed]:
        if isinstance(one, dict) and isinstance(one.get("value"), str):
            yield resource.get("resourceType", ""), one.get("system", ""), one["value"]


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
