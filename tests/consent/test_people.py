"""What people are shown: a consent as a tree, the matrix of a day, what a change would do."""

from __future__ import annotations

import datetime as dt

from hypothesis import given

from fhirbridge.consent import Act, Decider, decide, matrix, purposes_of, simulate, tree
from fhirbridge.records import Consent, parse
from tests.consent.plain import NOW, act, ref, signed, subject
from tests.strategies import consent as strategy
from tests.strategies.base import Tree

TEXT = """
sharing active deny id=12 period=2026-01-01..2026-12-31 by=MOTHER-1 capable=yes replaces=11
  permit to=HOSPITAL-1 action=disclose for=treatment,coordination_of_care data=2026-01-01..
    deny labelled=psychotherapy_notes
"""


def test_a_consent_reads_as_a_tree() -> None:
    (consent,) = signed(TEXT)
    assert isinstance(consent, Consent)
    to_whom = "permit to recipient Organization HOSPITAL-1; action disclose; for treatment or coordination of care"
    assert [f"{'  ' * line.depth}{line.text}" for line in tree(consent)] == [
        "privacy sharing consent 12, revision 1, active",
        "  signed 2026-01-05T09:00:00-05:00",
        "  holds from 2026-01-01 to 2026-12-31",
        "  given by RelatedPerson MOTHER-1, able to consent",
        "  replaces Consent 11",
        "  deny all else",
        f"    {to_whom}; data from 2026-01-01",
        "      deny labelled psychotherapy notes",
    ]
    assert [(line.effect, line.path) for line in tree(consent) if line.effect] == [
        ("deny", "decision"),
        ("permit", "provisions[0]"),
        ("deny", "provisions[0].exceptions[0]"),
    ]


@given(strategy.consents)
def test_every_consent_can_be_drawn_with_a_line_for_each_rule(trees: Tree) -> None:
    consent = parse(Consent, trees)

    def count(rules: object) -> int:
        return sum(1 + count(rule.exceptions) for rule in rules)  # type: ignore[attr-defined]

    lines = tree(consent)
    assert sum(line.path.startswith("provisions") for line in lines) == count(consent.provisions)
    assert all(line.text for line in lines)


def test_the_matrix_of_a_day() -> None:
    consents = signed(TEXT + "research active permit id=13 study=KET-1")
    rows = [subject("session"), subject("vital_sign undated")]
    recipients = {"hospital": (ref("HOSPITAL-1"),), "university": (ref("UNIV"),)}
    cells = matrix(Decider(consents), rows, recipients, ["treatment", "research"], NOW, (ref("KET-1"),))
    assert [(one.kind, one.recipient, one.purpose, one.decision.effect, one.decision.reason) for one in cells] == [
        ("session", "hospital", "treatment", "permit", "permitted"),
        ("session", "hospital", "research", "permit", "permitted"),
        ("session", "university", "treatment", "deny", "denied-by-decision"),
        ("session", "university", "research", "permit", "permitted"),
        ("vital_sign", "hospital", "treatment", "deny", "ambiguous"),
        ("vital_sign", "hospital", "research", "permit", "permitted"),
        ("vital_sign", "university", "treatment", "deny", "denied-by-decision"),
        ("vital_sign", "university", "research", "permit", "permitted"),
    ]
    later = matrix(Decider(consents), rows[:1], recipients, ["treatment"], NOW + dt.timedelta(days=60))
    assert [one.decision.reason for one in later] == ["expired", "expired"]


def test_the_columns_worth_having_are_the_usual_ones_and_those_that_are_named() -> None:
    (consent,) = signed("sharing active permit\n  deny for=payment,OTHER|x\n    permit for=operations")
    assert isinstance(consent, Consent)
    assert purposes_of([consent]) == ("treatment", "coordination_of_care", "research", "payment", "operations")


def test_a_change_shows_what_it_would_block_release_and_oblige() -> None:
    before = signed("sharing active permit id=A")
    after = signed("sharing active permit id=A revision=2\n  deny labelled=substance_use\n  deny type=Observation")
    rows = [
        subject("session"),
        subject("vital_sign"),
        subject("session also=substance_use"),
        subject("session part=substance_use/kap"),
    ]
    doing = act("treat HOSPITAL-1")
    changes = list(simulate(before, after, doing, rows, NOW))
    assert [(one.place, one.outcome) for one in changes] == [(1, "blocked"), (2, "blocked"), (3, "obliged")]
    back = list(simulate(after, before, doing, rows, NOW))
    assert [one.outcome for one in back] == ["released", "released", "obliged"]
    assert all(one.after == decide(after, doing, one.subject, NOW) for one in changes)
    assert list(simulate(before, before, Act("treat"), rows, NOW)) == []
