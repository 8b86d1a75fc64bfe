"""What comes out: permit or deny, what has to be done with it, and which provision of which consent said so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from fhirbridge.records.consent import Effect

# Every reason there is, the weightiest denial first: where several hold, the first is named. Of what does not forbid
# but fails to permit, what comes nearest to a permission is named first, for there it can be mended.
DENIALS = {
    "psychotherapy-notes": "psychotherapy notes never leave the clinic",
    "unreadable": "a consent of this patient cannot be read",
    "withdrawn": "the consent was withdrawn",
    "refused": "the patient refused",
    "denied-by-provision": "a rule of a consent forbids it",
    "denied-by-decision": "a consent forbids what none of its rules permits",
    "ambiguous": "a consent may forbid it, or may not permit it: something in it, or about the data, is not known",
    "incapable": "the consent was given by somebody judged unable to give it, and by nobody else",
    "emergency-only": "the consent permits emergencies only",
    "elsewhere": "the consent was found on a server, where it may forbid but not permit",
    "not-covered": "the consents permit other things, or others",
    "not-yet": "the consent does not hold yet",
    "expired": "the consent has ended",
    "inactive": "the consent is not in force",
    "not-signed": "the consent is a draft or a proposal",
    "unknown-state": "nobody knows whether the consent holds",
    "entered-in-error": "the consent was recorded in error",
    "superseded": "the consent was replaced",
    "no-consent": "there is no consent that could permit it",
    "other-matter": "the consent is about another matter, and does not forbid this",
    "no-exception": "the configuration names no legal exception for it",
    "wrong-subject": "the act is for something else",
}
PERMITS = {
    "permitted": "a consent permits it, and none forbids it",
    "exception": "a legal exception of the configuration permits it",
    "not-disclosed": "nothing is disclosed: the clinic's own server",
    "withdrawal-notice": "the consent that no longer holds is itself made known",
    "retraction": "what was sent is taken back",
}
# The rank of each denial.
WEIGHT = {reason: place for place, reason in enumerate(DENIALS)}


class Step(NamedTuple):
    """What one place of one consent said. ``path`` is a path into the record, ``effect`` what follows from there
    (``none``: neither), ``reason`` why; ``origin`` is where the consent was found, empty for the clinic's own.

    Nothing of the content of a consent is in it: identifiers, paths and codes.
    """

    consent: str
    revision: str
    path: str
    effect: Literal["permit", "deny", "none"]
    reason: str
    origin: str = ""
    # Of a consent that cannot be read: the code of its fault.
    fault: str = ""


class Obligation(NamedTuple):
    """What must be done with what is permitted: ``omit`` or ``mask`` the ``part`` for its ``label``, add the
    ``redisclosure-notice`` (42 CFR 2.32), ``deidentify``.
    """

    name: Literal["omit", "mask", "redisclosure-notice", "deidentify"]
    label: str = ""
    part: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer. ``reason`` is a stable code of :data:`DENIALS` or :data:`PERMITS`; ``exception`` is the name of the
    legal exception that permitted it; the trail is in the order of signing.
    """

    effect: Effect
    reason: str
    trail: tuple[Step, ...] = ()
    obligations: tuple[Obligation, ...] = ()
    exception: str = ""

    @property
    def permitted(self) -> bool:
        """Whether it may be done."""
        return self.effect == "permit"
