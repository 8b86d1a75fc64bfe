"""An entry counts as sent only with proof of its own: right resource, 2xx, a version."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.fhir.bundle import GONE, Address, Copy, address_of, match, match_reads, puts, reads
from fhirbridge.fhir.capability import capabilities
from fhirbridge.fhir.outcome import issues

Tree = dict[str, Any]
ADDRESSES = st.lists(
    st.builds(Address, st.sampled_from(["Procedure", "Observation"]), st.from_regex(r"\Af[0-9a-f]{3}\Z")),
    min_size=1, max_size=6, unique=True,
)  # fmt: skip
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["resourceType", "entry", "response", "status", "location", "etag", "issue", "code", "rest",
                         "outcome", "resource", "id", "details", "coding", "interaction", "type"]), inner, max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip


def good(address: Address, version: int = 1, status: str = "201 Created") -> Tree:
    return {"response": {"status": status, "location": f"{address}/_history/{version}", "etag": f'W/"{version}"'}}


def response(entries: list[Tree]) -> Tree:
    return {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}


@given(ADDRESSES)
def test_what_is_proven_is_believed(sent: list[Address]) -> None:
    found = match(sent, response([good(one) for one in sent]))
    assert [(one.state, one.version) for one in found] == [("created", "1")] * len(sent)


@given(ADDRESSES, st.integers())
def test_entries_in_another_order_or_missing_are_never_taken_for_each_other(sent: list[Address], seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable
    kept = chance.sample(sent, chance.randint(0, len(sent)))
    answer = response([good(one, sent.index(one) + 1) for one in kept])
    for number, (address, found) in enumerate(zip(sent, match(sent, answer), strict=True), start=1):
        assert found.state in ("created", "unknown")
        if found.state == "created":
            assert address in kept
            assert found.version == str(number)
    if len(kept) < len(sent):
        assert [one.state == "created" for one in match(sent, answer)] == [one in kept for one in sent]


@given(ADDRESSES, JSON)
def test_no_answer_crashes_and_none_without_proof_counts(sent: list[Address], answer: Any) -> None:
    for tree in (answer, *({"resourceType": "Bundle", "entry": entries} for entries in (answer, [answer] * len(sent)))):
        assert all(one.state in ("unknown", "refused", "failed") for one in match(sent, tree))
        match_reads(sent, tree)
        issues(tree)
        capabilities(tree)
    assert issues({"resourceType": "OperationOutcome", "issue": answer}) is not None
    assert capabilities({"resourceType": "CapabilityStatement", "rest": answer}) is not None


ONE = Address("Procedure", "f1")


@pytest.mark.parametrize(
    ("entry", "state"),
    [
        (good(ONE), "created"),
        (good(ONE, 2, "200"), "updated"),
        ({"response": {"status": "201", "location": "Procedure/f1/_history/1", "etag": "1"}}, "created"),
        (
            {"response": {"status": "201", "location": "https://h.example/fhir/Procedure/f1", "etag": 'W/"1"'}},
            "created",
        ),
        (
            {
                "response": {"status": "201"},
                "resource": {"resourceType": "Procedure", "id": "f1", "meta": {"versionId": "1"}},
            },
            "created",
        ),
        ({"response": {"status": "201"}}, "unknown"),
        ({"response": {"status": "201", "location": "Procedure/f1"}}, "unknown"),
        ({"response": {"status": "201", "location": "Procedure/f2/_history/1"}}, "unknown"),
        ({"response": {"status": "201", "location": "Observation/f1/_history/1"}}, "unknown"),
        ({**good(ONE), "resource": {"resourceType": "Procedure", "id": "f2"}}, "unknown"),
        ({"response": {"status": "0201", "location": "Procedure/f1/_history/1"}}, "unknown"),
        ({"response": {"status": 201, "location": "Procedure/f1/_history/1"}}, "unknown"),
        (good(ONE, 1, "500 Oh"), "unknown"),
        (good(ONE, 1, "302 Found"), "unknown"),
        ({"response": {"status": "400 Bad Request"}}, "refused"),
        ({"response": {"status": "429"}}, "failed"),
        (
            {
                "response": {
                    **good(ONE)["response"],
                    "outcome": {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "value"}]},
                }
            },
            "unknown",
        ),
        (
            {
                "response": {
                    **good(ONE, 3, "200 OK")["response"],
                    "outcome": {
                        "resourceType": "OperationOutcome",
                        "issue": [
                            {
                                "severity": "information",
                                "code": "informational",
                                "details": {"coding": [{"code": "SUCCESSFUL_UPDATE_NO_CHANGE"}]},
                            }
                        ],
                    },
                }
            },
            "unchanged",
        ),
    ],
)
def test_each_entry_is_judged_by_what_it_proves(entry: Tree, state: str) -> None:
    assert [one.state for one in match([ONE], response([entry]))] == [state]


@given(ADDRESSES)
def test_a_bundle_puts_each_resource_to_its_own_address_once(sent: list[Address]) -> None:
    resources = [{"resourceType": one.type, "id": one.id} for one in sent]
    bundle = puts("transaction", "https://h.example/fhir", resources)
    assert [address_of(entry["resource"]) for entry in bundle["entry"]] == sent
    assert [entry["fullUrl"] for entry in bundle["entry"]] == [f"https://h.example/fhir/{one}" for one in sent]
    with pytest.raises(ValueError, match="twice"):
        puts("batch", "https://h.example/fhir", [*resources, resources[0]])


def test_reads_tell_what_is_there_what_is_not_and_what_is_open() -> None:
    two = Address("Procedure", "f2")
    here = {"response": {"status": "200"}, "resource": {"resourceType": "Procedure", "id": "f1"}}
    gone = {"response": {"status": "410 Gone"}}
    assert match_reads([ONE, two], response([here, gone])) == {ONE: Copy(here["resource"]), two: GONE}
    assert match_reads([ONE, two], response([gone, here])) is None
    assert match_reads([ONE, two], response([here])) is None
    assert match_reads([ONE], response([{"response": {"status": "500"}}])) is None
    assert reads([ONE])["entry"] == [{"request": {"method": "GET", "url": "Procedure/f1"}}]


def test_a_capability_statement_is_read_for_what_it_declares() -> None:
    statement = {
        "resourceType": "CapabilityStatement",
        "fhirVersion": "5.0.0",
        "rest": [
            {"mode": "client", "interaction": [{"code": "batch"}]},
            {"mode": "server", "interaction": [{"code": "transaction"}, {"code": 7}, 7]},
        ],
    }
    found = capabilities(statement)
    assert found.system == {"transaction"}
    assert found.fhir_version == "5.0.0"
