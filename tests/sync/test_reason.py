"""A reason tells the next worker all that the last one knew, and survives what it does not understand."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.sync.conflict import Clash
from fhirbridge.sync.reason import MOST_CLASHES, Reason, without_clashes

REASONS = st.builds(
    Reason,
    st.from_regex(r"[a-z][a-z-]{0,20}", fullmatch=True).filter(lambda one: one not in ("again", "bisect", "park")),
    st.integers(1, 5_000),
    st.integers(0, 9),
    st.sampled_from(["again", "bisect", "park"]),
)


@given(REASONS)
def test_a_reason_is_read_as_it_was_written(reason: Reason) -> None:
    assert Reason.read(str(reason)) == reason
    assert Reason.read(str(reason.because("throttled"))) == Reason("throttled", reason.split)


HASHES = st.from_regex(r"[0-9a-f]{12}|", fullmatch=True)
STEPS = st.from_regex(r"[a-z][A-Za-z]{0,9}(\[[0-9]{1,2}\])?", fullmatch=True)
CLASHES = st.builds(Clash, st.lists(STEPS, min_size=1, max_size=4).map(".".join), HASHES, HASHES, HASHES)


@given(REASONS, st.lists(CLASHES, max_size=MOST_CLASHES + 5))
def test_what_clashed_is_kept_with_it_and_goes_with_the_next_attempt(reason: Reason, clashes: list[Clash]) -> None:
    conflict = replace(reason, clashes=tuple(clashes))
    assert Reason.read(str(conflict)) == replace(reason, clashes=tuple(clashes[:MOST_CLASHES]))
    assert without_clashes(str(conflict)) == str(reason)
    assert conflict.because("throttled").clashes == ()


@given(st.text(min_size=1))
def test_a_path_that_is_not_fhirs_is_not_kept(path: str) -> None:
    """A server may name an element as it likes, even after a patient."""
    (found,) = Reason.read(str(Reason("conflict.changed", clashes=(Clash(path, "", "a1", "b2"),)))).clashes
    assert found.path == "unnamed" or re.fullmatch(r"[A-Za-z0-9_.\[\]]+", path)
    assert found.path in (path, "unnamed")
    assert found == Clash(found.path, "", "a1", "b2")


@given(st.text())
def test_no_text_is_too_odd_to_be_read(text: str) -> None:
    assert Reason.read(text).split >= 1


def test_a_plain_reason_is_one_word() -> None:
    assert str(Reason("throttled")) == "throttled"
    assert str(Reason("bundle-refused", split=4)) == "bundle-refused:split.4"
