"""No text changes its meaning in a cell or in a search; all of it: ``python -m tests.hostile.text``."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.cells import guarded, unguarded
from tests.hostile.text import faults, strings


def test_no_hostile_string_changes_its_meaning() -> None:
    assert [text for text in strings(2_000, 7) if faults(text)] == []


@given(st.text())
def test_a_cell_comes_back_as_it_was(text: str) -> None:
    assert unguarded(guarded(text)) == text


def test_what_harms_nobody_is_left_as_it_is() -> None:
    assert guarded("P-1") == "P-1"
    assert guarded("'quoted'") == "'quoted'"
    assert guarded("-5") == "'-5"
