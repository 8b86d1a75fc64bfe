"""The first pass over a piece: who the patients are, what they consented to, when they were first given the drug.

Observations are most of a source and say none of that: of them only the address and the version are looked at.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from fhirbridge.consent import Evidence, Unreadable, evidence_of
from fhirbridge.consent.labels import codes_of
from fhirbridge.errors import JsonError, Refused
from fhirbridge.fhir.json import Json, Tree
from fhirbridge.mapping import Mappings
from fhirbridge.records import Record, Session
from fhirbridge.research import intake
from fhirbridge.research.copies import Copies
from fhirbridge.research.deidentify.codes import Key, codes_in
from fhirbridge.research.source import Item, Piece, items, resource_type
from fhirbridge.research.tables.seen import anchor_text, dose_text

_OBSERVATION, _PATIENT, _CONSENT = "Observation", "Patient", "Consent"
# What of a Patient is needed: for the row of the patient, and for the decision whether there may be one.
_DEMOGRAPHIC = (
    "resourceType", "id", "meta", "identifier", "gender", "birthDate", "deceasedBoolean", "deceasedDateTime", "address",
)  # fmt: skip
# Types whose records are read in this pass.
_READ = frozenset({"Procedure", "AdverseEvent"})
# Where the source does not tell servers apart.
_ANY_SERVER = "source"
_FILE_OF_TYPE = re.compile(r"([A-Z][A-Za-z]+)")


@dataclass(frozen=True, slots=True, repr=False)
class Chart:
    """One Patient resource: how it is called, whom it was merged into, and what of it is needed."""

    place: int
    address: str
    identifiers: tuple[str, ...]
    replaced_by: str | None
    tree: Tree


@dataclass(frozen=True, slots=True, repr=False)
class Dose:
    """One session in which a drug was given, as its source has it."""

    place: int
    patient: str
    session: str
    dose: str | None
    anchor: str


@dataclass(slots=True, repr=False)
class Survey:
    """What the first pass found in a piece. Places count from 0; patients are named by alias."""

    copies: Copies = field(default_factory=Copies)
    lines: int = 0
    digest: bytes = b""
    types: Counter[str] = field(default_factory=Counter)
    charts: list[Chart] = field(default_factory=list)
    consents: list[tuple[int, str, Evidence]] = field(default_factory=list)
    doses: list[Dose] = field(default_factory=list)
    codes: list[tuple[int, str, frozenset[Key]]] = field(default_factory=list)
    # Lines that may hold a consent, and do not say whose.
    lost_consents: list[int] = field(default_factory=list)


def survey(piece: Piece, number: int, mappings: Mappings) -> Survey:
    """Look through a piece; ``number`` is its place among the pieces. Raises :class:`SourceError`."""
    found = Survey()
    look = _Look(piece, mappings, found)
    digest = hashlib.sha256()
    place = -1
    for place, item in enumerate(items(piece)):
        digest.update(item.body)
        found.lines = item.line
        if item.deleted is not None:
            found.copies.add_deleted(piece.origin, *item.deleted, item.deleted_at)
        elif item.fault is not None:
            found.copies.skip((number, place))
            if _may_be_consent(item, piece):
                found.lost_consents.append(item.line)
        else:
            found.copies.add(piece.origin, item.body, (number, place))
            look.at(item, place)
    found.digest = digest.digest()
    return found


class _Look:
    def __init__(self, piece: Piece, mappings: Mappings, found: Survey) -> None:
        self._origin, self._mappings, self._found = piece.origin, mappings, found
        self._piece = piece

    def at(self, item: Item, place: int) -> None:
        type_ = resource_type(item.body)
        if type_ == _OBSERVATION:
            self._found.types[type_] += 1
            return
        try:
            if not type_:
                named = intake.tree_of(item.body).get("resourceType")
                type_ = named if isinstance(named, str) else ""
            self._found.types[type_ if type_.isalpha() else "(none)"] += 1
            if type_ in _READ:
                self._record(item.body, place)
            elif type_ == _CONSENT:
                self._consent(item, place)
            elif type_ == _PATIENT:
                self._found.charts.append(_chart(intake.tree_of(item.body, self._origin), self._origin, place))
            elif type_ != _OBSERVATION:
                self._other(intake.tree_of(item.body, self._origin), place)
        except JsonError:
            # The second pass sets it aside, with the reason.
            if _may_be_consent(item, self._piece):
                self._found.lost_consents.append(item.line)

    def _record(self, body: bytes, place: int) -> None:
        if self._mappings.holds_projection(body):
            return
        try:
            record = intake.read(self._mappings, body, self._origin).record
        except Refused:
            return
        self._coded(record, place)
        if isinstance(record, Session):
            anchor = anchor_text(record)
            if anchor is not None:
                dose = Dose(place, intake.alias(record.patient), record.id, dose_text(record), anchor)
                self._found.doses.append(dose)

    def _consent(self, item: Item, place: int) -> None:
        tree = intake.tree_of(item.body, self._origin)
        patient = intake.alias_in(tree)
        if patient is None:
            self._found.lost_consents.append(item.line)
            return
        read, r5 = self._mappings.from_fhir, self._mappings.binding.release.is_r5
        found = evidence_of(
            tree, lambda one: read(one).record, r5=r5, origin=self._origin or _ANY_SERVER, may_permit=True
        )
        if isinstance(found, Unreadable):
            self._found.consents.append((place, patient, found))
            return
        record = intake.told_apart(found.consent, self._origin)
        is_own = not record.id.startswith(f"{_CONSENT}/")
        self._found.consents.append((place, patient, record if is_own else replace(found, consent=record)))
        self._coded(record, place)

    def _other(self, tree: Tree, place: int) -> None:
        patient, codes = intake.alias_in(tree), codes_of(tree)
        if patient is not None and codes:
            self._found.codes.append((place, patient, codes))

    def _coded(self, record: Record, place: int) -> None:
        codes = frozenset(codes_in(record))
        if codes:
            self._found.codes.append((place, intake.alias(record.patient), codes))


def _chart(tree: Tree, origin: str, place: int) -> Chart:
    own, links = tree.get("id"), tree.get("link")
    replaced: str | None = None
    for link in links if isinstance(links, list) else ():
        other = link.get("other") if isinstance(link, dict) and link.get("type") == "replaced-by" else None
        literal = other.get("reference") if isinstance(other, dict) else None
        replaced = literal if isinstance(literal, str) else replaced
    return Chart(
        place,
        intake.address(origin, f"{_PATIENT}/{own}") if isinstance(own, str) else "",
        tuple(_identifiers(tree.get("identifier"))),
        replaced,
        {name: tree[name] for name in _DEMOGRAPHIC if name in tree},
    )


def _identifiers(listed: Json) -> list[str]:
    found = []
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and isinstance(one.get("value"), str):
            system = one.get("system")
            found.append(f"{system if isinstance(system, str) else ''}|{one['value']}")
    return found


def _may_be_consent(item: Item, piece: Piece) -> bool:
    """Whether what cannot be read may be a consent: somebody's data would be used that may not be."""
    if item.body:
        return b"Consent" in item.body
    named = _FILE_OF_TYPE.match(Path(piece.file).name)
    return named is None or named[1] in (_CONSENT, "Bundle")
