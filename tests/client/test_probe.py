"""A probe proves what a server does, whatever it claims, and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.binding import Binding
from fhirbridge.client.probe import Means, probe, probe_by_trial
from fhirbridge.client.proof import ABILITIES, Ability, Limit, Proof, claims
from fhirbridge.client.rest import Client
from fhirbridge.client.transport import Answer, Transport
from fhirbridge.errors import SiteRefused, SiteUnreachable, SiteUntrusted
from fhirbridge.fhir.bundle import Address
from fhirbridge.fhir.capability import SmartConfiguration, capabilities, smart_configuration
from fhirbridge.fhir.json import dump, parse
from tests.client.server import FakeServer, Reply, Request, serving
from tests.faults.personalities import LIES, PERSONALITIES, Lie, Personality
from tests.faults.server import FaultServer
from tests.faults.server import serving as serving_faults

TYPES = ("Procedure", "Observation", "Consent")


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@contextmanager
def personality(ways: Personality | str, folder: Path, lie: Lie = "", lag: int = 0) -> Iterator[FaultServer]:
    ways = PERSONALITIES[ways] if isinstance(ways, str) else ways
    with serving_faults(FaultServer(folder / "log", ways, lie=lie, lag=lag)) as server:
        yield server


def tried(
    server: FaultServer | FakeServer,
    binding: Binding,
    *,
    most: int = 40,
    client: Client | None = None,
    abandoned: Sequence[str] = (),
    time: Time | None = None,
) -> Proof:
    time = time or Time()
    left = abandoned if isinstance(abandoned, list) else []
    made = client or Client(Transport(server.base, timeout=5))
    try:
        means = Means(time.clock, time.sleep, abandoned=left.append)
        return probe_by_trial(made, binding, TYPES, means, run="r1", most_entries=most)
    finally:
        made.close()


def living(server: FaultServer) -> list[str]:
    there = (address for address in server.store.of_type("Observation") if server.store.holds(address))
    return ["/".join(address) for address in there]


def truth(ways: Personality) -> dict[str, bool | None]:
    """What a trial has to find out about a personality."""
    conditional = ways.conditional_create != "ignored"
    needs_version = ways.if_match == "required"
    both = {"transaction", "batch"} <= set(ways.system)
    return {
        "create": True,
        "update": True,
        "delete": ways.deletes,
        "update_create": ways.update_create,
        "if_match": ways.if_match != "ignored",
        "if_none_match": None if needs_version else ways.if_none_match,
        "conditional_create": conditional,
        "conditional_create_tag": conditional,
        "bare_if_none_exist": True if conditional and both else None,
        "conditional_update": ways.conditional_update,
        "idempotency_key": bool(ways.idempotency_key),
        "identifier_search": True,
        "tag_search": "tag" not in ways.ignores,
        # Without a stale If-Match there is nothing that must fail.
        "transaction": False if not both else None if ways.if_match == "ignored" else True,
        "batch": both,
        "every_entry": True if both else None,
        "decimals": True,
    }


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("name", PERSONALITIES)
def test_what_is_proven_is_the_truth_whatever_is_claimed(name: str, lie: Lie, r4: Binding, tmp_path: Path) -> None:
    ways = PERSONALITIES[name]
    with personality(ways, tmp_path, lie) as server:
        proof = tried(server, r4)
        assert {one: proof.proven(one) for one in ABILITIES} == truth(ways)
        if lie in ("boast", "modest"):
            told = {proof.ability(one).claimed for one in ("update_create", "conditional_create", "conditional_update")}
            assert told == {lie == "boast"}
        if ways.deletes:
            assert living(server) == []
            assert proof.left == ()
        else:
            assert set(proof.left) >= set(living(server))


@pytest.mark.parametrize("if_match", ["412", "409", "ignored", "required"])
def test_if_match_is_believed_only_when_a_stale_version_was_refused(if_match: Any, r4: Binding, tmp_path: Path) -> None:
    with personality(replace(PERSONALITIES["strict"], if_match=if_match), tmp_path) as server:
        found = tried(server, r4).ability("if_match")
    assert found.proven is (if_match != "ignored")
    if if_match in ("412", "409"):
        assert found.detail == if_match


@pytest.mark.parametrize("status", [400, 413, 422, 500])
@pytest.mark.parametrize("entries", [1, 2, 25, 39, 40])
def test_the_bundle_limit_is_found_to_the_entry_in_few_requests(
    entries: int, status: int, r4: Binding, tmp_path: Path
) -> None:
    ways = replace(PERSONALITIES["strict"], entries=entries, entries_status=status)
    with personality(ways, tmp_path) as server:
        proof = tried(server, r4, most=40)
        bundles = [one for one in server.requests if one.kind == "read" and one.method == "POST"]
    assert proof.entries == Limit(entries, None if entries == 40 else entries + 1)
    assert len(bundles) <= 8


def test_a_lagging_index_is_waited_for_and_measured(r4: Binding, tmp_path: Path) -> None:
    time = Time()
    with personality("strict", tmp_path, lag=4) as server:
        proof = tried(server, r4, time=time)
        assert living(server) == []
    assert proof.proven("identifier_search") is True
    assert proof.index_lag is not None
    assert 0 <= proof.index_lag <= 16


def test_nothing_is_written_without_being_told_to(r4: Binding, tmp_path: Path) -> None:
    with personality("strict", tmp_path) as server:
        client = Client(Transport(server.base))
        proof = probe(client, TYPES, Means(Time().clock, Time().sleep))
        client.close()
        assert {one.method for one in server.requests} == {"GET"}
    assert (proof.run, proof.trial_type) == (None, None)
    assert all(one.proven is None for one in proof.abilities.values())
    assert proof.ability("update_create").claimed is True


class Interrupting(Client):
    """Ctrl-C comes when request number ``at`` has done its work and nobody has seen its answer."""

    def __init__(self, transport: Transport, at: Sequence[int]) -> None:
        super().__init__(transport)
        self._at, self._count = at, 0

    def ask(self, *arguments: Any, **more: Any) -> Answer:
        answer = super().ask(*arguments, **more)
        self._count += 1
        if self._count in self._at:
            raise KeyboardInterrupt
        return answer


@pytest.mark.parametrize("at", range(1, 37))
def test_ctrl_c_at_any_request_leaves_nothing_behind(at: int, r4: Binding, tmp_path: Path) -> None:
    """Also the resource whose answer was never seen: it is looked for. During the removal it is carried on."""
    left: list[str] = []
    with personality("strict", tmp_path) as server:
        client = Interrupting(Transport(server.base), [at])
        with pytest.raises(KeyboardInterrupt):
            tried(server, r4, client=client, abandoned=left)
        assert living(server) == left == []


def test_a_second_ctrl_c_ends_the_removal_and_names_what_is_left(r4: Binding, tmp_path: Path) -> None:
    left: list[str] = []
    with personality("strict", tmp_path) as server:
        client = Interrupting(Transport(server.base), [25, 27])
        with pytest.raises(KeyboardInterrupt):
            tried(server, r4, client=client, abandoned=left)
        assert living(server)
        assert set(living(server)) <= set(left)


def test_a_server_that_goes_away_ends_the_probe_and_what_is_there_is_named(r4: Binding, tmp_path: Path) -> None:
    left: list[str] = []
    with personality("strict", tmp_path) as server:
        server.script.add([{"do": "cut", "kind": "any", "at": 20, "times": 0}])
        with pytest.raises(SiteUnreachable):
            tried(server, r4, abandoned=left)
        assert living(server)
        assert set(living(server)) <= set(left)


class Blind(Client):
    """A server whose searches pass over every parameter, and whose answer to the second create gets lost."""

    def ask(self, method: str, address: str, *arguments: Any, **more: Any) -> Answer:
        return super().ask(method, address.partition("?")[0] if method == "GET" else address, *arguments, **more)


def test_only_what_carries_the_runs_tag_is_removed(r4: Binding, tmp_path: Path) -> None:
    """A server whose search finds everything must not lose everything."""
    with personality("strict", tmp_path) as server:
        theirs = {"resourceType": "Observation", "id": "theirs", "status": "final", "code": {"text": "x"}}
        server.commit_as_hospital("PUT", theirs)
        server.script.add([{"do": "cut-after", "kind": "create", "at": 2}])
        with pytest.raises(SiteUnreachable):
            tried(server, r4, client=Blind(Transport(server.base)))
        assert living(server) == ["Observation/theirs"]


class Unrolled(Client):
    """A server that answers a transaction entry by entry and keeps the good ones, as Medplum's does by default."""

    def ask(self, method: str, address: str, resource: Any = None, headers: Any = None) -> Answer:
        if resource and resource.get("type") == "transaction":
            resource = {**resource, "type": "batch"}
        return super().ask(method, address, resource, headers)


