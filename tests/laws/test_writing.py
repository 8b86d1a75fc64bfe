"""Writing is compiled: what that must not change, and what writing must not do."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.binding import Binding, Clinic, Release
from fhirbridge.codec.element import Element, Elements, Rule, Rules
from fhirbridge.codec.leaf import Plain, string
from fhirbridge.errors import NotExpressible, Refused
from fhirbridge.fhir.json import Tree, dump
from fhirbridge.mapping import Mappings
from fhirbridge.records import parse as parse_record
from tests.kinds import BINDINGS, CASES, KINDS, Case

MAPPINGS = {name: Mappings(binding, KINDS) for name, binding in BINDINGS.items()}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
bindings = pytest.mark.parametrize("binding", BINDINGS)


def one_by_one(rules: tuple[Rule, ...], record: Any) -> Tree:
    """What the rules write, each called on its own."""
    node: Tree = {}
    extensions: list[Tree] = []
    for rule in rules:
        rule.write(record, node, extensions)
    return node | ({"extension": extensions} if extensions else {})


def outcome(write: Callable[[], Tree]) -> object:
    try:
        return dump(write())
    except Refused as refused:
        return [(fault.code, fault.path) for fault in refused.faults]


@cases
@bindings
@given(data=st.data())
def test_the_compiled_rules_write_what_each_writes_alone(case: Case, binding: str, data: st.DataObject) -> None:
    """Same members in the same order, or the same refusal: no rule is left out that has something to write."""
    rules = MAPPINGS[binding].bound[case.kind.name].rules
    record = parse_record(case.kind.record, data.draw(case.trees))
    assert outcome(lambda: rules.encode(record)) == outcome(lambda: one_by_one(rules.rules, record))


@cases
@bindings
@given(data=st.data())
def test_writing_a_record_changes_no_resource_written_before(case: Case, binding: str, data: st.DataObject) -> None:
    """Resources share nodes; none of them is changed by what is written later."""
    mappings = MAPPINGS[binding]
    first, second = (parse_record(case.kind.record, data.draw(case.trees)) for _ in range(2))
    try:
        parts = mappings.to_fhir(first).parts
        before = [dump(part.resource) for part in parts]
        mappings.to_fhir(second)
    except NotExpressible:
        return
    assert [dump(part.resource) for part in parts] == before


@given(st.binary(min_size=1, max_size=200), st.text(max_size=40), st.text(max_size=40), st.text(max_size=20))
def test_a_resource_id_is_hmac_sha256_of_domain_kind_id_and_role(key: bytes, kind: str, id_: str, role: str) -> None:
    """With keys of any length, those longer than a block of the hash among them."""
    binding = Binding(Clinic("clinic.example", key), Release.R4)
    digest = hmac.new(key, f"clinic.example|{kind}|{id_}|{role}".encode(), "sha256").hexdigest()
    assert binding.resource_id(kind, id_, role) == f"f{digest[:32]}"


def test_a_rule_and_a_codec_that_replace_a_general_one_are_called() -> None:
    """A subclass with a ``write`` or an ``encode`` of its own is not written as the class that it replaces."""

    class Loud(Plain):
        def encode(self, value: str) -> str:
            return value.upper()

    class Twice(Element):
        def write(self, record: Any, node: Tree, extensions: list[Tree]) -> None:
            node[self.name] = [record.word, record.word]

    loud = Loud("a string", str)
    rules = Rules(Element("a", "word", loud), Elements("b", "words", loud), Twice("c", "word", string))
    said = rules.encode(SimpleNamespace(word="x", words=("y",)))
    assert said == {"a": "X", "b": ["Y"], "c": ["x", "x"]}
