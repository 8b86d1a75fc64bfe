"""The laws of every mapping: kinds × releases × overlays, over records in which every field is generated."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from fhirbridge.errors import NotExpressible, RecordRefused, ResourceRefused
from fhirbridge.fhir.json import canonical, dump, parse
from fhirbridge.mapping import Mappings, Reading
from fhirbridge.records import Model, Record, to_json
from fhirbridge.records import parse as parse_record
from tests.kinds import BINDINGS, CASES, KINDS, Case
from tests.laws.trees import at, broken, copied, places, with_foreign_content

MAPPINGS = {name: Mappings(binding, KINDS) for name, binding in BINDINGS.items()}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
bindings = pytest.mark.parametrize("binding", BINDINGS)
plain_bindings = pytest.mark.parametrize("binding", ["r4-plain", "r5-plain"])


def record_of(case: Case, tree: dict[str, Any]) -> Record:
    return parse_record(case.kind.record, tree)


def resource_of(mappings: Mappings, record: Record) -> dict[str, Any]:
    """The primary resource as a server would give it back: parsed from its JSON text."""
    resource: dict[str, Any] = parse(dump(mappings.to_fhir(record).parts[0].resource))
    return resource


def read_or_none(mappings: Mappings, resource: dict[str, Any]) -> Reading | None:
    try:
        return mappings.from_fhir(resource)
    except ResourceRefused as error:
        refused = error
    assert refused.faults
    assert all(fault.path and fault.reason and fault.code for fault in refused.faults)
    return None


@cases
@bindings
@given(data=st.data())
def test_a_record_comes_back_from_its_resource(case: Case, binding: str, data: st.DataObject) -> None:
    """``from_fhir(to_fhir(record))`` is the record, digit for digit, and there is nothing left over."""
    mappings = MAPPINGS[binding]
    record = record_of(case, data.draw(case.trees))
    try:
        resource = resource_of(mappings, record)
    except NotExpressible:
        return  # which records a release cannot say is tested mapping by mapping
    reading = mappings.from_fhir(resource)
    assert canonical(to_json(reading.record)) == canonical(to_json(record))
    assert reading.residue == ()


def fields_in(value: Any) -> set[tuple[str, str]]:
    if isinstance(value, tuple):
        return {pair for item in value for pair in fields_in(item)}
    if not isinstance(value, Model):
        return set()
    said = {name: member for name, member in value.__dict__.items() if member is not None and member != ()}
    return {(type(value).__name__, name) for name in said} | {
        pair for member in said.values() for pair in fields_in(member)
    }


@cases
def test_every_field_is_generated(case: Case) -> None:
    """A law over records says nothing about a field that no record has."""
    seen: set[tuple[str, str]] = set()
    models: dict[str, type[Model]] = {}

    def collect(tree: dict[str, Any]) -> None:
        record = record_of(case, tree)
        seen.update(fields_in(record))
        remember(record)

    def remember(value: Any) -> None:
        if isinstance(value, tuple):
            for item in value:
                remember(item)
        elif isinstance(value, Model):
            models[type(value).__name__] = type(value)
            for member in value.__dict__.values():
                remember(member)

    for number in range(8):
        # Hypothesis keeps its settings on the function it runs: each run needs one of its own.
        run = given(case.trees)(collect)
        seed(number)(settings(max_examples=250, derandomize=False, database=None)(run))()
        missing = {(name, field) for name, model in models.items() for field in model.model_fields} - seen
        if not missing:
            break
    assert missing == set()


@cases
@plain_bindings
@given(data=st.data())
def test_every_field_shows_in_the_resource(case: Case, binding: str, data: st.DataObject) -> None:
    """Taking a field away, or an item out of it, changes the resource: nothing is left unsaid."""
    mappings = MAPPINGS[binding]
    tree = data.draw(case.trees)
    path = data.draw(st.sampled_from([path for path, _ in places(tree) if path]))
    smaller = copied(tree)
    del at(smaller, path[:-1])[path[-1]]
    try:
        record, other = record_of(case, tree), record_of(case, smaller)
        if canonical(to_json(record)) == canonical(to_json(other)):
            return
        one, two = resource_of(mappings, record), resource_of(mappings, other)
    except (RecordRefused, NotExpressible):
        return
    assert canonical(one) != canonical(two)


@cases
@plain_bindings
@given(data=st.data())
def test_foreign_content_is_laid_back(case: Case, binding: str, data: st.DataObject) -> None:
    """What others added is residue, and writing record and residue again gives the very tree that came in."""
    mappings = MAPPINGS[binding]
    try:
        resource = resource_of(mappings, record_of(case, data.draw(case.trees)))
    except NotExpressible:
        return
    source = data.draw(with_foreign_content(resource))
    reading = read_or_none(mappings, source)
    if reading is not None:
        written = mappings.to_fhir(reading.record, reading.residue)
        assert written.dropped == ()
        assert canonical(written.parts[0].resource) == canonical(source)


@cases
@plain_bindings
@given(data=st.data())
def test_an_edit_changes_only_its_own_paths(case: Case, binding: str, data: st.DataObject) -> None:
    """After another record is written over a foreign resource, every residue is either still there or reported."""
    mappings = MAPPINGS[binding]
    try:
        resource = resource_of(mappings, record_of(case, data.draw(case.trees)))
        source = data.draw(with_foreign_content(resource))
        reading = read_or_none(mappings, source)
        if reading is None:
            return
        tree = to_json(reading.record)
        tree.pop("kind")
        tree["notes"] = [{"text": "an edit"}]
        edited = record_of(case, tree)
        plain, laid = mappings.to_fhir(edited), mappings.to_fhir(edited, reading.residue)
        before = mappings.to_fhir(reading.record)
    except (NotExpressible, RecordRefused):
        return
    touched = {path[0] for path in differing(before.parts[0].resource, plain.parts[0].resource)}
    changed = {path[0] for path in differing(source, laid.parts[0].resource)}
    assert changed <= touched | {"extension"}
    kept = [entry for entry in reading.residue if entry.path not in laid.dropped]
    again = read_or_none(mappings, laid.parts[0].resource)
    if again is not None:
        assert canonical(to_json(again.record)) == canonical(to_json(edited))
        assert len(again.residue) >= len([entry for entry in kept if entry.op in ("add", "insert", "set")])


def differing(one: Any, other: Any) -> list[tuple[Any, ...]]:
    """Top-level members that differ."""
    return [(name,) for name in one.keys() | other.keys() if canonical(one.get(name)) != canonical(other.get(name))]


@cases
@bindings
@given(data=st.data())
def test_broken_resources_are_refused_and_never_crash(case: Case, binding: str, data: st.DataObject) -> None:
    """Whatever stands in a resource, it is read or refused with a path; what is read is written back as it came."""
    mappings = MAPPINGS[binding]
    try:
        resource = resource_of(mappings, record_of(case, data.draw(case.trees)))
    except NotExpressible:
        return
    source = parse(dump(data.draw(broken(resource))))
    reading = read_or_none(mappings, source)
    if reading is not None:
        written = mappings.to_fhir(reading.record, reading.residue)
        assert canonical(written.parts[0].resource) == canonical(source)


@cases
@plain_bindings
@given(data=st.data())
def test_no_residue_holds_what_the_record_should(case: Case, binding: str, data: st.DataObject) -> None:
    """No entry of a residue stands on a path that a rule carries, but for words and further codes beside it."""
    mappings = MAPPINGS[binding]
    try:
        resource = resource_of(mappings, record_of(case, data.draw(case.trees)))
    except NotExpressible:
        return
    reading = read_or_none(mappings, data.draw(st.one_of(with_foreign_content(resource), broken(resource))))
    if reading is not None:
        carries = mappings.bound[reading.record.kind].carries
        beside = {"display", "text", "version", "userSelected", "unit"}
        for entry in reading.residue:
            assert entry.element not in carries or entry.path.rpartition(".")[2] in beside
