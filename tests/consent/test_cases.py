"""The table of decisions, ``cases.toml``: each question, asked of the records and of the same consents in R4 and R5."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from fhirbridge.binding import Release
from fhirbridge.consent import DENIALS, PERMITS, Decider, Decision, Evidence, decide
from fhirbridge.errors import NotExpressible
from tests.consent.forms import through
from tests.consent.plain import Question, policies, question, signed

FORMS: list[dict[str, Any]] = tomllib.loads(Path(__file__).with_name("cases.toml").read_text("utf-8"))["form"]
CASES = [(form, line) for form in FORMS for line in form["ask"]]

every_case = pytest.mark.parametrize(
    ("form", "line"), CASES, ids=[f"{form['title']}: {line.partition('->')[0].strip()}" for form, line in CASES]
)


def answer(form: dict[str, Any], consents: list[Evidence], asked: Question) -> Decision:
    """The decision, with and without memory."""
    rules = policies(form)
    decision = decide(consents, asked.act, asked.subject, asked.at, rules)
    decider = Decider(consents, rules)
    assert decider.decide(asked.act, asked.subject, asked.at) == decision
    assert decider.decide(asked.act, asked.subject, asked.at) == decision
    return decision


def check(decision: Decision, asked: Question) -> None:
    assert (decision.effect, decision.reason) == (asked.effect, asked.reason), decision
    assert {one.name for one in decision.obligations} == asked.obligations


@every_case
def test_the_answer_on_the_records(form: dict[str, Any], line: str) -> None:
    asked = question(line)
    check(answer(form, signed(form["signed"]), asked), asked)


@every_case
def test_the_answer_on_the_same_consents_out_of_r4(form: dict[str, Any], line: str) -> None:
    asked = question(line)
    check(answer(form, [through(Release.R4, one) for one in signed(form["signed"])], asked), asked)


@every_case
def test_the_answer_on_the_same_consents_out_of_r5_or_its_refusal_to_say_them(form: dict[str, Any], line: str) -> None:
    asked = question(line)
    if "r5" in form:
        with pytest.raises(NotExpressible) as caught:
            [through(Release.R5, one) for one in signed(form["signed"])]
        assert {fault.code for fault in caught.value.faults} == {form["r5"]}
        return
    check(answer(form, [through(Release.R5, one) for one in signed(form["signed"])], asked), asked)


def test_the_table_is_large_and_says_why() -> None:
    """At least 200 cases; each form has a source, each answer a reason that exists and one in words."""
    assert len(CASES) >= 200
    assert all(form["title"] and form["source"] for form in FORMS)
    assert len({form["title"] for form in FORMS}) == len(FORMS)
    for _, line in CASES:
        asked = question(line)
        assert asked.why, line
        assert asked.reason in (PERMITS if asked.effect == "permit" else DENIALS), line


def test_every_reason_stands_in_the_table() -> None:
    """But for the one that is only ever a step on the way."""
    reasons = {question(line).reason for _, line in CASES}
    assert reasons == (DENIALS.keys() | PERMITS.keys()) - {"other-matter"}