@pytest.mark.parametrize("our_ids", [True, False])
def test_a_transaction_that_keeps_its_good_entries_is_none(our_ids: bool, r4: Binding, tmp_path: Path) -> None:
    with personality(replace(PERSONALITIES["strict"], update_create=our_ids), tmp_path) as server:
        proof = tried(server, r4, client=Unrolled(Transport(server.base)))
        assert living(server) == []
    assert proof.ability("transaction") == Ability(True, False, "not rolled back")


def test_a_server_that_finds_everything_has_no_search(server: FakeServer, r4: Binding) -> None:
    """Some servers pass over a search parameter that they do not know."""
    entry = {"resource": {"resourceType": "Basic", "id": "theirs"}}
    everything = Reply(body={"resourceType": "Bundle", "type": "searchset", "entry": [entry]})

    def behave(request: Request) -> Reply | None:
        if request.method == "GET" and "?" in request.path:
            return everything
        return Reply(405) if request.method in ("POST", "DELETE") else None

    server.misbehave = behave
    proof = tried(server, r4)
    assert proof.ability("identifier_search") == Ability(None, False, "ignored")
    assert proof.ability("tag_search") == Ability(None, False, "ignored")


def test_a_busy_server_is_given_the_time_it_asks_for(r4: Binding, tmp_path: Path) -> None:
    time = Time()
    started = time.now
    with personality("strict", tmp_path) as server:
        server.script.add([{"do": "status", "status": 429, "retry_after": "17", "kind": "write", "at": 3}])
        proof = tried(server, r4, time=time)
    assert proof.proven("transaction") is True
    assert time.now - started >= 17


