"""Consents: what a patient signs before the first session, and what becomes of it (specification §3.4)."""

from __future__ import annotations

import base64
import hashlib
from typing import Any, NamedTuple

from fhirbridge.fhir.json import Tree
from fhirbridge.synth.chance import Chance
from fhirbridge.synth.clock import Day, Filed
from fhirbridge.synth.plan import Plan

# State that a consent ends in, by type: (state, weight); "none" was never asked.
_FATES: dict[str, tuple[tuple[str, float], ...]] = {
    "treatment": (("active", 0.95), ("withdrawn", 0.02), ("superseded", 0.03)),
    "privacy_sharing": (
        ("active", 0.68), ("refused", 0.09), ("withdrawn", 0.08), ("superseded", 0.08), ("expired", 0.04),
        ("proposed", 0.03),
    ),
    "research": (
        ("active", 0.42), ("refused", 0.18), ("withdrawn", 0.09), ("superseded", 0.05), ("expired", 0.05),
        ("none", 0.21),
    ),
    "recording": (("none", 0.85), ("active", 0.08), ("refused", 0.07)),
    "telehealth": (("none", 0.7), ("active", 0.3)),
    "financial": (("none", 0.6), ("active", 0.4)),
}  # fmt: skip
_LEGAL = {"privacy_sharing": "hipaa_authorization", "research": "common_rule"}
_CATEGORIES = {"privacy_sharing": "release_of_information", "research": "deidentified_data"}
_WITHDRAWAL_SCOPES = {"privacy_sharing": "future_sharing", "research": "research"}
_WITHDRAWAL_REASONS = ("no longer wants to share", "moved to another clinic", "doesn’t want “the university” to know")
_LANGUAGES = (("en", 0.86), ("es", 0.1), ("vi", 0.04))
_PAPER_NOTE = "Signed on paper; “O'Brien; DROP” is the name on the scan."
_NO_NOTES: Tree = {"effect": "deny", "labels": ["psychotherapy_notes"]}
_VALID_DAYS = 5 * 365
_SHORT_DAYS = 45
_SIGNING_MINUTE = 9 * 60 + 30


def filings(chance: Chance, plan: Plan) -> tuple[list[Filed], str]:
    """All consents of a patient in a clinic where some say no, in time order, and the id of the consent to touch."""
    desk = _Desk(chance, plan)
    filed: list[Filed] = []
    for consent_type, fates in _FATES.items():
        fate = chance.weighted(fates)
        if fate != "none":
            filed += desk.file(consent_type, fate)
    for consent_type in _always(plan):
        filed += desk.file(consent_type, "active")
    filed.sort(key=lambda filing: (filing.day.ordinal, filing.minute))
    return filed, desk.ids.get("touch", "")


def permits(chance: Chance, plan: Plan) -> tuple[list[Filed], str]:
    """The consents of a patient who permits everything, and the id of the consent to touch."""
    desk = _Desk(chance, plan)
    types = ("treatment", "privacy_sharing", "research", *_always(plan))
    return [desk.permit(consent_type) for consent_type in types], desk.ids.get("touch", "")


def _always(plan: Plan) -> tuple[str, ...]:
    """What the way of treatment cannot do without."""
    return {"esketamine_intranasal": ("rems_enrollment",), "kap": ("touch",)}.get(plan.modality, ())


class _Terms(NamedTuple):
    """What a form says: decision, provisions, and for how many days (0: as long as its rules hold)."""

    decision: str
    provisions: tuple[Tree, ...] = ()
    valid_days: int = 0


_PERMIT, _DENY = _Terms("permit"), _Terms("deny")


