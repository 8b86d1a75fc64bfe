"""The decision as others use it: trails, obligations, what it looks at, when it may change, what it refuses."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from fhirbridge.consent import (
    DENIALS,
    PERMITS,
    Act,
    ActName,
    Decider,
    Found,
    LegalException,
    Obligation,
    Part,
    Policies,
    Step,
    Subject,
    Unreadable,
    decide,
)
from fhirbridge.records import Consent
from tests.consent.plain import NOW, act, ref, signed, subject

TREAT = act("treat HOSPITAL-1")
SESSION = subject("session")


def consents(text: str) -> list[Any]:
    return signed(text)


# --------------------------------------------------------------------------------------------------------- the trail
def test_the_trail_names_the_provision_of_each_consent_that_was_heard() -> None:
    text = """
sharing active deny id=A revision=4
  permit for=payment
  permit to=HOSPITAL-1
    deny labelled=substance_use
sharing active permit id=B signed=2026-02-01
recording active deny id=R
"""
    decision = decide(consents(text), TREAT, subject("session also=substance_use"), NOW)
    assert decision.trail == (
        Step("A", "4", "provisions[1].exceptions[0]", "deny", "denied-by-provision"),
        Step("B", "1", "decision", "permit", "permitted"),
    )


def test_the_trail_says_why_a_consent_was_not_counted() -> None:
    text = "sharing expired permit id=A period=2026-01-01..2026-02-01\nresearch active permit id=B study=KET-2"
    assert decide(consents(text), TREAT, SESSION, NOW).trail == (Step("A", "1", "state", "none", "expired"),)


def test_the_trail_of_what_cannot_be_read_gives_the_code_of_the_fault_and_where_it_was_found() -> None:
    found = [Unreadable("X", "resource.polarity", "https://hospital.example/fhir")]
    (step,) = decide(found, TREAT, SESSION, NOW).trail
    assert step == Step("X", "", "", "deny", "unreadable", "https://hospital.example/fhir", "resource.polarity")


def test_no_answer_shows_what_the_consents_or_the_data_say() -> None:
    """Identifiers of consents, paths and codes only; not who, not what."""
    text = "sharing active permit\n  deny to=INSURER-1 words='the accident'"
    one = subject("session own=Procedure:SECRET-1 related=Encounter:SECRET-2")
    said = (
        repr(decide(consents(text), act("share INSURER-1"), one, NOW)) + repr(one) + repr(Found(consents(text)[0], "h"))
    )
    for secret in ("INSURER", "accident", "SECRET", "P-1"):
        assert secret not in said


# --------------------------------------------------------------------------------------------------------- what goes
def test_parts_are_left_out_or_masked_by_name() -> None:
    one = subject("session part=substance_use/kap,psychotherapy_notes/notes/mask")
    decision = decide(consents("sharing active permit\n  deny labelled=substance_use"), TREAT, one, NOW)
    assert decision.obligations == (
        Obligation("mask", "psychotherapy_notes", "notes"),
        Obligation("omit", "substance_use", "kap"),
    )
    assert [step.effect for step in decision.trail] == ["permit"]


def test_an_exception_is_named_and_carries_its_notice() -> None:
    rules = Policies((LegalException("fda", "regulatory_report", frozenset({"adverse_event"}), "21 CFR 314.80"),))
    decision = decide([], Act("regulatory_report"), subject("adverse_event also=substance_use"), NOW, rules)
    assert (decision.exception, decision.trail) == ("fda", ())
    assert decision.obligations == (Obligation("redisclosure-notice"),)


@pytest.mark.parametrize(
    "wrong",
    [
        ("", "regulatory_report", frozenset({"session"}), "a law"),
        ("x", "regulatory_report", frozenset(), "a law"),
        ("x", "regulatory_report", frozenset({"session"}), " "),
        ("x", "store", frozenset({"session"}), "a law"),
        ("x", "retract", frozenset({"session"}), "a law"),
    ],
)
def test_an_exception_that_is_not_explicit_is_none(wrong: Any) -> None:
    with pytest.raises(ValueError, match="an exception has"):
        LegalException(*wrong)


def test_an_act_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no such act"):
        Act("sell")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["treat", "store", "retract", "notify_withdrawal"])
def test_a_moment_without_a_zone_is_refused(name: Any) -> None:
    decider = Decider([])
    for answer in (decider.decide, decider.judge):
        with pytest.raises(ValueError, match="zone"):
            answer(Act(name), SESSION, NOW.replace(tzinfo=None))


# ---------------------------------------------------------------------------------------------------------- the memory
def test_the_key_leaves_out_what_no_rule_looks_at() -> None:
    decider = Decider(consents("sharing active permit\n  deny labelled=substance_use"))
    assert decider.looks_at(TREAT) == frozenset()
    other = Subject(
        "vital_sign", "Observation", frozenset({("s", "c")}), SESSION.labels, "2020", own=(ref("HOSPITAL-9"),)
    )
    assert decider.key(TREAT, SESSION, NOW) == decider.key(TREAT, other, NOW + dt.timedelta(days=9))
    assert decider.decide(TREAT, SESSION, NOW) is decider.decide(TREAT, other, NOW)


@pytest.mark.parametrize(
    ("condition", "dimension"),
    [
        ("type=Observation", "types"),
        ("document=LOINC|1", "types"),
        ("code=LOINC|1", "codes"),
        ("data=2026-01..", "period"),
        ("instance=Procedure:1", "data"),
    ],
)
def test_the_decider_tells_what_it_looks_at(condition: str, dimension: str) -> None:
    decider = Decider(consents(f"sharing active permit\n  deny for=treatment\n    permit {condition}"))
    assert decider.looks_at(TREAT) == {dimension}
    assert decider.looks_at(act("share HOSPITAL-1 for=payment")) == frozenset()


def test_the_moments_of_change_are_known() -> None:
    text = "sharing active permit period=..2026-12-31T00:00:00Z\n  deny during=2026-11-21..2026-11-22"
    decider = Decider(consents(text))
    moments = []
    at: dt.datetime | None = NOW
    while at := decider.until(at):
        moments.append(at.isoformat())
    assert moments == ["2026-11-21T00:00:00+00:00", "2026-11-23T00:00:00+00:00", "2026-12-31T00:00:01+00:00"]
    assert Decider([]).until(NOW) is None


def test_for_ever_has_no_end() -> None:
    decider = Decider(consents("sharing active permit period=2026-01-01..9999-12-31"))
    assert decider.until(NOW) is None
    assert decider.decide(TREAT, SESSION, NOW).permitted
    exact = Decider(consents("sharing active permit period=2026-01-01..9999-12-31T23:59:59Z"))
    assert exact.until(NOW) is None


def test_days_are_days_of_the_clinic() -> None:
    """It ends in New York five hours later than in Greenwich."""
    rules = Policies(zone=ZoneInfo("America/New_York"))
    one = consents("sharing active permit period=2026-01-01..2026-11-20")
    evening = dt.datetime(2026, 11, 21, 3, tzinfo=dt.UTC)
    assert decide(one, TREAT, SESSION, evening, rules).permitted
    assert not decide(one, TREAT, SESSION, evening).permitted


def test_a_leap_second_and_fractions_are_times_too() -> None:
    one = consents("sharing active deny\n  permit data=2026-06-30T23:59:60Z..2026-07-01T00:00:01.250Z")
    for text, permitted in [
        ("2026-06-30T23:59:60Z", True),
        ("2026-07-01T00:00:01.250Z", True),
        ("2026-07-01T00:00:01.251Z", False),
        ("2026-06-30T23:59:59Z", False),
    ]:
        assert decide(one, TREAT, subject(f"session on={text}"), NOW).permitted is permitted, text


def test_the_memory_is_bounded_and_right_beyond_its_bounds() -> None:
    decider = Decider(consents("sharing active permit\n  deny labelled=substance_use"))
    for number in range(5_000):
        one = Subject("session", labels=frozenset({f"X{number}"}))
        assert decider.decide(TREAT, one, NOW).permitted
    for number in range(300):
        assert decider.decide(act(f"share HOSPITAL-{number}"), SESSION, NOW).permitted


def test_versions_are_those_that_count() -> None:
    found = [
        *consents("sharing active permit id=A revision=1\nsharing active permit id=A revision=2"),
        Unreadable("X", "y"),
    ]
    decider = Decider(found)
    assert decider.versions == (("", "A", "2"), ("", "X", ""))
    assert [one.revision for one in decider.consents] == [2]
    assert all(isinstance(one, Consent) for one in decider.consents)


def test_parts_are_sorted_whatever_their_order() -> None:
    one = Subject("session", parts=frozenset({Part("substance_use", "b"), Part("substance_use", "a")}))
    found = consents("sharing active permit\n  deny labelled=substance_use")
    assert [duty.part for duty in decide(found, TREAT, one, NOW).obligations] == ["a", "b"]


def test_every_reason_and_every_act_is_explained_to_privacy_officers() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "consent.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z_-]+)` \|", page, re.MULTILINE)
    assert [row for row in rows if row in DENIALS] == list(DENIALS)
    assert [row for row in rows if row in PERMITS] == list(PERMITS)
    assert set(rows) - DENIALS.keys() - PERMITS.keys() == set(ActName.__args__)  # type: ignore[attr-defined]


def test_a_rule_that_denies_does_not_by_itself_permit_the_rest() -> None:
    """R4 refuses to say such a consent (specification §3.4.3, step 5); as a record it permits nothing."""
    one = consents("sharing active permit implied\n  deny to=INSURER-1")
    decision = decide(one, TREAT, SESSION, NOW)
    assert (decision.effect, decision.reason) == ("deny", "not-covered")
    assert decide(one, act("share INSURER-1"), SESSION, NOW).reason == "denied-by-provision"


def test_an_exception_for_one_kind_is_not_remembered_for_another() -> None:
    rules = Policies((LegalException("report", "share", frozenset({"adverse_event"}), "a law"),))
    decider = Decider([], rules)
    same = {"labels": frozenset({"restricted"})}
    for _ in range(2):
        assert decider.decide(Act("share"), Subject("adverse_event", **same), NOW).exception == "report"
        assert not decider.decide(Act("share"), Subject("session", **same), NOW).permitted


CONDITIONS = (
    "type=Observation",
    "document=LOINC|51851-4",
    "type=DocumentReference document=LOINC|51851-4",
    "code=LOINC|85354-9",
    "code=LOINC|85354-9 data=2026-11-10..2026-11-11",
    "data=..2026-10",
    "data=2026-11-01..",
    "data=2026-10-15..2026-10-31",
    "instance=Procedure:S-7",
    "related=Encounter:E-5",
    "authoredby=MD-7",
    "labelled=substance_use",
)
RESOURCES = [
    subject(text)
    for text in (
        "session",
        "vital_sign",
        "vital_sign code=LOINC|85354-9",
        "vital_sign code=LOINC|85354-9 undated",
        "session undated",
        "session type=",
        "session also=substance_use",
        "session part=substance_use/kap",
        "session on=2026-10-31T23:59:59Z",
        "session on=2026-10-31T23:59:59Z..2026-11-01T00:00:00Z",
        "session on=2026-10-31T23:59:58Z..2026-10-31T23:59:59Z",
        "session on=2026-10-14T23:59:59Z..2026-10-15T00:00:00Z",
        "session on=2026-10-15T00:00:00Z..2026-10-16",
        "session on=2026-11-01T00:00:00Z",
        "session own=Procedure:S-7",
        "session own=Procedure:S-8",
        "session own=Procedure:S-8 related=Encounter:E-5",
        "session own=Procedure:S-8 related=Encounter:E-6",
        "session authors=MD-7",
        "session authors=MD-8",
        "document",
        "document document=LOINC|51851-4",
        "document document=LOINC|34133-9",
    )
]


@pytest.mark.parametrize("effect", ["permit", "deny"])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_what_a_rule_tells_apart_the_memory_does_too(condition: str, effect: str) -> None:
    """Every resource after every other: none takes an answer that was remembered for one that differs."""
    found = consents(f"sharing active {'deny' if effect == 'permit' else 'permit'}\n  {effect} {condition}")
    expected = [decide(found, TREAT, one, NOW) for one in RESOURCES]
    assert len({answer.effect for answer in expected}) == 2
    for first in range(len(RESOURCES)):
        decider = Decider(found)
        order = [*range(first, len(RESOURCES)), *range(first)]
        assert [decider.decide(TREAT, RESOURCES[number], NOW) for number in order] == [expected[n] for n in order]
