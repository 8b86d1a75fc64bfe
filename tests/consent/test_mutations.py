"""Broken Consents permit nothing that they do not plainly say (the claims stand in ``mutations.py``)."""

from __future__ import annotations

import pytest

from fhirbridge.consent import Decider
from fhirbridge.fhir import json
from tests.consent.forms import read
from tests.consent.mutations import ACT, AT, QUESTIONS, bases, judged, run
from tests.consent.straight import permits


def test_changed_bodies_permit_nothing_that_they_do_not_say() -> None:
    """The program of the same name does this with 100,000."""
    outcomes = run(2_000, seed=7)
    assert sum(outcomes.values()) == 2_000
    assert outcomes["refused by the reader"] > 500
    assert outcomes["read, and plainly permits"] > 50


BASES = bases()


@pytest.mark.parametrize("number", range(len(BASES)))
def test_the_second_reading_agrees_on_the_bodies_as_they_are(number: int) -> None:
    """Else it would prove nothing about the changed ones: both say yes, or both say no, to every question."""
    base = BASES[number]
    assert judged(base, json.dump(base.body)).startswith("read, denied" if base.denies else "read, and plainly permits")
    decider = Decider([read(base.release, base.body)])
    for subject, asked in QUESTIONS:
        assert decider.judge(ACT, subject, AT).permitted == permits(base.body, base.release.is_r5, asked)
