"""Consents ⇄ Consent (specification §3.4; traps T2, T3, T4, T12, T13, T19, T20, T22).

R4 and R5 differ in structure, not only in names, so the two have rules of their own where they differ. No profile is
claimed: IHE PCF forbids much of what the clinic records (trap T12).
"""

from __future__ import annotations

from fhirbridge.binding import Binding
from fhirbridge.codec.element import Element, Rule, Rules, Status
from fhirbridge.codec.extension import Complex, Simple
from fhirbridge.codec.leaf import Table, period, reference, string
from fhirbridge.mapping import BoundMapping, Kind
from fhirbridge.records import Consent
from mappings import extensions, published, terms
from mappings.common import Meta, identifiers
from mappings.consent_kind import ConsentKind
from mappings.consent_papers import XVER_ALIASES, papers
from mappings.consent_provisions import AlternatingDecision, Grantees, StatedDecision

# A code that several words share means the plainest of them; the word is then written beside it (specification §3.4.1).
# R4 has no code for an unknown state: inactive is the one that permits nothing.
STATUS_R4 = {
    "draft": "draft",
    "proposed": "proposed",
    "active": "active",
    "expired": "active",
    "refused": "rejected",
    "inactive": "inactive",
    "withdrawn": "inactive",
    "superseded": "inactive",
    "unknown": "inactive",
    "entered_in_error": "entered-in-error",
}
STATUS_R5 = STATUS_R4 | {"proposed": "draft", "refused": "not-done", "unknown": "unknown"}
WITHDRAWAL_SCOPE = Table({"all": "all", "future_sharing": "future-sharing", "research": "research"})
DATA_HANDLING = Table({word: word for word in ("keep", "retract", "delete", "notify")})


def _moved_in_r5(binding: Binding) -> tuple[Rule, ...]:
    """The elements that R5 names or places otherwise, but for the papers."""
    if binding.release.is_r5:
        return (
            Element("subject", "patient", reference, required=True),
            Element("period", "period", period),
            AlternatingDecision(binding),
            Grantees(),
        )
    return (Element("patient", "patient", reference, required=True), StatedDecision(binding))


def bind(kind: Kind, binding: Binding) -> BoundMapping:
    """The mapping of consents for one site."""
    status = STATUS_R5 if binding.release.is_r5 else STATUS_R4
    rules = Rules(
        Meta(binding),
        Element("language", "language", string),
        identifiers(binding, "consent"),
        Status("status", "state", status, extensions.INTERNAL_STATUS.written_url(binding)),
        ConsentKind(binding),
        *_moved_in_r5(binding),
        *papers(binding),
        Simple(binding, published.RESEARCH_STUDY, "studies"),
        Simple(binding, extensions.RECORDED_AT, "recorded_at"),
        Simple(binding, extensions.RELATED_ENCOUNTER, "encounter"),
        Simple(binding, extensions.NOTE, "notes"),
        Complex(binding, extensions.GRANTOR_CAPACITY, "grantor_capacity"),
        Complex(binding, extensions.INTERPRETER, "interpreter"),
        Complex(
            binding,
            extensions.WITHDRAWAL,
            "withdrawal",
            codecs={"scope": WITHDRAWAL_SCOPE, "dataHandling": DATA_HANDLING},
        ),
        Simple(binding, extensions.SUPERSEDES, "supersedes"),
    )
    return BoundMapping(kind, binding, rules, spellings=_spellings(binding))


def _spellings(binding: Binding) -> dict[str, str]:
    """The cross-version URLs (trap T20), and the other release's name of the list of resource types (trap T19)."""
    if binding.release.is_r5:
        return {terms.RESOURCE_TYPES_R4: terms.RESOURCE_TYPES_R5}
    urls = {alias: definition.written_url(binding) for alias, definition in XVER_ALIASES.items()}
    return urls | {terms.RESOURCE_TYPES_R5: terms.RESOURCE_TYPES_R4}


KIND = Kind("consent", Consent, "Consent", bind)
