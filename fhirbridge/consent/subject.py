"""What an act is about: one resource, or what would be one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from fhirbridge.consent.labels import codes_of, labels_of
from fhirbridge.consent.policies import NO_POLICIES, Policies
from fhirbridge.fhir.json import Json, Tree
from fhirbridge.records.base import Identifier, Ref, filler

RETRACTION = "retraction"


class Part(NamedTuple):
    """Labelled content that can be left out (or masked, where FHIR wants the element), while the rest still says what
    it said.
    """

    label: str
    name: str
    means: Literal["omit", "mask"] = "omit"


@dataclass(frozen=True, slots=True)
class Subject:
    """One resource, as consents look at it.

    ``kind`` is the record's, or ``retraction`` for what is taken back; ``codes`` are all (system, code) in it;
    ``labels`` what it carries beside its ``parts``; ``start`` and ``end`` are FHIR times of the data; ``own`` are the
    names by which a consent may name just this resource, ``related`` what it refers to, ``authors`` who made it;
    ``document_types`` are for documents, ``state`` is that of a consent. What is left out is not known, which is never
    taken for "not there", but for codes and labels.
    """

    kind: str
    resource_type: str = ""
    codes: frozenset[tuple[str, str]] = frozenset()
    labels: frozenset[str] = frozenset()
    start: str | None = None
    end: str | None = None
    own: tuple[Ref, ...] = ()
    related: tuple[Ref, ...] = ()
    authors: tuple[Ref, ...] = ()
    document_types: frozenset[tuple[str, str]] = frozenset()
    parts: frozenset[Part] = frozenset()
    state: str | None = None

    def __repr__(self) -> str:
        return f"Subject({self.kind}, {self.resource_type})"


# All that an answer can depend on, beside labels.
EVERYTHING = frozenset({"types", "codes", "period", "data"})
# Where each resource type says when its data are from: a period, or a moment. The first that is there counts.
_WHEN = (
    "effectivePeriod", "effectiveDateTime", "effectiveInstant", "performedPeriod", "performedDateTime",
    "occurrencePeriod", "occurrenceDateTime", "occurencePeriod", "occurenceDateTime", "actualPeriod", "period",
    "onsetPeriod", "onsetDateTime", "detected", "dateTime", "date", "authored", "authoredOn", "issued", "recordedDate",
    "sent", "started", "created", "recorded",
)  # fmt: skip
# A period without an end goes on.
_OPEN = "9999"
_AUTHORS = frozenset(
    {"performer", "author", "recorder", "asserter", "contributor", "participant", "informationSource", "attester"}
)
DOCUMENTS = frozenset({"DocumentReference", "Composition", "DiagnosticReport", "Bundle", "Binary", "DocumentManifest"})
_new_ref, _new_identifier = filler(Ref), filler(Identifier)


def subject_of(
    resource: Tree,
    kind: str,
    policies: Policies = NO_POLICIES,
    *,
    looks_at: frozenset[str] = EVERYTHING,
    parts: frozenset[Part] = frozenset(),
    state: str | None = None,
) -> Subject:
    """The subject that a resource is. Nothing in it is checked: what is malformed counts as not known.

    ``looks_at`` is what :meth:`Decider.looks_at` says: to find only what the answer can depend on is much faster.
    """
    resource_type = resource.get("resourceType")
    type_ = resource_type if isinstance(resource_type, str) else ""
    start, end = _when(resource) if "period" in looks_at else (None, None)
    references = tuple(_references(resource)) if "data" in looks_at else ()
    return Subject(
        kind=kind,
        resource_type=type_,
        codes=codes_of(resource) if "codes" in looks_at else frozenset(),
        labels=labels_of(resource, kind, policies.labels),
        start=start,
        end=end,
        own=tuple(_own(resource, type_)) if "data" in looks_at else (),
        related=tuple(ref for _, ref in references),
        authors=tuple(ref for place, ref in references if place in _AUTHORS),
        document_types=codes_of(resource.get("type")) if type_ in DOCUMENTS else frozenset(),
        parts=parts,
        state=state,
    )


def _when(resource: Tree) -> tuple[str | None, str | None]:
    for name in _WHEN:
        said = resource.get(name)
        if isinstance(said, str):
            return said, None
        if isinstance(said, dict):
            start, end = said.get("start"), said.get("end")
            return start if isinstance(start, str) else None, end if isinstance(end, str) else _OPEN
    return None, None


def _own(resource: Tree, type_: str) -> Iterator[Ref]:
    listed = resource.get("identifier")
    for one in listed if isinstance(listed, list) else [listed]:
        if isinstance(one, dict) and isinstance(one.get("value"), str):
            yield _ref(type_ or None, one, None)
    own = resource.get("id")
    if isinstance(own, str) and type_:
        yield _ref(type_, None, f"{type_}/{own}")


def _references(resource: Tree) -> Iterator[tuple[str, Ref]]:
    """The references in a resource with the element of the resource in which each stands."""
    for place, element in resource.items():
        pending: list[Json] = [element]
        while pending:
            node = pending.pop()
            if isinstance(node, list):
                pending += node
            elif isinstance(node, dict):
                address, identifier = node.get("reference"), node.get("identifier")
                type_ = node.get("type") if isinstance(node.get("type"), str) else None
                if isinstance(identifier, dict) and isinstance(identifier.get("value"), str):
                    yield place, _ref(type_, identifier, None)
                if isinstance(address, str):
                    yield place, _ref(type_, None, address)
                pending += node.values()


def _ref(type_: str | None, identifier: Tree | None, literal: str | None) -> Ref:
    named: Any = None
    if identifier is not None:
        system = identifier.get("system")
        values = {"system": system if isinstance(system, str) else None, "value": identifier["value"]}
        named = _new_identifier({"type": None, "use": None, **values})
    made: Ref = _new_ref({"type": type_, "identifier": named, "display": None, "literal": literal})
    return made
