"""A record with its resources, and what orders the revisions of one record. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from fhirbridge.consent import NO_POLICIES, Policies, labels_of
from fhirbridge.consent.labels import ACT_CODE, codes_of, marks_of
from fhirbridge.fhir.json import Tree
from fhirbridge.mapping import Mappings, Part
from fhirbridge.records import Instant, Record
from fhirbridge.sources.lines import Line
from fhirbridge.sync.references import Pointer

# v3-ActCode: no redisclosure without consent directive.
NOTICE: Tree = {"system": ACT_CODE, "code": "NORDSCLCD"}
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


def planned(line: Line, record: Record, mappings: Mappings, policies: Policies = NO_POLICIES) -> Planned:
    """Map one record, labelled as the clinic's ``policies`` want its content labelled.

    Raises :class:`NotExpressible` and the other refusals of a mapping.
    """
    written = mappings.to_fhir(record, line.residue)
    more = _labels(record, written.parts, policies).difference(record.sensitivity)
    if more:
        # Labels are the record's own, so that they stand in every resource of it and are read back from there.
        record = record.model_copy(update={"sensitivity": (*record.sensitivity, *sorted(more))})
        written = mappings.to_fhir(record, line.residue)
    part_2 = marks_of(frozenset(record.sensitivity)).substance_use
    parts = tuple(map(_with_notice, written.parts)) if part_2 else written.parts
    return Planned(line, record, parts, written.dropped)


def _with_notice(part: Part) -> Part:
    """The resource with the notice that has to go along with substance use records (42 CFR 2.32)."""
    meta = part.resource.get("meta", {})
    security = meta.get("security", [])
    if any(isinstance(one, dict) and one.get("code") == NOTICE["code"] for one in security):
        return part
    resource = part.resource | {"meta": meta | {"security": [*security, NOTICE]}}
    return Part(part.role, part.resource_type, part.id, resource)


def _labels(record: Record, parts: Iterable[Part], policies: Policies) -> frozenset[str]:
    if not policies.labels:
        return frozenset()
    codes = frozenset[tuple[str, str]]().union(*(codes_of(part.resource) for part in parts))
    return labels_of(codes, record.kind, policies.labels)


def revision_key(revision: int | str) -> RevisionKey:
    """What orders revisions: numbers by value, instants by moment, and a number never beats an instant."""
    return (0, revision) if isinstance(revision, int) else (1, Instant(revision).as_datetime())


def revision_of(text: str) -> int | str:
    """A revision as the ledger keeps it, as a record has it."""
    return int(text) if text.isdecimal() else text


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
