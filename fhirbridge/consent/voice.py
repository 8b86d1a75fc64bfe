"""What one consent says to one act.

Consents about sharing decide whether data are used for treatment or shared; research consents decide about research,
where those about sharing, and those that do not say what they are about, can still forbid it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from fhirbridge.consent.act import Act
from fhirbridge.consent.decision import Step
from fhirbridge.consent.facts import Facts
from fhirbridge.consent.labels import ACT_CODE
from fhirbridge.consent.names import known_as, same_party
from fhirbridge.consent.policies import Policies
from fhirbridge.consent.rules import DECISION, Rule, Verdict, judged, made_ready
from fhirbridge.consent.standing import Standing, is_advance_directive
from fhirbridge.consent.ternary import MAYBE, NO, YES, Tri, any_of
from fhirbridge.records.base import Concept
from fhirbridge.records.consent import Consent

_GOVERNS = {"treat": "privacy_sharing", "share": "privacy_sharing", "research": "research"}
_WITHDRAWAL = {
    "all": ("treat", "share", "research"),
    "future_sharing": ("treat", "share", "research"),
    "research": ("research",),
}


class Voice(NamedTuple):
    """A consent that is heard about an act. ``governs`` is whether the act is its matter: else it can only forbid;
    ``cannot_permit`` is why it cannot permit all the same; ``states_default`` is whether its decision means anything
    where no rule applies, and ``decided`` is that decision.
    """

    standing: Standing
    rules: tuple[Rule, ...]
    governs: bool
    cannot_permit: str
    withdrawal_counts: bool
    states_default: bool
    decided: Verdict
    steps: dict[tuple[str, str, str], Step]

    def says(self, facts: Facts, at: float) -> Step:
        """What the consent says about these data at this moment: it permits, denies, or does neither."""
        standing = self.standing
        if standing.is_said(at):
            if standing.state == "refused" and self._is_meant(facts, at):
                return self._step("state", "deny", "refused")
            if self.withdrawal_counts and standing.is_withdrawn(at) and self._is_meant(facts, at):
                return self._step("withdrawal", "deny", "withdrawn")
        silence = standing.silence(at)
        if silence and not standing.forbids(at):
            return self._step("state", "none", silence)
        return self._by_rules(facts, at, silence)

    def _by_rules(self, facts: Facts, at: float, silence: str) -> Step:
        denies, path, sure = judged(self.rules, self.decided, facts, at)
        if path == DECISION and not self.states_default:
            return self._step(path, "none", silence or ("not-covered" if sure else "ambiguous"))
        if denies:
            reason = "denied-by-decision" if path == DECISION else "denied-by-provision"
            return self._step(path, "deny", reason if sure else "ambiguous")
        silence = silence or self.cannot_permit
        return self._step(path, "none" if silence or not self.governs else "permit", silence or "permitted")

    def _is_meant(self, facts: Facts, at: float) -> bool:
        """Whether a refusal or a withdrawal is about these data. A form of one rule is about that rule's matter only,
        unless the patient withdrew from everything.
        """
        consent = self.standing.consent
        if not consent.decision_implied or (consent.withdrawal is not None and consent.withdrawal.scope == "all"):
            return True
        return any(rule.matches(facts, at) != NO for rule in self.rules)

    def _step(self, path: str, effect: Literal["permit", "deny", "none"], reason: str) -> Step:
        """There are few steps that a consent can take, and each is made once."""
        step = self.steps.get((path, effect, reason))
        if step is None:
            said = reason if effect != "none" or self.governs else "other-matter"
            consent = self.standing.consent
            step = Step(consent.id, str(consent.revision), path, effect, said, self.standing.origin)
            self.steps[path, effect, reason] = step
        return step


def voices(standing: Sequence[Standing], act: Act, policies: Policies) -> tuple[Voice, ...]:
    """The consents that are heard about an act, in the order of signing."""
    return tuple(voice for one in standing if (voice := _voice(one, act, policies)) is not None)


def _voice(standing: Standing, act: Act, policies: Policies) -> Voice | None:
    consent = standing.consent
    governs = consent.consent_type == _GOVERNS[act.name]
    about_study = _about_study(consent, act) if governs else YES
    if about_study == NO or not (governs or _may_forbid(consent)):
        return None
    cannot_permit = "emergency-only" if standing.emergency_only else ""
    if about_study == MAYBE:
        cannot_permit = "ambiguous"
    scope = consent.withdrawal.scope if consent.withdrawal is not None else None
    return Voice(
        standing,
        tuple(made_ready(consent.provisions, act, policies)),
        governs,
        cannot_permit,
        act.name in _WITHDRAWAL[scope or "all"],
        _states_default(consent, governs),
        Verdict(consent.decision == "deny", DECISION, True),
        {},
    )


def _may_forbid(consent: Consent) -> bool:
    """Whether a consent of another type can still forbid: sharing forbidden is research forbidden, and what a consent
    that does not say its matter forbids may be this.
    """
    if consent.consent_type == "other":
        return not is_advance_directive(consent)
    return consent.consent_type == "privacy_sharing"


def _about_study(consent: Consent, act: Act) -> Tri:
    if act.name != "research" or not consent.studies:
        return YES
    return any_of(known_as(study, act.studies, same_party) for study in consent.studies)


def _states_default(consent: Consent, governs: bool) -> bool:
    """Whether the decision of a consent is meant where no rule of it applies.

    A form of one rule states no more than that rule, but for an opt-in policy (specification §3.4.3, step 5). And a
    consent about sharing that permits some of it does not thereby forbid research, of which it does not speak.
    """
    if consent.decision_implied:
        return consent.decision == "permit" and _opts_in(consent)
    return governs or consent.decision == "permit" or all(rule.effect == "deny" for rule in consent.provisions)


def _opts_in(consent: Consent) -> bool:
    first = consent.legal_bases[0] if consent.legal_bases else None
    return isinstance(first, Concept) and any(one.system == ACT_CODE and one.code == "OPTIN" for one in first.codings)
