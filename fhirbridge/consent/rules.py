"""The rules of one consent, made ready for one act, and what they say about one resource (specification §3.4.3).

An exception applies within what its rule matches; the innermost match decides; among siblings a denial beats a permit.
Whatever perhaps matches is taken both ways, and denies if it denies in any of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fhirbridge.consent.act import Act
from fhirbridge.consent.conditions import Test, act_meets, data_tests
from fhirbridge.consent.facts import Facts
from fhirbridge.consent.moments import ALWAYS, Span, period_span
from fhirbridge.consent.policies import Policies
from fhirbridge.consent.ternary import MAYBE, NO, YES, Tri
from fhirbridge.records.consent import Provision

DECISION = "decision"


class Verdict(NamedTuple):
    """What rules say: ``sure`` is false where they deny only because something is not known."""

    denies: bool
    path: str
    sure: bool


class Rule(NamedTuple):
    """A provision for one act: what it says without its exceptions, what the act alone answers, the time in which it
    holds, the tests for data.
    """

    path: str
    alone: Verdict
    act: Tri
    when: Span
    tests: tuple[tuple[str, Test], ...]
    exceptions: tuple[Rule, ...]

    def matches(self, facts: Facts, at: float) -> Tri:
        """Whether it applies to these data at this moment."""
        if not self.when.start <= at < self.when.end:
            return NO
        answer = self.act
        for _, test in self.tests:
            one = test(facts)
            if one == NO:
                return NO
            answer = min(answer, one)
        return answer


def made_ready(
    provisions: Sequence[Provision], act: Act, policies: Policies, path: str = "provisions"
) -> Iterable[Rule]:
    """The rules that can apply to the act at all, with their paths in the record."""
    for position, one in enumerate(provisions):
        answer = act_meets(one, act)
        if answer == NO:
            continue
        place = f"{path}[{position}]"
        yield Rule(
            place,
            Verdict(one.effect == "deny", place, True),
            answer,
            ALWAYS if one.period is None else period_span(one.period, policies.zone),
            tuple(data_tests(one, policies)),
            tuple(made_ready(one.exceptions, act, policies, f"{place}.exceptions")),
        )


def judged(rules: Sequence[Rule], otherwise: Verdict, facts: Facts, at: float) -> Verdict:
    """What ``rules`` say, which stand in something that says ``otherwise``.

    The rules deny if any rule that matches, or perhaps matches, may come to a denial; or if none surely matches and
    what they stand in denies.
    """
    denial: Verdict | None = None
    permit: Verdict | None = None
    perhaps = False
    for rule in rules:
        answer = rule.matches(facts, at)
        if answer == NO:
            continue
        inner = rule.alone
        if rule.exceptions:
            inner = judged(rule.exceptions, inner, facts, at)
        if inner.denies:
            if answer == MAYBE and inner.sure:
                inner = Verdict(True, inner.path, False)
            if denial is None or (inner.sure and not denial.sure):
                denial = inner
        elif answer == YES:
            permit = permit or inner
        else:
            perhaps = True
    if denial is not None:
        return denial
    if permit is not None:
        return permit
    # A permit that perhaps applies would have mattered.
    return Verdict(True, otherwise.path, False) if perhaps and otherwise.denies else otherwise


def boundaries(provisions: Iterable[Provision], policies: Policies) -> Iterable[float]:
    """The moments at which a rule, of any depth, begins or ceases to hold."""
    for one in provisions:
        if one.period is not None:
            yield from (edge for edge in period_span(one.period, policies.zone) if math.isfinite(edge))
        yield from boundaries(one.exceptions, policies)


def looked_at(rules: Iterable[Rule]) -> Iterable[tuple[str, Test]]:
    """The tests of rules of any depth."""
    for rule in rules:
        yield from rule.tests
        yield from looked_at(rule.exceptions)