def test_five_megabytes_of_capabilities_end_well(r4: Binding, tmp_path: Path) -> None:
    with personality("strict", tmp_path, "bloated") as server:
        assert tried(server, r4).ability("update_create") == Ability(True, True, "201")


def test_capabilities_larger_than_the_cap_say_what_to_raise(r4: Binding, tmp_path: Path) -> None:
    with personality("strict", tmp_path, "bloated") as server:
        client = Client(Transport(server.base, max_body=1 << 20))
        with pytest.raises(SiteUntrusted) as caught:
            tried(server, r4, client=client)
        assert [one for one in server.requests if one.method != "GET"] == []
    assert caught.value.code == "site.too_large"
    assert "max_body" in caught.value.hint


def test_a_page_instead_of_a_server_is_said_and_nothing_is_written(server: FakeServer, r4: Binding) -> None:
    server.misbehave = lambda request: Reply(body=b"<html>", content_type="text/html")
    with pytest.raises(SiteUntrusted):
        tried(server, r4)
    assert {one.method for one in server.requests} == {"GET"}


def test_a_page_in_the_middle_leaves_that_one_ability_open(r4: Binding, tmp_path: Path) -> None:
    with personality("strict", tmp_path) as server:
        server.script.add([{"do": "html", "kind": "bundle", "at": 2}])
        proof = tried(server, r4)
        assert living(server) == []
    assert proof.proven("transaction") is None
    assert proof.proven("batch") is True
    assert proof.notices == ("transaction: site.not_json",)


def test_a_server_that_takes_nothing_is_said_to_take_nothing(server: FakeServer, r4: Binding) -> None:
    server.misbehave = lambda request: Reply(403) if request.method in ("POST", "PUT") else None
    proof = tried(server, r4)
    assert (proof.proven("create"), proof.proven("update_create")) == (False, False)
    assert proof.left == ()


def test_smart_is_read_where_there_is_one(server: FakeServer, r4: Binding) -> None:
    document = {
        "token_endpoint": f"{server.base}/token",
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["ES384", 7],
        "capabilities": "nonsense",
    }
    server.misbehave = lambda request: Reply(body=document) if ".well-known" in request.path else None
    client = Client(Transport(server.base))
    proof = probe(client, TYPES, Means(Time().clock, Time().sleep))
    client.close()
    assert proof.smart == SmartConfiguration(True, True, ("ES384",), ())


json_trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ([True, True], True),
        ([True, None], None),
        ([True, False], False),
        ([None, None], None),
        ([], None),
    ],
)
def test_a_claim_is_made_for_all_types_or_denied_for_one(said: list[bool | None], wanted: bool | None) -> None:
    kinds = [f"T{number}" for number in range(len(said))]
    resource = [
        {"type": kind, "updateCreate": value, "searchParam": [{"name": 7}, "nonsense"], "interaction": {"code": "x"}}
        for kind, value in zip(kinds, said, strict=True)
    ]
    statement = {"resourceType": "CapabilityStatement", "rest": [{"resource": [*resource, {"type": 7}, 7]}]}
    found = claims(capabilities(statement), [*kinds, "NotNamed"])
    assert found["update_create"] is wanted
    assert found.keys() == set(ABILITIES)


@given(json_trees)
def test_no_statement_is_an_error(tree: Any) -> None:
    for statement in (tree, {"resourceType": "CapabilityStatement", "rest": [{"resource": [tree]}], "software": tree}):
        assert claims(capabilities(statement), TYPES).keys() == set(ABILITIES)
        assert smart_configuration(tree) is not None


