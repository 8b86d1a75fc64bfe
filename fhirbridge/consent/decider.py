"""The decision: from the consents of one patient, an act and what it is about, to permit or deny, with the reasons."""

from __future__ import annotations

import bisect
import datetime as dt
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from fhirbridge.consent.act import BY_CONSENT, OUTWARD, Act
from fhirbridge.consent.conditions import PeriodTest, Test
from fhirbridge.consent.decision import WEIGHT, Decision, Obligation, Step
from fhirbridge.consent.evidence import Evidence, Unreadable
from fhirbridge.consent.facts import Facts, data_span
from fhirbridge.consent.labels import PSYCHOTHERAPY_NOTES, Marks, marks_of
from fhirbridge.consent.names import known_as, same_party
from fhirbridge.consent.policies import NO_POLICIES, LegalException, Policies
from fhirbridge.consent.rules import boundaries, looked_at
from fhirbridge.consent.standing import standing
from fhirbridge.consent.subject import RETRACTION, Subject
from fhirbridge.consent.ternary import YES
from fhirbridge.consent.voice import Voice, voices
from fhirbridge.records.consent import Consent

# Answers kept for an act, and acts: a site has one act, and few patients have data of many sorts.
_MOST_ANSWERS = 4_096
_MOST_ACTS = 256
_NOTHING_DISCLOSED = Decision("permit", "not-disclosed")
_WITHDRAWAL_NOTICE = Decision("permit", "withdrawal-notice")
_RETRACTION = Decision("permit", "retraction")
_WRONG_SUBJECT = Decision("deny", "wrong-subject")
_NOTES_STAY = Decision("deny", "psychotherapy-notes")
_NO_EXCEPTION = Decision("deny", "no-exception")
# A consent in one of these states no longer permits, and telling so is no disclosure that needs one.
_OVER = frozenset({"withdrawn", "inactive", "refused", "superseded", "expired", "entered_in_error"})
_REDISCLOSURE = Obligation("redisclosure-notice")
_DEIDENTIFY = Obligation("deidentify")
_NO_MARKS = marks_of(frozenset())
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

Key: TypeAlias = Hashable


def decide(
    consents: Sequence[Evidence], act: Act, subject: Subject, at: dt.datetime, policies: Policies = NO_POLICIES
) -> Decision:
    """The decision on one resource at the moment ``at``, which has a zone.

    ``consents`` are all of the patient that anybody knows of, in any order. What is not surely permitted is denied.
    """
    return Decider(consents, policies).judge(act, subject, at)


class _Prepared(NamedTuple):
    """What of a patient's consents concerns one act."""

    voices: tuple[Voice, ...]
    unreadable: tuple[Step, ...]
    exceptions: tuple[LegalException, ...]
    # What the answer depends on, beside the time and the labels.
    by_type: bool
    by_span: tuple[float, ...]
    by_test: tuple[Test, ...]
    dimensions: frozenset[str]
    answers: dict[Key, Decision]


