"""Push, read back, push again, correct, retract: the contract, on each server."""

from __future__ import annotations

from collections import Counter

from fhirbridge.fhir.json import Tree
from fhirbridge.sync import RecordOutcome
from tests.contract.hospital import STATUS, Hospital, by_kind, key


def states(outcomes: dict[tuple[str, str], RecordOutcome]) -> Counter[str]:
    return Counter(outcome.state for outcome in outcomes.values())


def corrected(tree: Tree) -> Tree:
    """A new revision that says one thing more."""
    note = {"text": "Corrected after review."}
    return tree | {"revision": tree["revision"] + 1, "notes": [*tree.get("notes", []), note]}


def retracted(tree: Tree) -> Tree:
    """A new revision that says that the record never should have been."""
    return tree | {"revision": tree["revision"] + 1, STATUS[tree["kind"]]: "entered_in_error"}


def test_the_clinic_has_every_kind(hospital: Hospital) -> None:
    """Otherwise the other tests would prove less than they say."""
    assert by_kind(hospital.records).keys() == STATUS.keys() == hospital.site.mappings.kinds.keys()


def test_what_was_pushed_is_read_back_equal(hospital: Hospital) -> None:
    """Record by record, digit for digit, over several pages."""
    assert states(hospital.push(hospital.records)) == {"created": len(hospital.records)}
    back = hospital.read_back(hospital.records)
    assert back.keys() == {key(tree) for tree in hospital.records}
    for tree in hospital.records:
        assert hospital.text(back[key(tree)]) == hospital.text(tree), tree["kind"]


def test_the_server_has_one_resource_for_each_part(hospital: Hospital) -> None:
    before = hospital.totals()
    hospital.push(hospital.records)
    sent = Counter(one.type for several in hospital.addresses(hospital.records).values() for one in several)
    assert hospital.totals() - before == sent
    assert sent["MedicationAdministration"] > 0


def test_pushing_again_creates_and_changes_nothing(hospital: Hospital) -> None:
    """No 201, no new version, no new resource."""
    hospital.push(hospital.records)
    versions, totals = hospital.versions(hospital.records), hospital.totals()
    again = hospital.push(hospital.records)
    assert states(again) == {"unchanged": len(hospital.records)}
    assert hospital.versions(hospital.records) == versions
    assert hospital.totals() == totals


def test_a_correction_changes_exactly_that_record(hospital: Hospital) -> None:
    """One of each kind is corrected; the resources of all others keep their version."""
    hospital.push(hospital.records)
    before, totals = hospital.versions(hospital.records), hospital.totals()
    chosen = {key(tree) for tree in by_kind(hospital.records).values()}
    now = [corrected(tree) if key(tree) in chosen else tree for tree in hospital.records]
    outcomes = hospital.push(now)
    assert {one for one, outcome in outcomes.items() if outcome.state == "updated"} == chosen
    assert states(outcomes) == {"updated": len(chosen), "unchanged": len(now) - len(chosen)}
    after = hospital.versions(now)
    changed = {address for address, version in after.items() if before[address] != version}
    primaries = hospital.addresses(now)
    assert {primaries[one][0] for one in chosen} <= changed
    assert changed <= {address for one in chosen for address in primaries[one]}
    assert hospital.totals() == totals
    back = hospital.read_back(now)
    assert [hospital.text(back[key(tree)]) for tree in now] == [hospital.text(tree) for tree in now]


def test_an_old_revision_never_replaces_a_newer_one(hospital: Hospital) -> None:
    newer = [corrected(tree) for tree in by_kind(hospital.records).values()]
    hospital.push(newer)
    versions = hospital.versions(newer)
    assert states(hospital.push(by_kind(hospital.records).values())) == {"unchanged": len(newer)}
    assert hospital.versions(newer) == versions


def test_a_retraction_shows_on_the_server(hospital: Hospital) -> None:
    """The status says entered-in-error; R4 AdverseEvent has none and says it in an extension (T10)."""
    hospital.push(hospital.records)
    now = [retracted(tree) for tree in by_kind(hospital.records).values()]
    assert states(hospital.push(now)) == {"updated": len(now)}
    for (kind, _), addresses in hospital.addresses(now).items():
        resource = hospital.resource(addresses[0])
        assert said_status(resource) == "entered-in-error", kind
    back = hospital.read_back(now)
    assert [hospital.text(back[key(tree)]) for tree in now] == [hospital.text(tree) for tree in now]


def said_status(resource: Tree) -> str | None:
    if "status" in resource:
        return str(resource["status"])
    said = [*resource.get("modifierExtension", []), *resource.get("extension", [])]
    return next((one["valueCode"] for one in said if one["url"].endswith(("/status", "/ae-status"))), None)


def test_a_patient_the_server_does_not_know_stops_only_their_own_records(hospital: Hospital) -> None:
    """Refused with a path and a hint; nothing of them is written, everybody else's records arrive."""
    tree = hospital.records[0]
    stranger = tree["patient"] | {"identifier": tree["patient"]["identifier"] | {"value": "P-999999"}}
    lost = tree | {"id": f"{tree['id']}-lost", "patient": stranger}
    outcomes = hospital.push([lost, *hospital.records])
    assert outcomes[key(lost)].state == "refused"
    assert [fault.code for fault in outcomes[key(lost)].faults] == ["patient.not_found"]
    assert states(outcomes)["created"] == len(hospital.records)
    assert all(hospital.site.client.read(one) is None for one in hospital.addresses([lost])[key(lost)])
