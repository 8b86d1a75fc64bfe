"""Which consents stand: their newest revisions, what replaced them, their state and time (specification §3.4.1).

Only an active consent permits, from when it was signed and while its period lasts, unless it was given by somebody
judged unable to, or another was signed that replaces it. A refusal and a withdrawal forbid for good: until a later
consent says that it replaces them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fhirbridge.consent.evidence import Evidence, Found, Unreadable
from fhirbridge.consent.labels import ACT_CODE
from fhirbridge.consent.moments import Span, period_span, span
from fhirbridge.consent.policies import Policies
from fhirbridge.fhir.json import canonical
from fhirbridge.records import to_json
from fhirbridge.records.base import Concept, Ref
from fhirbridge.records.consent import Consent
from fhirbridge.records.text import Instant

# Why a consent in this state permits nothing; an active one may.
WHY_NOT = {
    "draft": "not-signed",
    "proposed": "not-signed",
    "inactive": "inactive",
    "refused": "refused",
    "withdrawn": "withdrawn",
    "superseded": "superseded",
    "expired": "expired",
    "entered_in_error": "entered-in-error",
    "unknown": "unknown-state",
}
# States of papers that were never in force and replace nothing.
NEVER = frozenset({"draft", "proposed", "entered_in_error"})
# States that were in force once: only what was in force can lift what it replaces.
_ONCE = frozenset({"active", "superseded", "withdrawn", "expired", "inactive"})
_CLOCKS = 86_400.0
_SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"


@dataclass(slots=True)
class Standing:
    """One consent with what follows from the others. Times are seconds since 1970; ``deidentified``: it is about data
    without what identifies the patient only.
    """

    consent: Consent
    state: str
    origin: str
    may_permit: bool
    signed: Span
    period: Span
    withdrawn_from: float
    incapable: bool
    emergency_only: bool
    deidentified: bool
    # From then on it permits nothing, for another was signed; and from then on it forbids nothing, for that one holds.
    replaced_from: float = math.inf
    relieved_from: float = math.inf
    key: tuple[float, str, str, str] = field(default=(0.0, "", "", ""))

    def silence(self, at: float) -> str:
        """Why it permits nothing at this moment, as a reason code; empty when it may."""
        if self.state != "active":
            return WHY_NOT[self.state]
        if self.incapable:
            return "incapable"
        if at >= self.replaced_from:
            return "superseded"
        if at >= self.period.end:
            return "expired"
        if at < self.signed.start or at < self.period.start:
            return "not-yet"
        return "" if self.may_permit else "elsewhere"

    def is_withdrawn(self, at: float) -> bool:
        """Whether the patient has taken it back, or that part of it of which the withdrawal speaks."""
        return self.state == "withdrawn" or (at >= self.withdrawn_from and self.state not in NEVER)

    def forbids(self, at: float) -> bool:
        """Whether its rules that deny hold at this moment."""
        in_force = self.state in ("active", "unknown") and self.period.start <= at < self.period.end
        return in_force and self.is_said(at)

    def is_said(self, at: float) -> bool:
        """Whether a no was said by then and not lifted since. Clocks differ: it counts from a day before it was signed,
        where a yes counts from the signature.
        """
        return self.signed.start - _CLOCKS <= at < self.relieved_from

    def edges(self) -> Iterable[float]:
        """The moments at which any of this changes."""
        signed = self.signed.start
        times = (signed - _CLOCKS, signed, *self.period, self.withdrawn_from, self.replaced_from, self.relieved_from)
        return (edge for edge in times if math.isfinite(edge))


def standing(evidence: Iterable[Evidence], policies: Policies) -> list[Standing]:
    """The consents that count, in the order of signing; the order in which they were given makes no difference."""
    found = [_prepared(one, policies) for one in evidence if not isinstance(one, Unreadable)]
    newest = [one for group in _by_identity(found) for one in _newest(group)]
    newest.sort(key=lambda one: one.key)
    _replace(newest)
    return newest


def _prepared(one: Consent | Found, policies: Policies) -> Standing:
    consent, origin, may_permit = (
        (one.consent, one.origin, one.may_permit) if isinstance(one, Found) else (one, "", True)
    )
    signed = span(consent.signed_at, policies.zone)
    withdrawal = consent.withdrawal
    return Standing(
        consent,
        consent.state,
        origin,
        may_permit,
        signed,
        period_span(consent.period, policies.zone),
        math.inf if withdrawal is None else span(withdrawal.at, policies.zone).start,
        _is_incapable(consent),
        _is_emergency_only(consent),
        "deidentified_data" in consent.categories and "reidentifiable_data" not in consent.categories,
        key=(signed.start, consent.id, origin, str(consent.revision)),
    )


def _by_identity(found: Sequence[Standing]) -> Iterable[list[Standing]]:
    groups: dict[tuple[str, str], list[Standing]] = {}
    for one in found:
        groups.setdefault((one.origin, one.consent.id), []).append(one)
    return groups.values()


def _newest(group: list[Standing]) -> list[Standing]:
    """The newest revision. A number and an instant have no order, nor have two papers of one revision: all count."""
    if len(group) == 1:
        return group
    found: list[Standing] = []
    numbers = [one for one in group if isinstance(one.consent.revision, int)]
    instants = [one for one in group if not isinstance(one.consent.revision, int)]
    for ordered in (numbers, instants):
        last = max((_order(one.consent) for one in ordered), default=None)
        for one in ordered:
            if _order(one.consent) == last and all(one.consent != other.consent for other in found):
                found.append(one)
    return sorted(found, key=lambda one: canonical(to_json(one.consent)))


def _order(consent: Consent) -> float:
    revision = consent.revision
    return revision if isinstance(revision, int) else Instant(revision).as_datetime().timestamp()


def _is_incapable(consent: Consent) -> bool:
    """Whether the patient, judged unable to consent, is the only one who did."""
    if consent.grantor_capacity is None or consent.grantor_capacity.capable is not False:
        return False
    return not any(one.points_to("RelatedPerson") for one in consent.grantors)


def _is_emergency_only(consent: Consent) -> bool:
    return any(
        category == "emergency_only" or (isinstance(category, Concept) and _has(category, ACT_CODE, "EMRGONLY"))
        for category in consent.categories
    )


def is_advance_directive(consent: Consent) -> bool:
    """Whether its scope says that it is about care in advance, which is not about sharing data."""
    return consent.scope is not None and _has(consent.scope, _SCOPE, "adr")


def _has(concept: Concept, system: str, code: str) -> bool:
    return any(one.system == system and one.code == code for one in concept.codings)


# ------------------------------------------------------------------------------------------------- replacement
def _replace(consents: list[Standing]) -> None:
    """Mark what was replaced. What a consent permits ends when another is signed in its place; what it forbids ends
    only when that other is surely in force, is of the same type, and was surely signed later.
    """
    replaces = {
        id(new): [old for old in consents if old is not new and _names(new, old)]
        for new in consents
        if new.consent.supersedes is not None and new.state not in NEVER
    }
    for new in consents:
        for old in replaces.get(id(new), ()):
            old.replaced_from = min(old.replaced_from, new.signed.start)
            if _lifts(new, old) and not _leads_to(old, new, replaces):
                begin = max(new.signed.start, new.period.start)
                old.relieved_from = min(old.relieved_from, begin)


def _names(new: Standing, old: Standing) -> bool:
    ref = new.consent.supersedes
    return ref is not None and new.origin == old.origin and _is_name_of(ref, old.consent)


def _is_name_of(ref: Ref, consent: Consent) -> bool:
    if ref.identifier is not None:
        said = ref.identifier
        return said.value == consent.id or any(
            said.value == own.value and said.system == own.system for own in consent.additional_identifiers
        )
    return ref.literal is not None and ref.literal.partition("/_history/")[0].split("/")[-1] == consent.id


def _lifts(new: Standing, old: Standing) -> bool:
    same_type = new.consent.consent_type == old.consent.consent_type
    was_in_force = new.state in _ONCE and not new.incapable
    return same_type and was_in_force and new.signed.start >= old.signed.start


def _leads_to(start: Standing, goal: Standing, replaces: dict[int, list[Standing]]) -> bool:
    """Whether ``start`` says, over any number of papers, that it replaces ``goal``."""
    pending, seen = [start], {id(start)}
    while pending:
        for one in replaces.get(id(pending.pop()), ()):
            if one is goal:
                return True
            if id(one) not in seen:
                seen.add(id(one))
                pending.append(one)
    return False
