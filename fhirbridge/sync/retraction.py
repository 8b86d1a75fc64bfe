"""Taking back what was sent: one table by resource type and release (specification §9.3, trap T10).

A resource whose type has a status gets ``entered-in-error``. R4 and R4B AdverseEvent and Provenance have none: there
the site chooses between the modifier extension of HL7's backport guide, DELETE, and leaving it to people.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from fhirbridge.binding import Release
from fhirbridge.fhir.json import Json, Tree

ENTERED_IN_ERROR = "entered-in-error"
# HL7's backport of R5's AdverseEvent.status to R4, which it makes a modifier extension.
AE_STATUS_MODIFIER = "http://hl7.org/fhir/uv/ae-research-backport-ig/StructureDefinition/status"

# What stands on a retraction, in the place of a content, that follows from a withdrawn consent: another consent may
# bring the record back, as a new resource.
WITH_CONSENT = "consent"
# The mark on a retraction that must be a DELETE, whatever the type: the patient, or the site's policy, wants that.
BY_DELETE = "delete"

WithoutStatus: TypeAlias = Literal["modifier", "delete", "park"]
Means: TypeAlias = Literal["status", "modifier", "delete", "park"]


@dataclass(frozen=True, slots=True)
class Rule:
    """How one resource type is retracted: by its status, or else by what the site chose among ``choices``."""

    means: Literal["status", "site"]
    choices: tuple[WithoutStatus, ...] = ()


_BY_STATUS = Rule("status")
_R4 = (Release.R4, Release.R4B)
# A type that is not listed is parked: nobody has said how to take it back without changing what it means.
TABLE: dict[tuple[str, Release], Rule] = {
    **{(name, release): _BY_STATUS
       for name in ("Procedure", "Observation", "MedicationAdministration", "Consent", "DocumentReference",
                    "Communication", "QuestionnaireResponse")
       for release in Release},
    ("AdverseEvent", Release.R5): _BY_STATUS,
    **{("AdverseEvent", release): Rule("site", ("modifier", "delete", "park")) for release in _R4},
    **{("Provenance", release): Rule("site", ("delete", "park")) for release in Release},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Retraction:
    """What is to be done: write ``resource``, delete it, or park it for people with a reason code."""

    means: Means
    resource: Tree | None = field(default=None, repr=False)
    reason: str = ""


def means_of(resource_type: str, release: Release, chosen: WithoutStatus) -> Means:
    """How a type is retracted at a site that chose ``chosen`` for types without a status."""
    rule = TABLE.get((resource_type, release))
    if rule is None:
        return "park"
    if rule.means == "status":
        return "status"
    return chosen if chosen in rule.choices else "park"


def retraction(resource: Tree, release: Release, chosen: WithoutStatus, bases: Iterable[str] = ()) -> Retraction:
    """What retracts ``resource``, which is the server's own copy: all else in it stays as it is.

    ``bases`` are the canonical bases of our extensions; our plain status extension would contradict the modifier and
    goes. Consent, whose rules must not go on after it was void, is judged by its status alone in every release.
    """
    resource_type = resource.get("resourceType")
    means = means_of(resource_type if isinstance(resource_type, str) else "", release, chosen)
    if means == "status":
        return Retraction(means, resource | {"status": ENTERED_IN_ERROR})
    if means == "modifier":
        return Retraction(means, _with_modifier(resource, frozenset(bases)))
    return Retraction(means, None, "retract.no_status" if means == "park" else "")


def is_retracted(resource: Tree) -> bool:
    """Whether a resource says already that it never should have been."""
    if resource.get("status") == ENTERED_IN_ERROR:
        return True
    return any(_is_void(one) for one in _listed(resource, "modifierExtension"))


def _with_modifier(resource: Tree, bases: frozenset[str]) -> Tree:
    plain = {f"{base}/StructureDefinition/ae-status" for base in bases}
    finer = {f"{base}/StructureDefinition/internal-status" for base in bases}
    kept = [one for one in _listed(resource, "extension") if _url(one) not in plain | finer]
    modifiers = [one for one in _listed(resource, "modifierExtension") if _url(one) != AE_STATUS_MODIFIER]
    rest = {name: member for name, member in resource.items() if name not in ("extension", "modifierExtension")}
    said: Tree = {"url": AE_STATUS_MODIFIER, "valueCode": ENTERED_IN_ERROR}
    return rest | ({"extension": kept} if kept else {}) | {"modifierExtension": [*modifiers, said]}


def _is_void(extension: Json) -> bool:
    return bool(_url(extension) == AE_STATUS_MODIFIER and extension.get("valueCode") == ENTERED_IN_ERROR)


def _url(extension: Json) -> Json:
    return extension.get("url") if isinstance(extension, dict) else None


def _listed(node: Tree, name: str) -> list[Json]:
    listed = node.get(name)
    return listed if isinstance(listed, list) else []
