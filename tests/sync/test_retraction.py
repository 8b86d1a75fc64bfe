"""Every row of the retraction table, and that a retraction changes nothing but what it says."""

from __future__ import annotations

import pytest

from fhirbridge.binding import Release
from fhirbridge.fhir.json import Tree
from fhirbridge.sync.retraction import (
    AE_STATUS_MODIFIER,
    TABLE,
    WithoutStatus,
    is_retracted,
    means_of,
    retraction,
)
from mappings import published

BASE = "https://fhirbridge.example/fhir"
CHOICES: tuple[WithoutStatus, ...] = ("modifier", "delete", "park")


@pytest.mark.parametrize("chosen", CHOICES)
@pytest.mark.parametrize(("resource_type", "release"), TABLE, ids=str)
def test_every_row_retracts_in_its_own_way(resource_type: str, release: Release, chosen: WithoutStatus) -> None:
    resource = {"resourceType": resource_type, "id": "f1", "code": {"text": "kept"}, "meta": {"tag": [{"code": "t"}]}}
    found = retraction(resource, release, chosen, [BASE])
    rule = TABLE[resource_type, release]
    if rule.means == "status":
        assert found.resource == resource | {"status": "entered-in-error"}
    elif chosen == "modifier" and chosen in rule.choices:
        assert found.resource == resource | {
            "modifierExtension": [{"url": AE_STATUS_MODIFIER, "valueCode": "entered-in-error"}]
        }
    else:
        assert found.resource is None
        assert found.means == (chosen if chosen in rule.choices else "park")
        assert bool(found.reason) == (found.means == "park")
    if found.resource is not None:
        assert is_retracted(found.resource)
        assert not is_retracted(resource)


def test_a_type_nobody_thought_of_is_left_to_people() -> None:
    assert means_of("Basic", Release.R4, "delete") == "park"
    assert retraction({"resourceType": 7}, Release.R4, "delete").means == "park"


def test_the_modifier_is_the_one_the_mapping_writes_and_replaces_our_plain_status() -> None:
    """A reader must never find two states in one resource."""
    assert published.AE4["status"].url == AE_STATUS_MODIFIER
    ours = {"url": f"{BASE}/StructureDefinition/ae-status", "valueCode": "completed"}
    foreign = {"url": "https://other.example/x", "valueString": "y"}
    event: Tree = {"resourceType": "AdverseEvent", "extension": [ours, foreign]}
    found = retraction(event, Release.R4, "modifier", [BASE]).resource
    assert found is not None
    assert found["extension"] == [foreign]
    again = retraction(found, Release.R4, "modifier", [BASE]).resource
    assert again == found