ability = st.builds(
    Ability, st.none() | st.booleans(), st.none() | st.booleans(), st.sampled_from(["", "412", "ignored"])
)
texts = st.lists(st.text(max_size=8), max_size=3).map(tuple)
proofs = st.builds(
    Proof,
    base=st.just("https://hospital.example/fhir"),
    at=st.floats(0, 4e9),
    fhir_version=st.none() | st.just("4.0.1"),
    software=st.none() | st.text(max_size=8),
    trial_type=st.none() | st.just("Basic"),
    run=st.none() | st.just("r1"),
    abilities=st.fixed_dictionaries(dict.fromkeys(ABILITIES, ability)),
    entries=st.none() | st.builds(Limit, st.integers(1, 5000), st.none() | st.integers(1, 5000)),
    index_lag=st.none() | st.floats(0, 60),
    smart=st.none() | st.builds(SmartConfiguration, st.booleans(), st.booleans(), texts, texts),
    left=texts,
    notices=texts,
)


@given(proofs)
def test_a_proof_is_kept_as_a_document(proof: Proof) -> None:
    assert Proof.from_json(json.loads(json.dumps(proof.as_json()))) == proof
    # The ledger keeps it through our own JSON, whose numbers keep their text.
    assert Proof.from_json(parse(dump(proof.as_json()))) == proof


@given(proofs, st.sampled_from([*Proof(base="", at=0).as_json()]), json_trees)
def test_what_is_no_proof_is_none_and_never_an_error(proof: Proof, member: str, tree: Any) -> None:
    """A damaged document means that the server is to be probed again."""
    assert Proof.from_json(tree) is None
    damaged = {**proof.as_json(), member: tree}
    found = Proof.from_json(damaged)
    assert found is None or isinstance(found, Proof)
    assert Proof.from_json({name: value for name, value in damaged.items() if name != member}) is None


# ------------------------------------------------------------------------------------------- what the client gained
def test_an_exchange_is_one_request(server: FakeServer, client: Client) -> None:
    """Nothing below the retry table tries again: a second POST could be a second resource."""
    server.misbehave = lambda request: Reply(cut=True)
    with pytest.raises(SiteUnreachable):
        client.ask("POST", "Observation", {"resourceType": "Observation"})
    assert len(server.requests) == 1


def test_any_status_comes_back_with_its_headers(server: FakeServer, client: Client) -> None:
    server.misbehave = lambda request: Reply(429, headers={"Retry-After": "7", "ETag": 'W/"3"'})
    answer = client.ask("PUT", "Observation/1", {"resourceType": "Observation"}, {"If-None-Match": "*"})
    assert (answer.status, answer.headers["retry-after"], answer.headers["etag"]) == (429, "7", 'W/"3"')
    assert server.requests[0].headers["if-none-match"] == "*"


def test_a_refusal_says_when_to_come_back_and_what_it_was_about(server: FakeServer, client: Client) -> None:
    words = "The number of entries in the bundle exceeded the configured limit of 500. Zebulon Canary"
    issue = {"severity": "error", "code": "invalid", "diagnostics": words}
    body = {"resourceType": "OperationOutcome", "issue": [issue]}
    server.misbehave = lambda request: Reply(400, body, headers={"Retry-After": "Sun, 22 Nov 2026 10:00:00 GMT"})
    with pytest.raises(SiteRefused) as caught:
        client.post_bundle({"resourceType": "Bundle"})
    assert caught.value.retry_after == "Sun, 22 Nov 2026 10:00:00 GMT"
    assert caught.value.signals == {"invalid", "over-limit"}
    assert "Canary" not in f"{caught.value} {caught.value.signals}"


@pytest.mark.parametrize(("status", "was_there"), [(200, True), (202, True), (204, True), (404, False), (410, False)])
def test_a_delete_says_whether_there_was_something(
    server: FakeServer, client: Client, status: int, was_there: bool
) -> None:
    server.misbehave = lambda request: Reply(status)
    assert client.delete(Address("Observation", "1"), if_match="4") is was_there
    assert (server.requests[0].method, server.requests[0].headers["if-match"]) == ("DELETE", 'W/"4"')


def test_a_delete_that_is_refused_is_an_error(server: FakeServer, client: Client) -> None:
    server.misbehave = lambda request: Reply(409)
    with pytest.raises(SiteRefused):
        client.delete(Address("Observation", "1"))


def test_a_server_of_another_host_is_not_deleted_from(client: Client) -> None:
    with pytest.raises(SiteUntrusted), serving(FakeServer()) as stranger:
        client.ask("DELETE", f"{stranger.base}/Observation/1")
