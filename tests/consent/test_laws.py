"""What holds for all consents, acts and resources."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import random
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fhirbridge.binding import Release
from fhirbridge.consent import DENIALS, PERMITS, Decider, Policies, Subject, Unreadable, decide
from fhirbridge.consent.facts import Facts
from fhirbridge.consent.labels import marks_of
from fhirbridge.consent.moments import ALWAYS
from fhirbridge.consent.rules import DECISION, Rule, Verdict, judged
from fhirbridge.consent.ternary import MAYBE, NO, YES
from fhirbridge.errors import NotExpressible
from fhirbridge.records import Consent, parse
from tests.consent import worlds
from tests.consent.forms import through
from tests.strategies import consent as strategy
from tests.strategies.base import Tree

# Consents meet a question seldom enough that ten examples would say little.
many = settings(max_examples=max(30, settings.default.max_examples))
questions = st.lists(st.tuples(worlds.acts, worlds.subjects, worlds.moments), min_size=1, max_size=4)
series = st.lists(st.tuples(worlds.acts, worlds.subjects, worlds.moments), min_size=4, max_size=20)
groups = st.lists(worlds.evidence(), max_size=3)


def permitted(consents: Any, question: Any, policies: Policies) -> bool:
    act, subject, at = question
    return decide(consents, act, subject, at, policies).permitted


# ------------------------------------------------------------------------------------------------ more is not wider
def places(tree: Tree) -> Iterator[list[Tree]]:
    """Every list of rules in a consent or a rule."""
    for name in ("provisions", "exceptions"):
        if name in tree:
            yield tree[name]
            for one in tree[name]:
                yield from places(one)


@many
@given(groups, worlds.consent_trees(), worlds.denials, questions, worlds.policies, st.data())
def test_adding_a_rule_that_denies_never_widens(
    others: Any, tree: Tree, denial: Tree, asked: Any, policies: Policies, data: st.DataObject
) -> None:
    tree.pop("decision_implied", None)
    before = parse(Consent, tree)
    data.draw(st.sampled_from(list(places(tree)))).append(denial)
    after = parse(Consent, tree)
    for question in asked:
        assert permitted([*others, before], question, policies) or not permitted([*others, after], question, policies)


@many
@given(groups, worlds.consent_trees(), questions, worlds.policies)
def test_adding_a_consent_that_only_denies_never_widens(
    others: Any, tree: Tree, asked: Any, policies: Policies
) -> None:
    """It replaces nothing, neither another consent nor another revision of one."""
    tree |= {"id": "N", "decision": "deny", "provisions": [worlds.only(one, "deny") for one in tree["provisions"]]}
    tree.pop("supersedes", None)
    tree.pop("decision_implied", None)
    for question in asked:
        after = permitted([*others, parse(Consent, tree)], question, policies)
        assert permitted(others, question, policies) or not after


@many
@given(groups, worlds.consent_trees(), worlds.permits, questions, worlds.policies, st.data())
def test_taking_a_permit_away_never_widens(
    others: Any, tree: Tree, permit: Tree, asked: Any, policies: Policies, data: st.DataObject
) -> None:
    """A permit without denials in it: with those, their exceptions would go too."""
    tree.pop("decision_implied", None)
    without = parse(Consent, tree)
    data.draw(st.sampled_from(list(places(tree)))).append(permit)
    with_it = parse(Consent, tree)
    for question in asked:
        assert permitted([*others, with_it], question, policies) or not permitted(
            [*others, without], question, policies
        )


@many
@given(groups, questions, worlds.policies)
def test_taking_a_plain_consent_away_never_widens(others: Any, asked: Any, policies: Policies) -> None:
    tree = {"id": "N", "revision": 1, "patient": {"literal": "Patient/1"}, "consent_type": "privacy_sharing"}
    plain = parse(Consent, tree | {"state": "active", "decision": "permit", "signed_at": "2026-01-01"})
    for question in asked:
        assert permitted([*others, plain], question, policies) or not permitted(others, question, policies)


@many
@given(groups, questions, worlds.policies)
def test_what_cannot_be_read_never_widens_and_never_permits(others: Any, asked: Any, policies: Policies) -> None:
    for act, subject, at in asked:
        decision = decide([*others, Unreadable("X", "resource.type")], act, subject, at, policies)
        assert not decision.permitted or decision.reason in ("exception", "not-disclosed", "retraction")


@many
@given(groups, questions, worlds.policies)
def test_psychotherapy_notes_never_leave(consents: Any, asked: Any, policies: Policies) -> None:
    for act, subject, at in asked:
        notes = Subject("document", "DocumentReference", labels=subject.labels | {"psychotherapy_notes"})
        assert not decide(consents, act, notes, at, policies).permitted or act.name in ("store", "retract")


# ---------------------------------------------------------------------------------------------------------- order
@many
@given(groups, questions, worlds.policies, st.randoms(use_true_random=False))
def test_the_order_of_consents_makes_no_difference_at_all(
    consents: Any, asked: Any, policies: Policies, chance: random.Random
) -> None:
    shuffled = chance.sample(consents, len(consents))
    for act, subject, at in asked:
        assert decide(consents, act, subject, at, policies) == decide(shuffled, act, subject, at, policies)
    assert Decider(consents, policies).versions == Decider(shuffled, policies).versions


@many
@given(worlds.consent_trees(), questions, worlds.policies, st.randoms(use_true_random=False))
def test_the_order_of_rules_makes_no_difference_to_the_answer(
    tree: Tree, asked: Any, policies: Policies, chance: random.Random
) -> None:
    before = parse(Consent, tree)
    for listed in list(places(tree)):
        chance.shuffle(listed)
    after = parse(Consent, tree)
    for act, subject, at in asked:
        one, other = (decide([consent], act, subject, at, policies) for consent in (before, after))
        assert (one.effect, one.reason, one.obligations) == (other.effect, other.reason, other.obligations)


# --------------------------------------------------------------------------------------------------------- memory
@many
@given(
    groups, st.lists(st.tuples(worlds.acts, worlds.subjects, worlds.moments), min_size=4, max_size=20), worlds.policies
)
def test_the_memory_answers_as_the_decision_does(consents: Any, asked: Any, policies: Policies) -> None:
    """Each question twice, in two orders: what was remembered for one resource must be right for all with its key."""
    decider = Decider(consents, policies)
    answers: dict[Any, Any] = {}
    for act, subject, at in [*asked, *reversed(asked)]:
        expected = decide(consents, act, subject, at, policies)
        assert decider.decide(act, subject, at) == expected
        assert answers.setdefault((act, decider.key(act, subject, at)), expected) == expected


@many
@given(groups, questions, worlds.policies, st.floats(0, 1, exclude_max=True))
def test_nothing_changes_before_the_moment_at_which_it_may(
    consents: Any, asked: Any, policies: Policies, share: float
) -> None:
    decider = Decider(consents, policies)
    for act, subject, at in asked:
        following = decider.until(at)
        later = dt.datetime(2030, 1, 1, tzinfo=dt.UTC) if following is None else following
        between = at + (later - at) * share
        if between < later:
            assert decide(consents, act, subject, between, policies) == decide(consents, act, subject, at, policies)


@many
@given(groups, questions, worlds.policies)
def test_every_answer_says_why_in_words_that_exist(consents: Any, asked: Any, policies: Policies) -> None:
    for act, subject, at in asked:
        decision = decide(consents, act, subject, at, policies)
        assert decision.reason in (PERMITS if decision.permitted else DENIALS)
        for step in decision.trail:
            assert step.reason in (PERMITS if step.effect == "permit" else DENIALS)
        if decision.reason == "permitted":
            assert {step.effect for step in decision.trail} <= {"permit", "none"}
            assert any(step.effect == "permit" for step in decision.trail)


# ----------------------------------------------------------------------------------------------------- what is unsure
@st.composite
def answered(draw: st.DrawFn, levels: int = 3) -> Rule:
    inner = draw(st.lists(answered(levels - 1), max_size=2)) if levels > 1 else []
    denies, answer = draw(st.booleans()), draw(st.sampled_from([NO, MAYBE, YES]))
    return Rule("p", Verdict(denies, "p", True), answer, ALWAYS, (), tuple(inner))


def unsure(rules: Any) -> int:
    return sum((rule.act == MAYBE) + unsure(rule.exceptions) for rule in rules)


def resolved(rules: Any, world: Iterator[bool]) -> list[tuple[bool, list[Any]]]:
    """The rules that match in a world in which each doubt is decided: (denies, exceptions)."""
    found = []
    for rule in rules:
        matches = next(world) if rule.act == MAYBE else rule.act == YES
        inner = resolved(rule.exceptions, world)
        if matches:
            found.append((rule.alone.denies, inner))
    return found


def denied(matching: list[tuple[bool, list[Any]]], otherwise: bool) -> bool:
    """The rule of the specification where everything is known: innermost match, deny before permit."""
    return any(denied(inner, denies) for denies, inner in matching) if matching else otherwise


@settings(max_examples=300)
@given(st.lists(answered(), max_size=3), st.booleans())
def test_a_doubt_denies_exactly_if_it_denies_in_some_world(rules: Any, otherwise: bool) -> None:
    """Every doubt decided either way, in all combinations: what holds in none of them is not claimed."""
    count = unsure(rules)
    if count > 9:
        return
    worlds_ = [
        denied(resolved(rules, iter(world)), otherwise) for world in itertools.product((False, True), repeat=count)
    ]
    facts = Facts(Subject("session"), dt.UTC, marks_of(frozenset()))
    verdict = judged(rules, Verdict(otherwise, DECISION, True), facts, 0.0)
    assert verdict.denies == any(worlds_)
    assert not (verdict.denies and verdict.sure) or all(worlds_)


# ----------------------------------------------------------------------------------------------------------- forms
def the_same_in_every_form(consent: Consent, asked: Any, policies: Policies) -> None:
    forms = [consent, through(Release.R4, consent)]
    with contextlib.suppress(NotExpressible):
        forms.append(through(Release.R5, consent))
    for act, subject, at in asked:
        answers = [decide([form], act, subject, at, policies) for form in forms]
        assert all(answer == answers[0] for answer in answers)


@many
@given(strategy.consents, questions, worlds.policies)
def test_a_consent_decides_the_same_in_every_form(tree: Tree, asked: Any, policies: Policies) -> None:
    """Consents with every field there is, most of which meet no question."""
    consent = parse(Consent, tree)
    the_same_in_every_form(consent, asked, policies)


@many
@given(st.one_of(worlds.consent_trees(), worlds.consent_trees(alternating=True)), questions, worlds.policies)
def test_a_consent_that_meets_the_question_decides_the_same_in_every_form(
    tree: Tree, asked: Any, policies: Policies
) -> None:
    consent = parse(Consent, tree)
    if consent.decision_implied and consent.decision == "permit" and not consent.legal_bases:
        return  # R4 refuses to say it: a rule that denies does not permit the rest
    the_same_in_every_form(consent, asked, policies)
