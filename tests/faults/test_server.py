"""The server of the laboratory does what its personalities say, keeps what it logs, and fails as asked."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
import requests

from fhirbridge.fhir.json import Tree
from tests.faults.clinic import SID, TAGS, observation, patient
from tests.faults.conftest import Caller, Start
from tests.faults.personalities import PERSONALITIES, TYPES, personality, statement
from tests.faults.scripted import DOES, Fault
from tests.faults.store import Change, Store, read_log

EVERY = sorted(PERSONALITIES)
CONDITION = f"identifier={SID}/vital-sign|V-1"


def vital(number: int = 1, revision: int = 1) -> Tree:
    return observation(number, 1, revision)


def bare(number: int = 1) -> Tree:
    return {name: value for name, value in vital(number).items() if name != "id"}


def put(resource: Tree, **more: str) -> Tree:
    return {"resource": resource, "request": {"method": "PUT", "url": f"Observation/{resource['id']}", **more}}


def post(resource: Tree, **more: str) -> Tree:
    return {"resource": resource, "request": {"method": "POST", "url": "Observation", **more}}


@pytest.mark.parametrize(
    ("name", "status"), [("strict", 201), ("hapi", 201), ("azure", 201), ("healthlake", 404), ("oracle", 404)]
)
def test_whether_a_put_creates(start: Start, name: str, status: int) -> None:
    ask = start(name)
    assert ask("PUT", f"Observation/{vital()['id']}", vital())[0] == status
    assert ask.live() == (status == 201)


@pytest.mark.parametrize(
    ("name", "stored"), [("strict", 1), ("hapi", 1), ("azure", 1), ("healthlake", 2), ("oracle", 2)]
)
def test_what_a_conditional_create_makes_of_a_repetition(start: Start, name: str, stored: int) -> None:
    ask = start(name)
    first, _ = ask("POST", "Observation", bare(), If_None_Exist=CONDITION)
    again, _ = ask("POST", "Observation", bare(), If_None_Exist=CONDITION)
    assert (first, again) == (201, 200 if stored == 1 else 201)
    assert ask.live() == stored


@pytest.mark.parametrize(("name", "stored"), [("strict", 1), ("hapi", 1), ("azure", 2)])
def test_what_two_conditional_creates_at_once_make(start: Start, name: str, stored: int) -> None:
    """Both have arrived before either is done: the racy server makes two, and every later one then fails with 412."""
    ask = start(name)
    ask.server.script.add([{"do": "stall", "kind": "create", "times": 2}])
    statuses: list[int] = []
    headers = {"If-None-Exist": CONDITION}

    def create() -> None:
        url = f"{ask.server.base}/Observation"
        statuses.append(requests.post(url, json=bare(), headers=headers, timeout=30).status_code)

    threads = [threading.Thread(target=create) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in threads:
        ask.server.stalled.acquire()
    ask.server.going_on.set()
    for thread in threads:
        thread.join()
    assert ask.live() == stored
    later, _ = ask("POST", "Observation", bare(), If_None_Exist=CONDITION)
    assert later == (200 if stored == 1 else 412)


def test_hapis_guard_holds_against_a_lagging_index_and_forgets(start: Start) -> None:
    ask = start("hapi", changes={"guard_commits": "3"}, lag=50)
    assert ask("POST", "Observation", bare(), If_None_Exist=CONDITION)[0] == 201
    refused, said = ask("POST", "Observation", bare(), If_None_Exist=CONDITION)
    assert (refused, "HAPI-2745" in str(said)) == (409, True)
    for number in range(2, 5):
        ask("PUT", f"Observation/{vital(number)['id']}", vital(number))
    assert ask("POST", "Observation", bare(), If_None_Exist=CONDITION)[0] == 201
    assert ask.live() == 5


def test_hapi_refuses_the_loser_of_a_race_for_an_id(start: Start) -> None:
    ask = start("hapi")
    ask.server.script.add([{"do": "stall", "kind": "update"}])
    statuses: list[int] = []
    url = f"{ask.server.base}/Observation/{vital()['id']}"
    thread = threading.Thread(target=lambda: statuses.append(requests.put(url, json=vital(), timeout=30).status_code))
    thread.start()
    ask.server.stalled.acquire()
    assert ask("PUT", f"Observation/{vital()['id']}", vital())[0] == 201
    ask.server.going_on.set()
    thread.join()
    assert statuses == [409]


def test_hapi_keeps_the_version_of_what_did_not_change_and_the_tags_of_what_did(start: Start) -> None:
    ask = start("hapi")
    address = f"Observation/{vital()['id']}"
    assert [ask("PUT", address, vital())[1]["meta"]["versionId"] for _ in range(2)] == ["1", "1"]
    _, changed = ask("PUT", address, vital(revision=2))
    revisions = [one["code"] for one in changed["meta"]["tag"] if one["system"].endswith("/revision")]
    assert (changed["meta"]["versionId"], sorted(revisions)) == ("2", ["1", "2"])


def test_hapi_answers_with_fewer_entries_when_a_condition_comes_twice(start: Start) -> None:
    ask = start("hapi")
    entries = [post(bare(), ifNoneExist=CONDITION), post(bare(), ifNoneExist=CONDITION), put(vital(2))]
    status, answer = ask.bundle("transaction", *entries)
    assert (status, len(answer["entry"]), ask.live()) == (200, 2, 2)
    assert answer["entry"][0]["response"]["etag"] == "1"


@pytest.mark.parametrize(
    ("name", "stale", "without"),
    [("strict", 412, 200), ("hapi", 409, 200), ("azure", 412, 200), ("healthlake", 412, 200), ("oracle", 409, 412)],
)
def test_what_if_match_does(start: Start, name: str, stale: int, without: int) -> None:
    ask = start(name)
    address = ask.raw("POST", "Observation", bare()).headers["Location"].removeprefix(f"{ask.server.base}/")
    address = address.partition("/_history")[0]
    resource = {**vital(revision=2), "id": address.partition("/")[2]}
    assert ask("PUT", address, resource, If_Match='W/"7"')[0] == stale
    assert ask("PUT", address, resource, If_Match='W/"1"')[0] == 200
    assert ask("PUT", address, vital(revision=3) | {"id": resource["id"]})[0] == without


def test_an_idempotency_key_makes_a_post_happen_once(start: Start, tmp_path: Path) -> None:
    key = {"x_amz_fhir_idempotency_key": str(uuid.UUID(int=7))}
    ask = start("healthlake")
    _, first = ask("POST", "Observation", bare(), **key)
    status, again = ask("POST", "Observation", bare(), **key)
    assert (status, again, ask.live()) == (409, first, 1)
    after_a_restart = start("healthlake")
    assert after_a_restart("POST", "Observation", bare(), **key)[0] == 409


def test_oracle_answers_with_nothing_but_a_location_and_drops_what_it_does_not_know(start: Start) -> None:
    ask = start("oracle")
    answer = ask.raw("POST", "Observation", {**bare(), "extension": [{"url": "u", "valueString": "x"}]})
    assert (answer.status_code, answer.content) == (201, b"")
    assert "ETag" not in answer.headers
    _, kept = ask("GET", answer.headers["Location"].removeprefix(f"{ask.server.base}/"))
    assert "extension" not in kept
    assert "tag" not in kept["meta"]
    assert ask.bundle("transaction", put(vital()))[0] == 404
    assert ask("POST", "Observation", {**bare(), "modifierExtension": [{"url": "u"}]})[0] == 422


@pytest.mark.parametrize(("name", "limit", "status"), [("azure", 500, 400), ("healthlake", 160, 400)])
def test_a_bundle_over_the_limit_is_refused_whole(start: Start, name: str, limit: int, status: int) -> None:
    ask = start(name, changes={"throttle_entry_every": "0", "throttle_every": "0"})
    fits = [post(bare(number)) for number in range(limit)]
    assert ask.bundle("batch", *fits)[0] == 200
    assert ask.live() == limit
    assert ask.bundle("batch", *fits, post(bare(limit)))[0] == status
    assert ask.live() == limit


def test_azure_throttles_requests_and_entries(start: Start) -> None:
    ask = start("azure", changes={"throttle_every": "2", "throttle_entry_every": "2"})
    _, answer = ask.bundle("batch", put(vital(1)), put(vital(2)), put(vital(3)))
    assert [entry["response"]["status"][:3] for entry in answer["entry"]] == ["201", "429", "201"]
    refused = ask.raw("PUT", f"Observation/{vital(4)['id']}", vital(4))
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert ask.live() == 2


@pytest.mark.parametrize("name", ["strict", "hapi", "azure", "healthlake"])
def test_a_transaction_is_all_or_nothing_and_a_batch_is_not(start: Start, name: str) -> None:
    ask = start(name, changes={"throttle_every": "0", "throttle_entry_every": "0", "update_create": "true"})
    good, bad = put(vital(1)), put({**vital(2), "id": "other-than-the-url"})
    bad["request"]["url"] = "Observation/x2"
    assert ask.bundle("transaction", good, bad)[0] == 400
    assert ask.live() == 0
    status, answer = ask.bundle("batch", good, bad)
    assert (status, [entry["response"]["status"][:3] for entry in answer["entry"]]) == (200, ["201", "400"])
    assert ask.live() == 1


def test_a_transaction_resolves_references_to_its_own_entries(start: Start) -> None:
    ask = start()
    urn = f"urn:uuid:{uuid.UUID(int=3)}"
    child = {**bare(2), "hasMember": [{"reference": urn}]}
    entries = [post(child), {"fullUrl": urn, **post(bare(1), ifNoneExist=CONDITION)}]
    for _ in range(2):
        status, answer = ask.bundle("transaction", *entries)
        assert status == 200
        _, kept = ask("GET", answer["entry"][0]["response"]["location"])
        assert answer["entry"][1]["response"]["location"].startswith(kept["hasMember"][0]["reference"])
    assert ask.live() == 3


def test_what_is_deleted_is_gone_and_its_versions_stay(start: Start) -> None:
    ask = start()
    address = f"Observation/{vital()['id']}"
    ask("PUT", address, vital())
    assert ask("DELETE", address)[0] == 200
    assert ask("GET", address)[0] == 410
    assert ask("GET", f"{address}/_history/1")[0] == 200
    assert ask("GET", "Observation/never")[0] == 404


def test_if_none_match_refuses_what_is_there(start: Start) -> None:
    ask = start()
    address = f"Observation/{vital()['id']}"
    assert [ask("PUT", address, vital(), If_None_Match="*")[0] for _ in range(2)] == [201, 412]


def test_a_conditional_update_creates_updates_and_refuses_to_choose(start: Start) -> None:
    ask = start()
    assert [ask("PUT", f"Observation?{CONDITION}", bare())[0] for _ in range(2)] == [201, 200]
    ask("POST", "Observation", bare())
    assert ask("PUT", f"Observation?{CONDITION}", bare())[0] == 412


@pytest.mark.parametrize(
    "query",
    [
        CONDITION,
        f"_id={vital()['id']}",
        f"_tag={TAGS}/record-key|V-1",
        f"patient=Patient/p1&{CONDITION}",
        "patient=p1&code=http://loinc.org|8867-4&date=2026-01-01T10:01:00Z",
        f"patient:identifier={SID}/patient|P-1&code=8867-4&date=eq2026-01-01T10:01",
    ],
)
@pytest.mark.parametrize("by_post", [False, True])
def test_a_search_finds_what_fits(start: Start, query: str, by_post: bool) -> None:
    ask = start()
    for number in (1, 2):
        ask("PUT", f"Observation/{vital(number)['id']}", vital(number))
    if by_post:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = ask.session.post(f"{ask.server.base}/Observation/_search", data=query, headers=form, timeout=30)
        found = answer.json()
    else:
        _, found = ask("GET", f"Observation?{query}")
    assert [entry["resource"]["id"] for entry in found["entry"]] == [vital()["id"]]


def test_pages_hold_everything_once(start: Start) -> None:
    ask = start()
    for number in range(7):
        ask("PUT", f"Observation/{vital(number)['id']}", vital(number))
    seen, path = [], "Observation?_count=3"
    while path:
        _, page = ask("GET", path)
        seen += [entry["resource"]["id"] for entry in page["entry"]]
        links = [one["url"] for one in page.get("link", ()) if one["relation"] == "next"]
        path = links[0].removeprefix(f"{ask.server.base}/") if links else ""
    assert seen == [vital(number)["id"] for number in range(7)]


@pytest.mark.parametrize(("release", "status"), [("r4", 400), ("r5", 200)])
def test_adverse_events_have_no_identifier_to_search_for_before_r5(start: Start, release: str, status: int) -> None:
    ask = start(release=release)
    assert ask("GET", "AdverseEvent?identifier=u|1")[0] == status
    assert ask("GET", "metadata")[1]["fhirVersion"] == {"r4": "4.0.1", "r5": "5.0.0"}[release]


@pytest.mark.parametrize("name", EVERY)
def test_a_statement_can_be_wrong_in_both_directions(name: str) -> None:
    def able(lie: Any) -> set[Any]:
        rest = statement(personality(name), "r4", lie)["rest"][0]
        assert len(rest["resource"]) == len(TYPES)
        return {
            rest["resource"][0]["updateCreate"],
            rest["resource"][0]["conditionalCreate"],
            bool(rest["interaction"]),
        }

    assert able("boast") == {True}
    assert able("modest") == {False}
    assert len(str(statement(personality(name), "r4", "bloated"))) > 5_000_000


def test_an_index_lags_by_requests(start: Start) -> None:
    ask = start(lag=2)
    ask("PUT", f"Observation/{vital()['id']}", vital())
    totals = [ask("GET", f"Observation?{CONDITION}")[1]["total"] for _ in range(4)]
    assert totals == [0, 0, 1, 1]
    assert ask("GET", f"Observation/{vital()['id']}")[0] == 200


def test_the_state_survives_the_process_and_a_torn_line(start: Start, tmp_path: Path) -> None:
    ask = start()
    ask.bundle("transaction", put(vital(1)), put(vital(2)))
    ask("DELETE", f"Observation/{vital(2)['id']}")
    whole = (tmp_path / "log").read_bytes()
    # A transaction of which the last line never made it to the disk.
    half = whole.splitlines(keepends=True)[1].replace(b'"n":2,"first":2', b'"n":5,"first":5')
    (tmp_path / "log").write_bytes(whole + half + b'{"n":6,"fir')
    again = start()
    assert again("GET", f"Observation/{vital(1)['id']}")[1]["meta"]["versionId"] == "1"
    assert again("GET", f"Observation/{vital(2)['id']}")[0] == 410
    assert (tmp_path / "log").read_bytes() == whole
    assert again("PUT", f"Observation/{vital(3)['id']}", vital(3))[0] == 201
    assert [one.n for one in read_log(tmp_path / "log")[0]] == [1, 2, 3, 4, 5]


def test_a_server_can_lose_what_it_has_acknowledged(tmp_path: Path) -> None:
    store = Store(tmp_path / "log", behind=2)
    for number in range(5):
        change = Change("PUT", "Observation", f"o{number}", "create", vital(number), vital(number))
        store.commit([change], number)
    # As a kill leaves it: not closed.
    assert len(read_log(tmp_path / "log")[0]) == 3
    store.close()
    assert len(read_log(tmp_path / "log")[0]) == 5


def test_a_row_can_be_gone_without_a_trace(start: Start) -> None:
    ask = start()
    ask("PUT", f"Observation/{vital()['id']}", vital())
    ask.server.commit_as_hospital("FORGET", vital())
    assert ask("GET", f"Observation/{vital()['id']}")[0] == 404
    assert ask("PUT", f"Observation/{vital()['id']}", vital())[0] == 201


def test_a_revoked_token_is_refused_whatever_is_asked(start: Start) -> None:
    ask = start()
    ask.server.tokens = frozenset({"new"})
    assert ask("GET", "Patient/p1", Authorization="Bearer old")[0] == 401
    assert ask("GET", "Patient/p1", Authorization="Bearer new")[0] == 200


# What each fault leaves on the server, and what a client sees of it.
SEEN: dict[str, tuple[int, str]] = {
    "status": (0, "503"),
    "status-after": (2, "503"),
    "html": (0, "page"),
    "html-after": (2, "page"),
    "cut": (0, "broken"),
    "cut-after": (2, "broken"),
    "truncate": (2, "broken"),
    "empty": (2, "empty"),
    "repeat": (2, "two"),
    "reorder": (2, "reversed"),
    "drop-entry": (2, "one"),
    "double-entry": (2, "three"),
    "entry-status": (1, "two"),
    "stale": (2, "two"),
    "stall": (2, "two"),
    "stall-after": (2, "two"),
}


@pytest.mark.parametrize("do", DOES)
def test_each_fault_happens_to_the_request_it_was_asked_for(start: Start, do: str) -> None:
    ask = start()
    kind = "search" if do == "stale" else "bundle"
    ask.server.script.add([{"do": do, "kind": kind, "status": 503, "retry_after": "1"}])
    ask.server.going_on.set()
    kept, seen = SEEN[do]
    assert (_seen(ask), ask.live()) == (seen, kept)
    if do == "stale":
        assert ask("GET", "Observation")[1]["total"] == 1
    assert ask("GET", "Observation")[1]["total"] == kept
    assert [one.hits for one in ask.server.script.faults] == [1]


def _seen(ask: Caller) -> str:
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [put(vital(1)), put(vital(2))]}
    try:
        answer = ask.raw("POST", "", bundle)
    except requests.RequestException:
        return "broken"
    if answer.status_code != 200:
        return str(answer.status_code)
    if "json" not in answer.headers.get("Content-Type", ""):
        return "page" if answer.content else "empty"
    if not answer.content:
        return "empty"
    # After a doubled reply this connection is of no use.
    ask.session.close()
    places = [entry["response"].get("location", "") for entry in answer.json()["entry"]]
    if places == sorted(places, reverse=True) and len(set(places)) == 2 and all(places):
        return "reversed"
    return {1: "one", 2: "two", 3: "three"}[len(places)]


def test_a_fault_hits_the_requests_that_were_named() -> None:
    third = Fault("status", kind="write", at=3, times=2)
    assert [third.hits_this("update", "Observation", "") for _ in range(6)] == [False, False, True, True, False, False]
    assert not third.hits_this("read", "Observation", "")
    even = Fault("cut", every=2, type="Patient")
    assert [even.hits_this("read", "Patient", "") for _ in range(4)] == [False, True, False, True]
    drawn = [Fault("cut", rate=0.05, seed=4) for _ in range(2)]
    hits = [[one.hits_this("read", "", "") for _ in range(1_000)] for one in drawn]
    assert hits[0] == hits[1]
    assert 20 < sum(hits[0]) < 90
    with pytest.raises(ValueError, match="no such fault"):
        Fault("explode")


def test_numbers_keep_their_digits_also_in_the_log(start: Start) -> None:
    ask = start()
    address = f"Observation/{vital()['id']}"
    body = b'{"resourceType":"Observation","id":"%s","valueQuantity":{"value":1.500}}' % vital()["id"].encode()
    assert ask.session.put(f"{ask.server.base}/{address}", data=body, timeout=30).status_code == 201
    assert b'"value":1.500' in ask.raw("GET", address).content
    assert b'"value":1.500' in start().raw("GET", address).content


def test_the_hospital_can_change_a_patient_behind_our_back(start: Start) -> None:
    ask = start()
    ask.server.commit_as_hospital("PUT", {**patient(1), "active": False})
    assert ask("GET", "Patient/p1")[1]["active"] is False
    assert {one.by for one in ask.server.store.commits} == {"hospital"}
