"""Mappings: the binding of a record kind to its resources, both ways, and the registry of kinds.

kind = kinds()["session"]                       # found through the entry-point group "fhirbridge.mappings"
mappings = Mappings(Binding(clinic, Release.R4))
written = mappings.to_fhir(record)              # parts: the primary resource, then projections
reading = mappings.from_fhir(resource)          # the record, and the residue it cannot hold
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, NamedTuple

from fhirbridge.binding import Binding, Clinic, Overlay, Release
from fhirbridge.codec.element import Rules
from fhirbridge.codec.extension import Simple
from fhirbridge.errors import ConfigError, Fault, NotExpressible, RecordRefused, Refused, ResourceRefused
from fhirbridge.fhir.bundle import is_id
from fhirbridge.fhir.json import Json, Tree, parse_object
from fhirbridge.layout import Claim, Layouts, every
from fhirbridge.records import Record, parse, to_json
from fhirbridge.residue import Entry, difference, lay, leaves
from fhirbridge.spelling import Spelling

__all__ = [
    "Binding",
    "BoundMapping",
    "Clinic",
    "Entry",
    "Kind",
    "Mappings",
    "Overlay",
    "Part",
    "Reading",
    "Release",
    "Written",
    "kinds",
]

PRIMARY = "primary"
ENTRY_POINTS = "fhirbridge.mappings"
# An element that changes the meaning of what stands around it: not understood means not read (promise 23).
_MODIFIERS = ("modifierExtension", "implicitRules")
# Members that say in other words what a code or a unit beside them says.
_ANNOTATIONS = frozenset({"display", "text", "version", "userSelected", "unit"})


@dataclass(frozen=True, slots=True)
class Part:
    """One resource of a record. ``role`` is ``primary`` or names a projection; the resource is never changed in
    place.
    """

    role: str
    resource_type: str
    id: str
    resource: Tree

    def __repr__(self) -> str:
        return f"Part({self.role}, {self.resource_type}/{self.id})"


@dataclass(frozen=True, slots=True, repr=False)
class Written:
    """What a record becomes: the primary first, then projections; ``dropped`` are residue paths an edit displaced."""

    parts: tuple[Part, ...]
    dropped: tuple[str, ...] = ()


class Reading(NamedTuple):
    """What a resource becomes: the record, and what the record cannot hold, by path."""

    record: Record
    residue: tuple[Entry, ...] = ()

    def __repr__(self) -> str:
        return "Reading(…)"


Profiles = Callable[[Any, Tree], tuple[str, ...]]
Projections = Callable[[Any, Tree], Iterable[Part]]


def no_profiles(record: Any, resource: Tree) -> tuple[str, ...]:
    """Claims no profile."""
    return ()


def no_projections(record: Any, resource: Tree) -> Iterable[Part]:
    """Makes no projection."""
    return ()


class BoundMapping:
    """One kind, bound to a clinic, a release and an overlay.

    ``rules`` describe the whole resource but for ``resourceType``, ``id`` and ``meta.profile``; ``profiles`` says which
    profiles the written content satisfies (decision D4); ``projections`` makes the further parts; ``spellings`` are
    URLs that others use for one of ours.
    """

    def __init__(
        self,
        kind: Kind,
        binding: Binding,
        rules: Rules,
        *,
        profiles: Profiles = no_profiles,
        projections: Projections = no_projections,
        spellings: Mapping[str, str] | None = None,
    ) -> None:
        self.kind, self.binding, self.rules = kind, binding, rules
        self.profiles, self._projections = profiles, projections
        self.carries = frozenset(rules.carries)
        aliases = {alias: rule.url for rule in rules.rules if isinstance(rule, Simple) for alias in rule.aliases}
        self.spelling = Spelling(binding, aliases | dict(spellings or {}))

    def to_fhir(self, record: Record, residue: Iterable[Entry] = ()) -> Written:
        """The resources of a record. Raises :class:`NotExpressible` where the release cannot say it (decision D6)."""
        try:
            resource = self.primary(record)
            projections = tuple(self._projections(record, resource))
        except Refused as refused:
            raise NotExpressible(refused.faults) from None
        dropped: tuple[str, ...] = ()
        own_id: str = resource["id"]
        entries = tuple(residue)
        if entries:
            resource, dropped = self._laid(record, entries, resource)
        # A resource that came without an id gets ours as the address of its part, not as a member.
        primary = Part(PRIMARY, self.kind.resource_type, resource.get("id", own_id), resource)
        return Written((primary, *projections), dropped)

    def from_fhir(self, resource: Tree) -> Reading:
        """The record and the residue of a resource. Raises :class:`ResourceRefused` with every fault."""
        try:
            _check_id(resource)
            ours, spelled = self.spelling.ours(resource)
            values = self.rules.decode(ours)
            record = self._record(ours, values)
            written = self.primary(record)
            if written == ours and not spelled:
                return Reading(record)
            residue = difference(ours, written) + spelled
            faults = list(self._objections(residue))
        except Refused as refused:
            raise ResourceRefused(fault.under(self.kind.resource_type) for fault in refused.faults) from None
        if faults:
            raise ResourceRefused(fault.under(self.kind.resource_type) for fault in faults)
        return Reading(record, residue)

    def _laid(self, record: Record, entries: tuple[Entry, ...], written: Tree) -> tuple[Tree, tuple[str, ...]]:
        """``written`` with its residue, and the paths that were left out.

        The whole must still say what the record says. After an edit, a residue could say otherwise (a foreign category
        whose word the record no longer has, a decision that was stated elsewhere): then the entries of one element are
        left out, or, where that is not enough, all those with which the record does not read the same.
        """
        resource, dropped = lay(entries, written)
        if self._says(record, resource):
            return resource, dropped
        kept = self._harmless(record, entries, written)
        resource, dropped = lay(kept, written)
        return resource, tuple(entry.path for entry in entries if entry not in kept or entry.path in dropped)

    def _harmless(self, record: Record, entries: tuple[Entry, ...], written: Tree) -> list[Entry]:
        elements = list(dict.fromkeys(map(_root, entries)))
        for element in elements:
            trial = [entry for entry in entries if _root(entry) != element]
            if self._says(record, lay(trial, written)[0]):
                return trial
        kept: list[Entry] = []
        for element in elements:
            trial = [entry for entry in entries if entry in kept or _root(entry) == element]
            if self._says(record, lay(trial, written)[0]):
                kept = trial
        return kept

    def _says(self, record: Record, resource: Tree) -> bool:
        try:
            ours, _ = self.spelling.ours(resource)
            return _content(self._record(ours, self.rules.decode(ours))) == _content(record)
        except Refused:
            return False

    def resource_id(self, record_id: str) -> str:
        """The deterministic id of the primary resource of a record (design §5)."""
        return self.binding.resource_id(self.kind.name, record_id)

    def primary(self, record: Record) -> Tree:
        """The primary resource of a record, without residue."""
        resource: Tree = {
            "resourceType": self.kind.resource_type,
            "id": self.resource_id(record.id),
        }
        self.rules.write_into(resource, record)
        profiles = self.profiles(record, resource)
        if profiles:
            resource["meta"]["profile"] = list(profiles)
        return resource

    def _record(self, resource: Tree, values: Tree) -> Record:
        if "id" not in values:
            values["id"] = _foreign_id(resource)
        if "revision" not in values:
            values["revision"] = _foreign_revision(resource)
        try:
            return parse(self.kind.record, values)
        except RecordRefused as refused:
            raise Refused(_where_it_stands(fault, self.rules) for fault in refused.faults) from None

    def _objections(self, residue: Iterable[Entry]) -> Iterable[Fault]:
        for entry in residue:
            if entry.op == "order":
                continue
            found = [entry.element, *leaves(entry.value, entry.element)]
            if any(name in element for name in _MODIFIERS for element in found):
                yield Fault("resource.modifier", entry.path, "it changes the meaning of the resource in an unknown way")
            elif not _is_annotation(entry) and not self.carries.isdisjoint(found):
                yield Fault("resource.not_carried", entry.path, "the record has no place for what stands here")


def _is_annotation(entry: Entry) -> bool:
    """Whether an entry only adds words or a further code to something that the record does hold."""
    name = entry.path.rpartition(".")[2]
    return name in _ANNOTATIONS or (entry.op == "insert" and name.startswith("coding["))


def _root(entry: Entry) -> str:
    return entry.path.partition(".")[0].partition("[")[0]


def _content(record: Record) -> Tree:
    # The id and the revision of a foreign resource are its address and its version, which belong to its server.
    return {name: value for name, value in to_json(record).items() if name not in ("id", "revision", "source")}


def _check_id(resource: Tree) -> None:
    own = resource.get("id", "none")
    if not isinstance(own, str) or not is_id(own):
        raise Refused.at("resource.id", "id", "not a FHIR id", "1 to 64 of A-Z a-z 0-9 - .")


def _foreign_id(resource: Tree) -> str:
    own = resource.get("id")
    if isinstance(own, str):
        return f"{resource['resourceType']}/{own}"
    raise Refused.at("resource.missing", "id", "neither an identifier of the clinic nor a resource id")


def _foreign_revision(resource: Tree) -> Json:
    meta = resource.get("meta", {})
    version = meta.get("versionId") if isinstance(meta, dict) else None
    if isinstance(version, str) and version.isdigit():
        return int(version)
    return meta.get("lastUpdated", 0) if isinstance(meta, dict) else 0


def _where_it_stands(fault: Fault, rules: Rules) -> Fault:
    """A fault of the record, told by the element its field comes from."""
    field = fault.path.partition(".")[0].partition("[")[0]
    for rule in rules.rules:
        if field in rule.fields:
            element = getattr(rule, "name", "") or (rule.carries[0].partition(".value")[0] if rule.carries else "")
            return Fault(fault.code, element, f"{fault.reason} (record field {fault.path})", fault.hint)
    return Fault(fault.code, "", f"{fault.reason} (record field {fault.path})", fault.hint)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of record: its name, its model, its resource, how it is bound, and which resources are its own."""

    name: str
    record: type[Record]
    resource_type: str
    bind: Callable[[Kind, Binding], BoundMapping]
    claims: Callable[[Tree], bool] = every


