"""Canaries in every field of every kind and all over foreign resources: none survives, and a broken rule is seen."""

from __future__ import annotations

from typing import Any

import pytest

from fhirbridge.research.deidentify import Profile
from fhirbridge.research.deidentify.actions import Actions
from fhirbridge.research.deidentify.clock import Clock
from fhirbridge.research.deidentify.profile import SHIPPED
from fhirbridge.research.deidentify.references import Names
from fhirbridge.research.deidentify.resources import ResourceDeidentifier
from tests.research.deidentify.canary import Judge, Pools, wanted


@pytest.fixture(scope="module")
def pools() -> Pools:
    return Pools(8)


def test_the_marks_stand_in_every_field_that_takes_a_text(pools: Pools) -> None:
    """Else the other tests would prove little. The pools grow until it is so; this says what "so" is."""
    for kind in pools.kinds:
        assert wanted(kind) <= pools.marked(kind)
    assert {"notes", "source", "id", "patient", "performers"} <= pools.marked("vital_sign")
    assert {"lot_number", "product", "identifier"} <= {path.rpartition(".")[2] for path in pools.paths} | {
        path.split(".")[2] for path in pools.paths if path.startswith("session.administrations.")
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_no_canary_survives(name: str, pools: Pools) -> None:
    judge = Judge(Profile.load(name), pools)
    for patient in range(1, 16):
        judge.patient(patient)
    assert judge.survived == {}
    assert judge.unmoved == {}
    assert all(judge.given[kind] for kind in pools.kinds)
    assert judge.given["Patient"] == judge.given["MedicationRequest"] == 15
    # A resource with an unknown modifier is not given, nor is a type that no profile names.
    assert judge.given["Condition"] == 15
    assert judge.given["Media"] == 0


def found(pools: Pools, name: str = "shifted") -> int:
    judge = Judge(Profile.load(name), pools)
    for patient in range(1, 11):
        judge.patient(patient)
    return judge.survived.total() + judge.unmoved.total()


def passing(self: Any, value: Any, *rest: Any) -> Any:
    """What a broken rule does: it gives what it got."""
    return value


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Actions, "_code"),
        (Actions, "_item"),
        (Actions, "_version"),
        (Actions, "_term"),
        (Actions, "_id"),
        (Actions, "_named"),
        (Actions, "_record"),
        (Actions, "_person"),
        (Actions, "_period"),
        (Clock, "_moved"),
        (ResourceDeidentifier, "_coding"),
        (ResourceDeidentifier, "_code"),
        (ResourceDeidentifier, "_record"),
    ],
    ids=str,
)
def test_a_rule_that_lets_everything_pass_is_seen(
    owner: type, name: str, pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, passing)
    assert found(pools) > 0


def test_names_that_are_not_hashed_are_seen(pools: Pools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Names, "once", lambda self, type_, value: value)
    assert found(pools) > 0
