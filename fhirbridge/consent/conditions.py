"""The conditions of a rule, one by one: does it hold for this act, for these data? No, perhaps, yes.

An empty condition is none; one of several values is enough; all of several conditions must hold (specification
§3.4.1). Those about the act are answered once for an act, those about data once for each resource.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from fhirbridge.consent.act import Act
from fhirbridge.consent.facts import Facts
from fhirbridge.consent.labels import LabelTest, configured_labels
from fhirbridge.consent.moments import Span, period_span
from fhirbridge.consent.names import known_as, same_party, same_thing, type_of
from fhirbridge.consent.policies import Policies
from fhirbridge.consent.subject import DOCUMENTS
from fhirbridge.consent.ternary import MAYBE, NO, YES, Tri, any_of, every
from fhirbridge.records.base import Coding, Concept, Ref
from fhirbridge.records.consent import Actor, Provision, SpecificData

Test: TypeAlias = Callable[[Facts], Tri]

_RECIPIENTS = frozenset({"recipient", "primary_recipient"})
# v3-ActReason: what is surely part of a purpose, and what is so by the hierarchy but goes further than people expect of
# the word. The second kind is denied with the whole and not permitted by it.
_PART_OF = {
    ("coordination_of_care", "treatment"),
    ("quality_improvement", "operations"),
    ("patient_safety", "operations"),
}
_PERHAPS_PART_OF = {
    ("emergency_treatment", "treatment"),
    ("break_the_glass", "treatment"),
    ("break_the_glass", "emergency_treatment"),
    ("clinical_trial", "research"),
}
_ANY_TYPE = frozenset({"Resource", "DomainResource"})
_LOINC = "http://loinc.org"


# ------------------------------------------------------------------------------------------------ about the act
def act_meets(rule: Provision, act: Act) -> Tri:
    """Whether the act meets what the rule says about actors, actions and purposes."""
    answers: list[Tri] = []
    if rule.actors:
        answers.append(any_of(_is_recipient(actor, act.recipients) for actor in rule.actors))
    if rule.actions:
        # Whoever is to receive data comes to access, use and hold it: an action that is not named may be meant.
        answers.append(YES if act.action in rule.actions else MAYBE)
    if rule.purposes:
        answers.append(every(_purpose(purpose, rule.purposes) for purpose in act.purposes))
    return min(answers, default=YES)


def _is_recipient(actor: Actor, names: tuple[Ref, ...]) -> Tri:
    """Whether the recipient is the actor. Somebody in another role (a custodian, an author) is not whom we give data
    to, but may be whose data they are.
    """
    if actor.role not in _RECIPIENTS:
        return MAYBE
    return known_as(actor.party, names, same_party)


def _purpose(purpose: str, named: Iterable[str | Coding]) -> Tri:
    return any_of(_is_purpose(purpose, one) for one in named)


def _is_purpose(purpose: str, named: str | Coding) -> Tri:
    if isinstance(named, Coding):
        return MAYBE
    if purpose == named or (purpose, named) in _PART_OF:
        return YES
    return MAYBE if (purpose, named) in _PERHAPS_PART_OF else NO


# ---------------------------------------------------------------------------------------------- about the data
def data_tests(rule: Provision, policies: Policies) -> Iterator[tuple[str, Test]]:
    """The tests that data must meet, each with the name of what it looks at."""
    if rule.labels:
        yield "labels", LabelTest(rule, configured_labels(policies.labels))
    if rule.resource_types or rule.document_types:
        yield "types", _type_test(rule)
    if rule.codes:
        yield "codes", _code_test(rule.codes)
    if rule.data_period is not None:
        yield "period", PeriodTest(period_span(rule.data_period, policies.zone))
    if rule.data:
        listed = rule.data
        yield "data", lambda facts: any_of(_is_data(one, facts) for one in listed)


def _type_test(rule: Provision) -> Test:
    """R4 has one list for both sorts of class, R5 has two: where both are named, one alone is half a match."""
    types = frozenset(rule.resource_types)
    documents = rule.document_types
    everything = not types.isdisjoint(_ANY_TYPE)

    def of_type(facts: Facts) -> Tri:
        if everything:
            return YES
        own = facts.subject.resource_type
        return (YES if own in types else NO) if own else MAYBE

    def of_document(facts: Facts) -> Tri:
        return any_of(_is_document(one, facts) for one in documents)

    if not documents:
        return of_type
    if not types:
        return of_document
    return lambda facts: every((of_type(facts), of_document(facts)))


def _is_document(named: Coding, facts: Facts) -> Tri:
    subject = facts.subject
    if (named.system, named.code) in subject.document_types:
        return YES
    if subject.resource_type and subject.resource_type not in DOCUMENTS:
        # What R4 calls a class may also be a profile, or anything: only a type of document is surely none of these.
        return NO if named.system == _LOINC else MAYBE
    return NO if any(system == named.system for system, _ in subject.document_types) else MAYBE


def _code_test(listed: tuple[Concept, ...]) -> Test:
    """FHIR: "if this code is found in an instance, the rule applies". Words without a code may be about anything."""
    sure = {(one.system, one.code) for concept in listed for one in concept.codings if one.system and one.code}
    loose = {one.code for concept in listed for one in concept.codings if one.code and not one.system}
    vague = any(not any(one.code for one in concept.codings) for concept in listed)

    def found(facts: Facts) -> Tri:
        codes = facts.subject.codes
        if not sure.isdisjoint(codes):
            return YES
        return MAYBE if vague or (loose and any(code in loose for _, code in codes)) else NO

    return found


class PeriodTest:
    """Yes if all of the data are from that time, no if none is; perhaps for a part, or where the time is not known."""

    def __init__(self, covered: Span) -> None:
        self.covered = covered

    def __call__(self, facts: Facts) -> Tri:
        when = facts.span
        if when is None:
            return MAYBE
        start, end = when
        first, last = self.covered
        if end <= first or start >= last:
            return NO
        return YES if first <= start and end <= last else MAYBE


def _is_data(named: SpecificData, facts: Facts) -> Tri:
    """FHIR's meanings: the resource itself; or what refers to it, or it to what (both: related to it in one step); or
    what somebody authored.
    """
    subject, item = facts.subject, named.item
    if named.meaning == "authoredby":
        # Several may have authored it, each known by several names.
        return any_of(same_party(item, one) for one in subject.authors) if subject.authors else MAYBE
    own = known_as(item, subject.own, same_thing)
    if named.meaning == "instance" or own == YES:
        return own
    of_its_type = [one for one in subject.related if type_of(one) == type_of(item)]
    answers = [same_thing(item, one) for one in of_its_type]
    if YES in answers:
        return YES
    # Data may belong to a visit that only their session names. A visit of their own, though, is another one.
    return NO if own == NO and answers and MAYBE not in answers else MAYBE
