"""Consents from elsewhere: what has not the shape of one is not read, whatever the mapping would make of it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from fhirbridge.binding import Release
from fhirbridge.consent import Found, Unreadable, evidence_of, misshapen
from fhirbridge.errors import NotExpressible
from fhirbridge.fhir import json
from fhirbridge.records import Consent, parse
from tests.consent.forms import read, resource
from tests.consent.plain import signed
from tests.strategies import consent as strategy
from tests.strategies.base import Tree

R4, R5 = Release.R4, Release.R5
releases = pytest.mark.parametrize("release", [R4, R5])
TEXT = "sharing active deny period=2026-01-01..\n  permit to=HOSPITAL-1 for=treatment\n    deny labelled=substance_use"


def body(release: Release) -> Tree:
    (one,) = signed(TEXT)
    assert isinstance(one, Consent)
    return resource(release, one)


def evidence(release: Release, tree: Tree) -> Any:
    return evidence_of(tree, partial(read, release), r5=release.is_r5, origin="https://hospital.example/fhir")


@given(strategy.consents)
def test_every_consent_that_we_write_has_the_shape_of_one(tree: Tree) -> None:
    consent = parse(Consent, tree)
    for release in (R4, R5):
        try:
            written = resource(release, consent)
        except NotExpressible:
            continue
        assert misshapen(written, r5=release.is_r5) == ()


@releases
def test_every_consent_of_the_specification_has_the_shape_of_one(release: Release, shared: Path) -> None:
    found = sorted((shared / "corpora" / "hl7-examples" / release.name / "Consent").glob("*.json"))
    assert found
    for path in found:
        assert misshapen(json.parse_object(path.read_bytes()), r5=release.is_r5) == (), path.name


@releases
def test_a_consent_from_elsewhere_is_found_there_and_does_not_permit(release: Release) -> None:
    one = evidence(release, body(release))
    assert isinstance(one, Found)
    assert (one.origin, one.may_permit, one.consent.id) == ("https://hospital.example/fhir", False, "C1")


def _rule(tree: Tree) -> Tree:
    root = tree["provision"]
    return dict(root[0] if isinstance(root, list) else root["provision"][0])


def _set_rule(tree: Tree, rule: Tree) -> None:
    root = tree["provision"]
    (root if isinstance(root, list) else root["provision"])[0] = rule


BROKEN = {
    "an unknown element": lambda tree: tree.update(foo=1),
    "an unknown element of a rule": lambda tree: _set_rule(tree, _rule(tree) | {"unless": "x"}),
    "a list that is none": lambda tree: _set_rule(tree, _rule(tree) | {"purpose": {"code": "TREAT"}}),
    "an item that is no object": lambda tree: _rule(tree)["actor"].insert(0, []),
    "a code among codings that is no text": lambda tree: _rule(tree)["purpose"].append({"system": ["x"], "code": "y"}),
    "an empty object": lambda tree: _rule(tree)["purpose"].append({}),
    "an empty list": lambda tree: _set_rule(tree, _rule(tree) | {"action": []}),
    "null": lambda tree: tree.update(language=None),
    "a day that does not exist": lambda tree: _set_rule(tree, _rule(tree) | {"dataPeriod": {"start": "2026-02-30"}}),
    "an actor without a role": lambda tree: _rule(tree)["actor"][0].pop("role"),
    "an extension without a value": lambda tree: tree.update(extension=[{"url": "https://x.example"}]),
    "a number that is none": lambda tree: tree.update(extension=[{"url": "https://x.example", "valueInteger": [1]}]),
    "an extension without an address": lambda tree: tree.update(extension=[{"valueCode": "x"}]),
    "something beside an element with members": lambda tree: tree.update(_category=[{"id": "x"}]),
    "something beside a primitive that is no object": lambda tree: tree.update(_status=True),
    "a blank text": lambda tree: _rule(tree)["purpose"][0].update(display="  "),
    "no status": lambda tree: tree.pop("status"),
}


@releases
@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_not_read(release: Release, change: Any) -> None:
    tree = body(release)
    change(tree)
    one = evidence(release, tree)
    if release is R5 and change is BROKEN["an actor without a role"]:
        # R5 allows it; the mapping refuses it all the same.
        assert misshapen(tree, r5=True) == ()
    assert isinstance(one, Unreadable)
    assert one.origin == "https://hospital.example/fhir"
    assert one.reason.startswith("resource.")


@releases
def test_faults_have_paths_and_no_values(release: Release) -> None:
    tree = body(release)
    _rule(tree)["purpose"].append({"secret element": "secret value"})
    (fault,) = misshapen(tree, r5=release.is_r5)
    where = "Consent.provision[0]" if release is R5 else "Consent.provision.provision[0]"
    assert (fault.code, fault.path) == ("resource.type", f"{where}.purpose[1]")
    assert "secret" not in str(fault)


@releases
def test_extensions_beside_primitives_are_in_order(release: Release) -> None:
    tree = body(release) | {"_status": {"extension": [{"url": "https://x.example", "valueString": "y"}]}}
    assert misshapen(tree, r5=release.is_r5) == ()


@releases
def test_a_resource_of_another_type_is_no_consent(release: Release) -> None:
    one = evidence(release, {"resourceType": "Observation", "id": "o1", "status": "final"})
    assert isinstance(one, Unreadable)
    assert one.id == "o1"