class _Desk:
    """Writes the consents of one patient; the papers of one day are signed five minutes apart."""

    def __init__(self, chance: Chance, plan: Plan) -> None:
        self._chance = chance
        self._plan = plan
        self._language = chance.weighted(_LANGUAGES)
        self._minute = _SIGNING_MINUTE
        self.ids: dict[str, str] = {}

    def permit(self, consent_type: str) -> Filed:
        """An active permit without exceptions or end."""
        return self._sign(consent_type, "active", _PERMIT)

    def file(self, consent_type: str, fate: str) -> list[Filed]:
        """All versions of one consent that ends in the state ``fate``; for a superseded one, its successor too."""
        if fate == "refused":
            return [self._sign(consent_type, "refused", _DENY)]
        terms = self._terms(consent_type)
        if fate in ("active", "proposed"):
            return [self._sign(consent_type, fate, terms)]
        if fate == "expired":
            signed = self._sign(consent_type, "active", terms._replace(valid_days=_SHORT_DAYS))
            return [signed, self._turn(signed, signed.day.later(_SHORT_DAYS + 1), {"state": "expired"})]
        signed = self._sign(consent_type, "active", terms)
        # Nobody is treated against their will: who withdraws from the treatment has had the last session.
        visits = self._plan.visits if consent_type == "treatment" and fate == "withdrawn" else ()
        day = (visits[-1] if visits else signed).day.later(self._chance.between(9, 75))
        if fate == "withdrawn":
            withdrawal = self._withdrawal(consent_type, day)
            return [signed, self._turn(signed, day, {"state": "withdrawn", "withdrawal": withdrawal})]
        replaced = self._turn(signed, day, {"state": "superseded"})
        successor = self._sign(consent_type, "active", self._terms(consent_type), day, signed.record["id"])
        return [signed, replaced, successor]

    def _terms(self, consent_type: str) -> _Terms:
        """Decision and provisions; each level is the opposite of the one above (specification §3.4.3)."""
        if consent_type == "research":
            return self._research_terms()
        if consent_type != "privacy_sharing":
            return _PERMIT
        shape = self._chance.weighted((("open", 0.4), ("no notes", 0.35), ("one hospital", 0.25)))
        if shape == "open":
            return _PERMIT
        if shape == "no notes":
            bills: Tree = {"effect": "deny", "purposes": ["payment", "operations"], "labels": ["substance_use"]}
            return _Terms("permit", (_NO_NOTES, bills) if self._chance.happens(0.4) else (_NO_NOTES,))
        permit: Tree = {
            "effect": "permit",
            "actors": [self._recipient("HOSPITAL-1")],
            "actions": ["disclose"],
            "purposes": ["treatment", "coordination_of_care"],
            "data_period": {"start": self._plan.intake.text},
        }
        return _Terms("deny", (permit,))

    def _research_terms(self) -> _Terms:
        permit: Tree = {
            "effect": "permit",
            "actors": [self._recipient("UNIV")],
            "actions": ["access", "use"],
            "purposes": ["research"],
            "resource_types": ["Observation", "Procedure", "AdverseEvent"],
        }
        return _Terms("deny", (permit | {"exceptions": [_NO_NOTES]} if self._chance.happens(0.5) else permit,))

    def _recipient(self, organization: str) -> Tree:
        return {"role": "recipient", "party": self._plan.directory.ref("Organization", "organization", organization)}

    def _withdrawal(self, consent_type: str, day: Day) -> Tree:
        return {
            "at": day.at(8 * 60, self._chance.below(60)),
            "by": self._plan.patient,
            "reason": {"text": self._chance.pick(_WITHDRAWAL_REASONS)},
            "scope": _WITHDRAWAL_SCOPES.get(consent_type, "all"),
            "data_handling": self._chance.pick(("keep", "retract", "notify")),
        }

    def _turn(self, signed: Filed, day: Day, change: Tree) -> Filed:
        """The next revision of a consent in a new state."""
        record = {**signed.record, "revision": signed.record["revision"] + 1, **change}
        # "supersedes" and "studies" stand behind the withdrawal in a record.
        for name in ("supersedes", "studies"):
            if name in record:
                record[name] = record.pop(name)
        return Filed(day, 8 * 60 + 1, record)

    def _sign(
        self, consent_type: str, state: str, terms: _Terms, day: Day | None = None, supersedes: str = ""
    ) -> Filed:
        day = day or self._plan.intake
        minute = self._minute
        self._minute += 5
        chance, directory = self._chance, self._plan.directory
        identifier = self.ids[consent_type] = chance.identifier()
        period = {"start": day.text}
        if terms.valid_days or terms.provisions:
            period["end"] = day.later(terms.valid_days or _VALID_DAYS).text
        record: Tree = {"kind": "consent", "id": identifier, "revision": 1, "patient": self._plan.patient}
        if chance.happens(0.04):
            record["notes"] = [{"text": _PAPER_NOTE, "time": day.at(minute)}]
        record |= {"consent_type": consent_type, "state": state, "decision": terms.decision}
        if terms.provisions:
            record["provisions"] = list(terms.provisions)
        record |= {
            "period": period,
            "signed_at": day.at(minute),
            "recorded_at": day.at(minute + 12, chance.below(60)),
            **self._grantor(day, minute),
            "custodians": [directory.ref("Organization", "organization", "CLINIC")],
        }
        if consent_type in _CATEGORIES:
            record["categories"] = [_CATEGORIES[consent_type]]
        record["sources"] = [self._paper(consent_type, identifier, day)]
        policy = f"https://{directory.domain}/policies/{consent_type.replace('_', '-')}/v{2 if supersedes else 1}"
        record["policies"] = [{"uri": policy, "authority": f"https://{directory.domain}"}]
        if consent_type in _LEGAL:
            record["legal_bases"] = [_LEGAL[consent_type]]
        if consent_type == "research":
            record["witnesses"] = [{"party": directory.staff("RN-2"), "at": day.at(minute)}]
        if self._language != "en":
            record["interpreter"] = {"party": directory.staff("INT-1"), "language": self._language}
        record["language"] = self._language
        if consent_type == "treatment" and chance.happens(0.3):
            checked = {"verified": True, "verified_with": self._plan.patient, "dates": [day.later(1).text]}
            record["verifications"] = [checked]
        if supersedes:
            record["supersedes"] = directory.ref("Consent", "consent", supersedes)
        if consent_type == "research":
            record["studies"] = [directory.ref("ResearchStudy", "study", "KET-OUTCOMES")]
        return Filed(day, minute, record)

    def _grantor(self, day: Day, minute: int) -> dict[str, Any]:
        if not self._plan.guardian:
            return {"grantors": [self._plan.patient]}
        return {
            "grantors": [self._plan.directory.ref("RelatedPerson", "related-person", f"{self._plan.number}-G")],
            "grantor_capacity": {
                "relationship": {"text": self._plan.guardian},
                "capable": True,
                "assessed_by": self._plan.directory.staff("MD-2"),
                "assessed_at": day.at(minute - 10),
            },
        }

    def _paper(self, consent_type: str, identifier: str, day: Day) -> Tree:
        if self._chance.happens(0.7):
            return {"reference": self._plan.directory.ref("DocumentReference", "document", f"DOC-{identifier[:10]}")}
        digest = hashlib.sha1(identifier.encode(), usedforsecurity=False).digest()
        return {
            # No media type: a validator without a terminology service cannot check one in R4 and calls it an error.
            "attachment": {
                "url": f"https://{self._plan.directory.domain}/doc/{identifier[:10]}",
                "language": self._language,
                "title": f"{consent_type.replace('_', ' ').capitalize()} consent",
                "size": self._chance.between(20_000, 90_000),
                "hash": base64.b64encode(digest).decode(),
                "creation": day.text,
            }
        }
