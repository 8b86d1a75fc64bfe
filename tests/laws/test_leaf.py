"""The compiled leaf alone: its classes of text are those of the Python functions, and it holds on to nothing."""

from __future__ import annotations

import gc
import re
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.layout.leaf import VARIABLE, compiled, leaf_in_use
from fhirbridge.layout.values import Rule, _class_of_text, _leaf
from fhirbridge.mapping import Mappings
from fhirbridge.records.base import Identifier, Note, Record
from fhirbridge.records.text import Date, DateTime, Instant
from tests.kinds import BINDINGS, KINDS
from tests.laws.hammer import bodies
from tests.laws.leaves import COMPILED

needs_it = pytest.mark.skipif(COMPILED is None, reason="the leaf was not compiled here (no C compiler)")
TIMES = {Rule.DAY: Date, Rule.DAY_OR_MOMENT: DateTime, Rule.MOMENT: Instant}
FIELDS = [(Identifier, "value"), (Note, "text"), (Record, "id")]
moments = st.from_regex(
    r"[0-9]{4}-[0-1][0-9]-[0-3][0-9](T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{0,10})?(Z|[+-][01][0-9]:[0-6][0-9]))?",
    fullmatch=True,
)
days = st.dates().map(str) | st.sampled_from(["2000-02-29", "1900-02-29", "2100-02-29", "0000-01-01", "0400-02-29"])
whole = st.tuples(days, st.sampled_from(["", "T00:00:60Z", "T23:59:59.123456789-05:00", "T10:00:00+14:00"])).map(
    "".join
)
texts = st.text(st.characters(codec="utf-8"), max_size=12) | st.text(
    st.sampled_from(' aZ9/:-\\"\x7f\x1f\t'), max_size=8
)


def is_plain(rule: Rule, limit: int, text: bytes) -> bool:
    from fhirbridge.layout import _leaf as compiled_leaf

    return compiled_leaf.is_plain(rule, limit, text)


@needs_it
@given(st.sampled_from(sorted(TIMES)), moments | whole | texts)
def test_a_time_that_needs_no_question_is_one(rule: Rule, text: str) -> None:
    """The leaf knows full dates and moments, and never takes for one what the pattern of the record refuses."""
    kind = TIMES[rule]
    matches = kind.pattern.fullmatch(text) is not None
    plain = is_plain(rule, 0, text.encode())
    assert matches or not plain
    if re.match(r"....-..-..", text) and not (rule is Rule.DAY and "T" in text):
        assert plain is matches


@needs_it
def test_the_leaf_knows_the_calendar() -> None:
    """Every day of years of all sorts, and those that no month has."""
    for year in (0, 1, 4, 100, 400, 1900, 1999, 2000, 2023, 2024, 2025, 2026, 2100, 9999):
        for month in range(14):
            for day in range(33):
                text = f"{year:04}-{month:02}-{day:02}"
                assert is_plain(Rule.DAY, 0, text.encode()) is (Date.pattern.fullmatch(text) is not None), text


@needs_it
@given(st.sampled_from(FIELDS), texts | st.integers(190, 210).map("x".__mul__))
def test_a_text_that_needs_no_question_is_taken(field: tuple[Any, str], text: str) -> None:
    """What the leaf takes by itself, the field's own validator takes as it is."""
    rule, limit, _ = _class_of_text(*field)
    assert rule is not Rule.ASK
    if is_plain(rule, limit, text.encode()):
        assert _leaf(*field, text, 0).one(text.encode()) == text


@needs_it
@pytest.mark.parametrize("text", ["", " ", "   ", " a", "a b", "x" * 200, "x" * 201, "a\tb", "a\\b", "ä"])
def test_a_text_at_an_edge_is_taken_by_both_or_asked_about(text: str) -> None:
    for model, name in FIELDS:
        rule, limit, _ = _class_of_text(model, name)
        if is_plain(rule, limit, text.encode()):
            assert _leaf(model, name, text, 0).one(text.encode()) == text


@pytest.mark.long
@needs_it
def test_reading_holds_on_to_nothing() -> None:
    """After many readings, those that come to nothing among them, no more memory is held than after some."""
    mappings = Mappings(BINDINGS["r4-plain"], KINDS)
    whole = bodies(mappings, 2)
    broken = [body[: len(body) - 5] for body in whole] + [body.replace(b":00-", b":77-") for body in whole]

    def blocks() -> int:
        for body in (*whole, *broken):
            mappings._layouts.read(body)
        gc.collect()
        return sys.getallocatedblocks()

    for body in whole:
        mappings.read(body)
    blocks()
    before = blocks()
    for _ in range(5):
        after = blocks()
    assert after - before < 50


@pytest.mark.long
@needs_it
def test_layouts_that_are_given_up_are_freed() -> None:
    """Nodes, atoms and composers point at each other: the collector sees that."""

    def mapped() -> int:
        mappings = Mappings(BINDINGS["r4-plain"], KINDS)
        for body in bodies(mappings, 1):
            mappings.read(body)
        del mappings
        gc.collect()
        return sys.getallocatedblocks()

    mapped()
    before = mapped()
    for _ in range(2):
        after = mapped()
    assert after - before < 500


def test_the_leaf_in_python_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert leaf_in_use() == ("pure" if COMPILED is None else "compiled")
    monkeypatch.setenv(VARIABLE, "1")
    assert compiled() is None
    assert leaf_in_use() == "pure"


@needs_it
def test_a_place_outside_of_the_slots_is_refused() -> None:
    """Nothing that the leaf is told can make it look outside of a body."""
    from fhirbridge.layout import _leaf as leaf

    recipe = leaf.text(1, bytes.decode, 0, 0, None, None)
    with pytest.raises(ValueError, match="places"):
        leaf.share(1, {}, (("id", recipe),), ())
    for bad in [
        (0, 0, 2, 0, True, b" "),
        (0, -1, 0, 0, True, b" "),
        (9, 0, 0, 0, True, b" "),
        (1, 0, 0, -1, True, b" "),
    ]:
        with pytest.raises(ValueError, match=r"slots|condition"):
            leaf.share(2, {}, (), (bad,))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ascend"):
        leaf.items((1, 2), ((1, recipe), (0, recipe)))
    with pytest.raises(ValueError, match="wanted"):
        leaf.text(-1, bytes.decode, 0, 0, None, None)
    with pytest.raises(TypeError):
        leaf.share(2, {}, (("id", "recipe"),), ())  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        leaf.know(1, 2, 3, 4)
