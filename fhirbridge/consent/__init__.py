"""Consent decides: from the consents of a patient and what is about to be done to permit or deny, with the reasons.

    decider = Decider(consents, policies)
    decision = decider.decide(Act("treat", recipients), subject_of(resource, "session", policies), at)
    decision.permitted, decision.reason, decision.obligations, decision.trail

Pure: records in, a decision out; no clock, no file, no network. What is ambiguous, malformed or unknown is denied.
"""

from fhirbridge.consent.act import BY_CONSENT, BY_EXCEPTION, OUTWARD, Act, ActName
from fhirbridge.consent.decider import Decider, Key, decide
from fhirbridge.consent.decision import DENIALS, PERMITS, Decision, Obligation, Step
from fhirbridge.consent.evidence import Evidence, Found, Unreadable
from fhirbridge.consent.labels import labels_of
from fhirbridge.consent.matrix import Cell, matrix, purposes_of
from fhirbridge.consent.policies import NO_POLICIES, LabelRule, LegalException, Policies
from fhirbridge.consent.reading import evidence_of
from fhirbridge.consent.shape import misshapen
from fhirbridge.consent.simulate import Change, simulate
from fhirbridge.consent.subject import RETRACTION, Part, Subject, subject_of
from fhirbridge.consent.tree import Line, tree

__all__ = [
    "BY_CONSENT",
    "BY_EXCEPTION",
    "DENIALS",
    "NO_POLICIES",
    "OUTWARD",
    "PERMITS",
    "RETRACTION",
    "Act",
    "ActName",
    "Cell",
    "Change",
    "Decider",
    "Decision",
    "Evidence",
    "Found",
    "Key",
    "LabelRule",
    "LegalException",
    "Line",
    "Obligation",
    "Part",
    "Policies",
    "Step",
    "Subject",
    "Unreadable",
    "decide",
    "evidence_of",
    "labels_of",
    "matrix",
    "misshapen",
    "purposes_of",
    "simulate",
    "subject_of",
    "tree",
]
