"""A reason tells the next worker all that the last one knew, and survives what it does not understand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.sync.reason import Reason

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


@given(st.text())
def test_no_text_is_too_odd_to_be_read(text: str) -> None:
    assert Reason.read(text).split >= 1


def test_a_plain_reason_is_one_word() -> None:
    assert str(Reason("throttled")) == "throttled"
    assert str(Reason("bundle-refused", split=4)) == "bundle-refused:split.4"