class Decider:
    """The consents of one patient, made ready: the same answers as :func:`decide`, remembered.

    It may be used from several threads. ``versions`` are the consents it was made of: (origin, id, revision).
    """

    def __init__(self, consents: Iterable[Evidence], policies: Policies = NO_POLICIES) -> None:
        given = tuple(consents)
        self._policies = policies
        self._standing = standing(given, policies)
        self._unreadable = tuple(sorted({_unread(one) for one in given if isinstance(one, Unreadable)}))
        edges = {edge for one in self._standing for edge in one.edges()}
        for one in self._standing:
            edges.update(boundaries(one.consent.provisions, policies))
        self._edges = sorted(edges)
        self._acts: dict[Act, _Prepared] = {}

    @property
    def consents(self) -> tuple[Consent, ...]:
        """The consents that count, in the order of signing: the newest revision of each."""
        return tuple(one.consent for one in self._standing)

    @property
    def versions(self) -> tuple[tuple[str, str, str], ...]:
        """What the answers rest on: origin, id and revision of each consent, the unreadable ones without revision."""
        held = [(one.origin, one.consent.id, str(one.consent.revision)) for one in self._standing]
        return tuple(sorted(held + [(one.origin, one.consent, "") for one in self._unreadable]))

    def decide(self, act: Act, subject: Subject, at: dt.datetime) -> Decision:
        """The decision on one resource, as :func:`decide` gives it."""
        if act.name not in OUTWARD or at.tzinfo is None:
            return self.judge(act, subject, at)
        prepared = self._acts.get(act) or self._prepare(act)
        moment = at.timestamp()
        key = self._key(prepared, subject, moment)
        answer = prepared.answers.get(key)
        if answer is None:
            if len(prepared.answers) >= _MOST_ANSWERS:
                prepared.answers.clear()
            answer = prepared.answers[key] = self._judge(prepared, act, subject, moment)
        return answer

    def judge(self, act: Act, subject: Subject, at: dt.datetime) -> Decision:
        """The same without the memory. Raises ``ValueError`` for a moment without a zone."""
        if at.tzinfo is None:
            raise ValueError("a moment without a zone says no moment")
        if act.name == "store":
            return _NOTHING_DISCLOSED
        if act.name == "retract":
            return _RETRACTION if subject.kind == RETRACTION else _WRONG_SUBJECT
        if act.name == "notify_withdrawal":
            over = subject.kind == Consent.kind and subject.state in _OVER
            return _WITHDRAWAL_NOTICE if over else _WRONG_SUBJECT
        return self._judge(self._acts.get(act) or self._prepare(act), act, subject, at.timestamp())

    def key(self, act: Act, subject: Subject, at: dt.datetime) -> Key:
        """Something small under which the answer is the same, for these consents."""
        if act.name not in OUTWARD:
            return act, subject.kind, subject.state
        return act, self._key(self._acts.get(act) or self._prepare(act), subject, at.timestamp())

    def looks_at(self, act: Act) -> frozenset[str]:
        """What an answer can depend on, beside the labels of a resource: ``types``, ``codes``, ``period``, ``data``."""
        return (self._acts.get(act) or self._prepare(act)).dimensions

    def until(self, at: dt.datetime) -> dt.datetime | None:
        """The next moment at which an answer may change, or ``None`` when none will."""
        place = bisect.bisect_right(self._edges, at.timestamp())
        if place == len(self._edges):
            return None
        try:
            return _EPOCH + dt.timedelta(seconds=self._edges[place])
        except OverflowError:
            # The end of the calendar.
            return None

    # ------------------------------------------------------------------------------------------- for one act
    def _prepare(self, act: Act) -> _Prepared:
        heard = voices(self._standing, act, self._policies) if act.name in BY_CONSENT else ()
        tests = [one for voice in heard for one in looked_at(voice.rules)]
        names = frozenset(name for name, _ in tests)
        prepared = _Prepared(
            heard,
            self._unreadable if act.name in BY_CONSENT else (),
            tuple(one for one in self._policies.exceptions if _concerns(one, act)),
            "types" in names,
            tuple(sorted({edge for _, test in tests if isinstance(test, PeriodTest) for edge in test.covered})),
            tuple(test for name, test in tests if name in ("codes", "data")),
            names - {"labels"},
            {},
        )
        if len(self._acts) >= _MOST_ACTS:
            self._acts.clear()
        self._acts[act] = prepared
        return prepared

    def _key(self, prepared: _Prepared, subject: Subject, moment: float) -> Key:
        edges = self._edges
        interval = bisect.bisect_right(edges, moment) if edges else 0
        kind = subject.kind if prepared.exceptions else ""
        if not prepared.dimensions:
            return interval, subject.labels, subject.parts, kind
        more: list[Hashable] = []
        if prepared.by_type:
            more += (subject.resource_type, subject.document_types)
        if prepared.by_span:
            # On which side of each edge the data begin and end is all that a rule asks.
            when = data_span(subject, self._policies.zone)
            if when is not None:
                more += (bisect.bisect_right(prepared.by_span, when[0]), bisect.bisect_left(prepared.by_span, when[1]))
            else:
                more.append(None)
        if prepared.by_test:
            facts = Facts(subject, self._policies.zone, _NO_MARKS)
            more += [test(facts) for test in prepared.by_test]
        return interval, subject.labels, subject.parts, kind, tuple(more)

    def _judge(self, prepared: _Prepared, act: Act, subject: Subject, moment: float) -> Decision:
        whole = subject.labels | {part.label for part in subject.parts} if subject.parts else subject.labels
        answer = self._answer(prepared, act, subject, whole, moment)
        if answer.effect == "permit" or not subject.parts:
            return answer
        rest = self._answer(prepared, act, subject, subject.labels, moment)
        if rest.effect == "deny":
            return answer
        left_out = tuple(Obligation(part.means, part.label, part.name) for part in sorted(subject.parts))
        return Decision("permit", rest.reason, rest.trail, left_out + rest.obligations, rest.exception)

    def _answer(
        self, prepared: _Prepared, act: Act, subject: Subject, labels: frozenset[str], moment: float
    ) -> Decision:
        marks = marks_of(labels)
        if PSYCHOTHERAPY_NOTES in marks.others:
            return _NOTES_STAY
        for exception in prepared.exceptions:
            if subject.kind in exception.kinds:
                return Decision("permit", "exception", (), _notices(marks), exception.name)
        if act.name not in BY_CONSENT:
            return _NO_EXCEPTION
        facts = Facts(subject, self._policies.zone, marks)
        trail = prepared.unreadable + tuple([voice.says(facts, moment) for voice in prepared.voices])
        return self._weighed(prepared, trail, marks)

    @staticmethod
    def _weighed(prepared: _Prepared, trail: tuple[Step, ...], marks: Marks) -> Decision:
        """Deny beats permit, and silence is no permission."""
        effects = [step.effect for step in trail]
        if "deny" in effects or "permit" not in effects:
            reasons = [step.reason for step in trail if step.effect == "deny"]
            reasons = reasons or ["no-consent", *(step.reason for step in trail)]
            return Decision("deny", min(reasons, key=WEIGHT.__getitem__), trail)
        duties = _notices(marks)
        for voice, effect in zip(prepared.voices, effects, strict=True):
            if effect == "permit" and voice.standing.deidentified:
                duties = (_DEIDENTIFY, *_notices(marks))
        return Decision("permit", "permitted", trail, duties)


def _unread(one: Unreadable) -> Step:
    return Step(one.id, "", "", "deny", "unreadable", one.origin, one.reason)


def _concerns(exception: LegalException, act: Act) -> bool:
    if exception.act != act.name:
        return False
    if not exception.recipients:
        return True
    return any(known_as(one, act.recipients, same_party) == YES for one in exception.recipients)


def _notices(marks: Marks) -> tuple[Obligation, ...]:
    return (_REDISCLOSURE,) if marks.substance_use else ()