@functools.cache
def kinds() -> Mapping[str, Kind]:
    """Every installed kind by name. A second package that claims a name is a :class:`ConfigError`."""
    found: dict[str, Kind] = {}
    for entry_point in sorted(entry_points(group=ENTRY_POINTS), key=lambda one: one.name):
        kind = entry_point.load()
        if kind.name in found:
            raise ConfigError(f"two packages offer the record kind {kind.name}", code="config.kind_twice")
        found[kind.name] = kind
    return found


class Mappings:
    """All kinds, bound together for one site."""

    def __init__(self, binding: Binding, kinds_: Mapping[str, Kind] | None = None) -> None:
        self.binding = binding
        self.kinds = kinds() if kinds_ is None else kinds_
        self.bound = {name: kind.bind(kind, binding) for name, kind in self.kinds.items()}
        self._roles = binding.code_systems("role")
        self._role_texts = [role.encode() for role in self._roles]
        self._layouts = Layouts()
        # The claims of the kinds that are asked before each.
        self._rivals: dict[str, list[Claim]] = {}
        for name, kind in self.kinds.items():
            earlier = (self.kinds[other] for other in self._rivals)
            self._rivals[name] = [one.claims for one in earlier if one.resource_type == kind.resource_type]

    def to_fhir(self, record: Record, residue: Iterable[Entry] = ()) -> Written:
        """The resources of a record of any kind."""
        return self.bound[record.kind].to_fhir(record, residue)

    def from_fhir(self, resource: Tree) -> Reading:
        """The record of a resource of any kind. Raises :class:`ResourceRefused`, also where no kind claims it."""
        resource_type = resource.get("resourceType")
        candidates = [kind for kind in self.kinds.values() if kind.resource_type == resource_type]
        kind = next((one for one in candidates if one.claims(resource)), None)
        if kind is not None:
            return self.bound[kind.name].from_fhir(resource)
        path = resource_type if isinstance(resource_type, str) and resource_type.isalnum() else "resourceType"
        known = ", ".join(sorted({kind.resource_type for kind in self.kinds.values()}))
        reason = (
            "no record kind holds such a resource" if candidates else "no record kind is kept in this resource type"
        )
        raise ResourceRefused([Fault("resource.no_mapping", path, reason, f"types that are read: {known}")])

    def read(self, body: bytes) -> Reading:
        """The record of a resource's JSON text.

        What it gives is what :meth:`from_fhir` gives; a layout that was read before is read without parsing. Raises
        :class:`JsonError` as well as :class:`ResourceRefused`.
        """
        record = self._layouts.read(body)
        if record is not None:
            return Reading(record)
        resource = parse_object(body)
        reading = self.from_fhir(resource)
        if not reading.residue:
            own = reading.record.kind
            self._layouts.learn(self.bound[own], self._rivals[own], body, resource, reading.record)
        return reading

    def is_projection(self, resource: Tree) -> bool:
        """Whether a resource is one of our own projections, which say nothing that the primary does not say."""
        meta = resource.get("meta")
        tags = meta.get("tag") if isinstance(meta, dict) else None
        return any(isinstance(tag, dict) and tag.get("system") in self._roles for tag in tags or ())

    def holds_projection(self, body: bytes) -> bool:
        """Whether the JSON text of a resource is one of our own projections. Raises :class:`JsonError`."""
        return any(role in body for role in self._role_texts) and self.is_projection(parse_object(body))
