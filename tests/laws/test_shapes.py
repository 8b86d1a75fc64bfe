"""The quick reader says what the plain reader says, for every layout it has learned and everything near it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.errors import FhirbridgeError, JsonError, NotExpressible
from fhirbridge.fhir.json import canonical, dump, parse_object
from fhirbridge.mapping import Mappings
from fhirbridge.records import parse as parse_record
from fhirbridge.records import to_json
from tests.kinds import BINDINGS, CASES, KINDS, Case

plain_bindings = pytest.mark.parametrize("binding", ["r4-plain", "r5-plain"])
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
_VALUES = re.compile(rb'(?<=")[^"\\]{1,60}(?=")|-?[0-9]+(?:\.[0-9]+)?')


def said(mappings: Mappings, body: bytes, *, quick: bool) -> Any:
    try:
        reading = mappings.read(body) if quick else mappings.from_fhir(parse_object(body))
    except (JsonError, FhirbridgeError) as refused:
        return type(refused).__name__, str(refused)
    return canonical(to_json(reading.record)), [entry.as_json() for entry in reading.residue]


@cases
@plain_bindings
@given(data=st.data())
def test_a_learned_layout_is_read_as_the_plain_way_reads_it(case: Case, binding: str, data: st.DataObject) -> None:
    """After a layout was learned, the same body and bodies with other values in it mean what they mean the plain
    way.
    """
    mappings, oracle = Mappings(BINDINGS[binding], KINDS), Mappings(BINDINGS[binding], KINDS)
    try:
        body = dump(mappings.to_fhir(parse_record(case.kind.record, data.draw(case.trees))).parts[0].resource)
    except NotExpressible:
        return
    mappings.read(body)
    assert said(mappings, body, quick=True) == said(oracle, body, quick=False)
    values = [match.span() for match in _VALUES.finditer(body)]
    texts = [body[start:end] for start, end in values]
    other = st.sampled_from(
        [*texts, b"2026-11-20T10:41:00-05:00", b"2026-11", b"7", b"0.50", b"1e2", b"-0", b"X", b"\x01"]
    )
    for _ in range(6):
        start, end = data.draw(st.sampled_from(values))
        changed = body[:start] + data.draw(other) + body[end:]
        assert said(mappings, changed, quick=True) == said(oracle, changed, quick=False)


@cases
def test_layouts_are_learned_at_all(case: Case) -> None:
    """The law above would hold for a reader that never learns: it does learn."""
    mappings = Mappings(BINDINGS["r4-plain"], KINDS)
    learned = 0

    @given(case.trees)
    def learn(tree: dict[str, Any]) -> None:
        nonlocal learned
        body = dump(mappings.to_fhir(parse_record(case.kind.record, tree)).parts[0].resource)
        mappings.read(body)
        learned += mappings.shapes.read(body) is not None

    learn()
    assert learned > 5
