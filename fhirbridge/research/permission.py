"""Whether a study may use a resource: the consents of its patient decide, resource by resource."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field

from fhirbridge.consent import NO_POLICIES, Act, Decider, Decision, Policies, Subject, subject_of
from fhirbridge.fhir.json import Tree
from fhirbridge.records import Consent, Record
from fhirbridge.research.people import Facts

# Reasons beside those of the engine.
UNFULFILLED = "obligation"
NOBODY = "no-patient"
REASONS = {
    UNFULFILLED: "a part would have to be left out or masked, which is not done here",
    NOBODY: "it is not certain whose resource it is",
}
# What all records of a kind have in common.
_SHARED = frozenset({"types"})
# De-identification is what happens next; the notice of 42 CFR 2.32 stands in the dataset's README.
_FULFILLED = frozenset({"deidentify", "redisclosure-notice"})


@dataclass(slots=True)
class _Patient:
    decider: Decider
    looks_at: frozenset[str]
    # What was answered, by what all resources of a sort share.
    answers: dict[tuple[str, tuple[str, ...]], str] = field(default_factory=dict)


class Permission:
    """The decisions of one build: one act, one moment. ``facts`` are the patients', by identity."""

    def __init__(self, act: Act, at: dt.datetime, facts: dict[str, Facts], policies: Policies = NO_POLICIES) -> None:
        self._act, self._at, self._facts, self._policies = act, at, facts, policies
        self._patients: dict[str, _Patient] = {}
        self._codes_matter = any(rule.codes for rule in policies.labels)

    def reason(self, identity: str, record: Record, tree: Callable[[], Tree], *, plain: bool) -> str:
        """Why a record may not be used; empty where it may.

        ``tree`` gives the resource, and is asked only where a rule looks into it; ``plain``: the resource says nothing
        that the record does not, so that its labels follow from the record.
        """
        patient = self._patients.get(identity) or self._patient(identity)
        if not plain or patient.looks_at - _SHARED or self._codes_matter or record.kind == Consent.kind:
            state = record.state if isinstance(record, Consent) else None
            subject = self._subject(tree(), record.kind, patient, state)
            return self._answer(patient, subject)
        key = (record.kind, record.sensitivity)
        answer = patient.answers.get(key)
        if answer is None:
            answer = patient.answers[key] = self._answer(patient, self._subject(tree(), record.kind, patient, None))
        return answer

    def of_resource(self, identity: str, resource: Tree) -> str:
        """The same of a resource that is no record."""
        patient = self._patients.get(identity) or self._patient(identity)
        return self._answer(patient, self._subject(resource, "", patient, None))

    def of_person(self, identity: str) -> str:
        """The same of a patient as such: of what is in no way special."""
        patient = self._patients.get(identity) or self._patient(identity)
        return self._answer(patient, Subject("", "Patient"))

    def _patient(self, identity: str) -> _Patient:
        facts = self._facts.get(identity)
        decider = Decider(facts.evidence if facts is not None else (), self._policies)
        made = self._patients[identity] = _Patient(decider, decider.looks_at(self._act))
        return made

    def _subject(self, resource: Tree, kind: str, patient: _Patient, state: str | None) -> Subject:
        return subject_of(resource, kind, self._policies, looks_at=patient.looks_at, state=state)

    def _answer(self, patient: _Patient, subject: Subject) -> str:
        decision: Decision = patient.decider.decide(self._act, subject, self._at)
        if not decision.permitted:
            return decision.reason
        return "" if all(one.name in _FULFILLED for one in decision.obligations) else UNFULFILLED
