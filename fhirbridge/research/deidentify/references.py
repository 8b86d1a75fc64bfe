"""References and names: whom or what they mean becomes a pseudonym, or is left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fhirbridge.records.base import Identifier, Ref, filler
from fhirbridge.research.deidentify.key import ProjectKey

if TYPE_CHECKING:
    from hashlib import _Hash

#: Stands in the place of the clinic's domain in everything that is de-identified.
DOMAIN = "deidentified.example"
# The names of the identifier systems are those that the mappings write, so that references meet in FHIR form too.
_SYSTEMS = {
    "Patient": "patient",
    "Procedure": "treatment-session",
    "AdverseEvent": "adverse-event",
    "Consent": "consent",
    "Practitioner": "practitioner",
    "PractitionerRole": "practitioner-role",
    "RelatedPerson": "related-person",
    "Organization": "organization",
    "Location": "location",
    "Encounter": "encounter",
    "Observation": "observation",
    "Condition": "condition",
    "Medication": "medication",
    "MedicationAdministration": "administration",
    "MedicationRequest": "medication-request",
    "MedicationStatement": "medication-statement",
    "ServiceRequest": "service-request",
    "CarePlan": "care-plan",
    "EpisodeOfCare": "episode-of-care",
    "AllergyIntolerance": "allergy-intolerance",
    "DiagnosticReport": "diagnostic-report",
    "QuestionnaireResponse": "questionnaire-response",
    "Substance": "substance",
    "Immunization": "immunization",
    "FamilyMemberHistory": "family-member-history",
    "CareTeam": "care-team",
    "HealthcareService": "healthcare-service",
}
_make_ref: Callable[[dict[str, Any]], Ref] = filler(Ref)
_make_identifier: Callable[[dict[str, Any]], Identifier] = filler(Identifier)
#: Whose identifiers count as the patient's own: 164.514(b)(2)(i) speaks of relatives too.
_RELATIVES = frozenset({"RelatedPerson"})
_PATIENT = "Patient"


def system_of(type_: str | None) -> str:
    """The identifier system of pseudonyms for things of a FHIR type."""
    return f"https://{DOMAIN}/sid/{_SYSTEMS.get(type_ or '', 'thing')}"


def is_known(type_: object) -> bool:
    """Whether a FHIR type may be named in a reference: one of a closed list."""
    return isinstance(type_, str) and type_ in _SYSTEMS


def address(ref: Ref) -> tuple[str | None, str | None, str | None]:
    """Type, system and value of what a reference means: the identifier's, or ``Type/id`` of the literal address."""
    literal = ref.literal
    if literal is not None:
        type_, value = of_literal(literal)
        return ref.type or type_, None, value
    found = ref.identifier
    return (ref.type, None, None) if found is None else (ref.type, found.system, found.value)


def of_literal(literal: str) -> tuple[str | None, str | None]:
    """Type and ``Type/id`` of a literal address; nothing for what points into the resource itself."""
    if literal.startswith("#"):
        return None, None
    steps = literal.partition("/_history/")[0].rsplit("/", 2)
    return (None, literal) if len(steps) < 2 else (steps[-2], "/".join(steps[-2:]))


def named(type_: str | None, pseudonym: str) -> Ref:
    """A reference to what has this pseudonym."""
    known = type_ if is_known(type_) else None
    values: dict[str, Any] = {
        "type": known, "identifier": identifier(known, pseudonym), "display": None, "literal": None,
    }  # fmt: skip
    return _make_ref(values)


def identifier(type_: str | None, pseudonym: str) -> Identifier:
    """An identifier that is nothing but this pseudonym."""
    return _make_identifier({"system": system_of(type_), "value": pseudonym, "type": None, "use": None})


def is_relative(type_: str | None) -> bool:
    """Whether the reference means a relative of the patient."""
    return type_ in _RELATIVES


def is_patient(type_: str | None) -> bool:
    """Whether the reference means a patient."""
    return type_ == _PATIENT


class Names:
    """The pseudonyms of one person's own things, and of staff; remembered, for a session is named many times."""

    __slots__ = ("_key", "_own", "_person", "_prefixes", "_shared")

    _MOST = 4096

    def __init__(self, key: ProjectKey, person: str, shared: dict[tuple[str, str], str]) -> None:
        self._key, self._person, self._shared = key, person, shared
        self._own: dict[tuple[str, str], str] = {}
        self._prefixes: dict[str, _Hash] = {}

    def own(self, type_: str, value: str) -> str:
        """The pseudonym of something of this person's: others' things of the same id have other names."""
        found = self._own.get((type_, value))
        if found is None:
            if len(self._own) >= self._MOST:
                self._own.clear()
            found = self._own[type_, value] = self.once(type_, value)
        return found

    def once(self, type_: str, value: str) -> str:
        """The same for what is named once, such as a record itself."""
        prefix = self._prefixes.get(type_)
        if prefix is None:
            # References may name any type; those that are not known share one prefix with their name before the value.
            if not is_known(type_) and type_ != "thing":
                return self._key.pseudonym("other", f"{self._person}|{type_}|{value}")
            prefix = self._prefixes[type_] = self._key.prefix(f"{type_}|{self._person}")
        return self._key.named(prefix, value)

    def shared(self, type_: str, system: str | None, value: str) -> str:
        """The pseudonym of staff or a place, the same for all patients of the project."""
        name = f"{system or ''}|{value}"
        found = self._shared.get((type_, name))
        if found is None:
            if len(self._shared) >= self._MOST:
                self._shared.clear()
            found = self._shared[type_, name] = self._key.pseudonym("shared", f"{type_}|{name}")
        return found
