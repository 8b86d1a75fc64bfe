"""The ladder, cell by cell; what each way writes, what proves it, and what it does about a doubt."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, get_args
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.binding import Release
from fhirbridge.client.proof import Ability, AbilityName, Limit, Proof
from fhirbridge.client.transport import Answer
from fhirbridge.config import SiteSettings, WriteName
from fhirbridge.fhir.bundle import Address
from fhirbridge.fhir.capability import Capabilities, TypeCapabilities
from fhirbridge.sync.doubt import RULES, Look, carries, look, verdict
from fhirbridge.sync.strategy import LADDER, Refusal, Rung, Strategy, choose, entries, form
from fhirbridge.sync.writing import Proven, Target, proved, proved_alone, target_of, write

Tree = dict[str, Any]
BASE = "https://hospital.example/fhir"
SID = "https://clinic.example/sid"
KEYS = "https://fhirbridge.example/fhir/CodeSystem/record-key"
NOTHING = Capabilities()
NAMES = get_args(WriteName)


def settings(can: Tree | None = None, **more: Any) -> SiteSettings:
    return SiteSettings.model_validate({"base_url": BASE, "can": can or {}, **more})


def proof(**proven: bool | None) -> Proof:
    found: dict[AbilityName, Ability] = {name: Ability(None, value) for name, value in proven.items()}  # type: ignore[misc]
    return Proof(base=BASE, at=0.0, abilities=found)


def declared(*system: str, types: Iterable[str] = ("Observation",), **said: Any) -> Capabilities:
    return Capabilities(system=frozenset(system), types={one: TypeCapabilities(**said) for one in types})


def way(found: Strategy | Refusal) -> str:
    return found.reason if isinstance(found, Refusal) else f"{found.name} by {found.rung.key}"


# ------------------------------------------------------------------------------------------------ every cell
ABILITIES: tuple[AbilityName, ...] = (
    "update_create",
    "idempotency_key",
    "conditional_update",
    "conditional_create",
    "conditional_create_tag",
    "identifier_search",
    "tag_search",
)
KINDS = [
    ("Observation", Release.R4),
    ("Consent", Release.R4),
    ("AdverseEvent", Release.R4),
    ("AdverseEvent", Release.R4B),
    ("AdverseEvent", Release.R5),
    ("Provenance", Release.R5),
]


def by_the_book(resource_type: str, release: Release, able: Mapping[Any, bool]) -> str:
    """Specification §9.3, written out by hand for one type."""
    tagged = resource_type == "Provenance" or (resource_type == "AdverseEvent" and release is not Release.R5)
    if able["update_create"]:
        return "client-id by id"
    if able["idempotency_key"]:
        return "idempotency-key by identifier"
    if tagged:
        if able["conditional_create_tag"] and able["tag_search"]:
            return "conditional-create-tag by _tag"
        if able["tag_search"]:
            return "search-then-create by _tag"
        # Who it was and when can be searched for; of a Provenance neither.
        return "search-then-create by content" if resource_type == "AdverseEvent" else "no-safe-write"
    if able["conditional_update"]:
        return "conditional-update by identifier"
    if able["conditional_create"]:
        return "conditional-create by identifier"
    return "search-then-create by identifier" if able["identifier_search"] else "no-safe-write"


@pytest.mark.parametrize(("resource_type", "release"), KINDS)
def test_every_cell_of_the_ladder(resource_type: str, release: Release) -> None:
    """128 servers for each type: all that can be proven or disproven of what the choice depends on."""
    for values in itertools.product([True, False], repeat=len(ABILITIES)):
        able = dict(zip(ABILITIES, values, strict=True))
        found = choose(resource_type, release, settings(), proof(**able), NOTHING)
        assert way(found) == by_the_book(resource_type, release, able), able


@pytest.mark.parametrize(("resource_type", "release"), KINDS)
def test_settings_choose_as_a_proof_does(resource_type: str, release: Release) -> None:
    keyed = ("update_create", "conditional_update", "conditional_create", "identifier_search", "tag_search")
    for values in itertools.product([True, False], repeat=len(keyed)):
        can = dict(zip(keyed, values, strict=True))
        able = {**can, "idempotency_key": False, "conditional_create_tag": can["conditional_create"]}
        if not can["identifier_search"]:
            # It is said of the whole server: conditions on an identifier cannot hold either.
            able |= {"conditional_update": False, "conditional_create": False}
        wanted = by_the_book(resource_type, release, able)
        if wanted == "no-safe-write" and resource_type in ("Observation", "AdverseEvent"):
            wanted = "search-then-create by content"
        assert way(choose(resource_type, release, settings(can), None, NOTHING)) == wanted, can


@pytest.mark.parametrize(
    ("can", "proven", "claimed", "wanted"),
    [
        (None, None, None, True),  # presumed: a server that cannot do it says so aloud
        (None, None, True, True),
        (None, None, False, False),
        (None, True, False, True),
        (None, False, True, False),
        (True, False, False, True),
        (False, True, True, False),
    ],
)
def test_a_setting_outranks_a_proof_and_a_proof_a_claim(
    can: bool | None, proven: bool | None, claimed: bool | None, wanted: bool
) -> None:
    known = proof(update_create=proven, conditional_update=True) if proven is not None else None
    if known is None and not wanted:
        known = proof(conditional_update=True)
    said = declared(update_create=claimed)
    found = choose("Observation", Release.R4, settings({"update_create": can}), known, said)
    assert way(found) == ("client-id by id" if wanted else "conditional-update by identifier")


@pytest.mark.parametrize("name", [one for one in ABILITIES if one != "update_create"])
def test_nothing_but_an_id_of_ours_is_presumed(name: AbilityName) -> None:
    """A condition that is ignored makes a second resource without a word."""
    found = choose("Consent", Release.R4, settings({"update_create": False}), None, NOTHING)
    assert way(found) == "no-safe-write"


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({"conditional_update": True, "conditional_create": True}, "conditional-update by identifier"),
        ({"conditional_create": True}, "conditional-create by identifier"),
        ({"search": frozenset({"identifier", "_tag"})}, "search-then-create by identifier"),
        ({"search": frozenset({"patient", "code", "date"})}, "search-then-create by content"),
        ({"conditional_create": True, "search": frozenset({"patient"})}, "search-then-create by content"),
        ({"interactions": frozenset({"create", "read"}), "conditional_update": True,
          "conditional_create": True}, "conditional-create by identifier"),
        ({"interactions": frozenset({"create"}), "search": frozenset({"identifier"})},
         "search-then-create by identifier"),
        ({"interactions": frozenset({"read", "search-type"}), "conditional_create": True}, "read-only"),
    ],
)  # fmt: skip
def test_a_claim_serves_where_nothing_was_tried(said: Tree, wanted: str) -> None:
    found = choose("Observation", Release.R4, settings(), None, declared(update_create=False, **said))
    assert way(found) == wanted


@pytest.mark.parametrize(("resource_type", "release", "wanted"), [
    ("AdverseEvent", Release.R4, "search-then-create by content"),
    ("AdverseEvent", Release.R4B, "search-then-create by content"),
    ("Provenance", Release.R4, "no-safe-write"),
    ("Provenance", Release.R5, "no-safe-write"),
])  # fmt: skip
@pytest.mark.parametrize("conditional", [True, False])
def test_that_tags_are_kept_and_found_is_not_taken_from_a_declaration(
    resource_type: str, release: Release, wanted: str, conditional: bool
) -> None:
    """A server that declares the search and drops tags never finds what it has: it would be sent again and again."""
    said = declared(
        types=[resource_type],
        update_create=False,
        conditional_create=conditional,
        search=frozenset({"_id", "_tag", "subject", "date"}),
    )
    tagged = "conditional-create-tag by _tag" if conditional else "search-then-create by _tag"

    def chosen(can: Tree | None, known: Proof | None) -> str:
        return way(choose(resource_type, release, settings(can), known, said))

    for known in (None, proof(conditional_create_tag=conditional), proof(tag_search=False)):
        assert chosen(None, known) == wanted
        assert chosen({"tag_search": True}, known) == tagged
    assert chosen(None, proof(tag_search=True)) == tagged
    assert chosen({"tag_search": False}, proof(tag_search=True)) == wanted
    refused = choose(resource_type, release, settings(), None, said)
    if isinstance(refused, Refusal):
        assert "probe SITE --write" in refused.hint
        assert "can.tag_search = true" in refused.hint


def test_a_type_that_the_server_denies_is_not_written_however_able_the_server_is() -> None:
    everything = proof(**dict.fromkeys(ABILITIES, True))
    said = declared(interactions=frozenset({"read", "create"}))
    found = choose("Observation", Release.R4, settings(), everything, said)
    assert isinstance(found, Strategy)
    assert (found.name, found.updates) == ("idempotency-key", False)
    said = declared(interactions=frozenset({"read"}))
    assert way(choose("Observation", Release.R4, settings(), everything, said)) == "read-only"
    # The operator knows better.
    said = declared(interactions=frozenset({"read", "create"}))
    assert way(choose("Observation", Release.R4, settings({"update_create": True}), everything, said)) == (
        "client-id by id"
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_forces_a_way_for_all_types_or_for_one(name: WriteName) -> None:
    for release, resource_type in ((Release.R4, "Observation"), (Release.R4, "AdverseEvent"), (Release.R5, "Consent")):
        for setting in (name, {resource_type: name}, {"*": "client-id", resource_type: name}):
            nothing = proof(**dict.fromkeys(ABILITIES, False))
            found = choose(resource_type, release, settings(write=setting), nothing, NOTHING)
            assert isinstance(found, Strategy)
            assert found.name == name
    other = choose("Procedure", Release.R4, settings(write={"Observation": name}), None, NOTHING)
    assert way(other) == "client-id by id"


@pytest.mark.parametrize(
    ("can", "proven", "key"),
    [({}, None, "content"), ({}, False, "content"), ({}, True, "_tag"), ({"tag_search": True}, False, "_tag")],
)
def test_a_forced_way_searches_by_what_is_known_to_be_found(can: Tree, proven: bool | None, key: str) -> None:
    found = choose(
        "AdverseEvent", Release.R4, settings(can, write="search-then-create"), proof(tag_search=proven), NOTHING
    )
    assert way(found) == f"search-then-create by {key}"


@pytest.mark.parametrize(
    ("proven", "can", "reason"),
    [
        (True, None, None),
        (None, None, None),
        (False, None, "if-match-ignored"),
        (False, False, None),
        (False, True, None),
    ],
)
def test_a_server_that_ignores_if_match_is_refused_until_somebody_accepts_it(
    proven: bool | None, can: bool | None, reason: str | None
) -> None:
    found = choose("Observation", Release.R4, settings({"if_match": can}), proof(if_match=proven), NOTHING)
    assert (found.reason if isinstance(found, Refusal) else None) == reason
    if isinstance(found, Refusal):
        assert "can.if_match" in found.hint
    else:
        assert found.if_match is (can is not False)


def test_a_refusal_says_what_to_do() -> None:
    for said, known in (
        (declared(interactions=frozenset({"read"})), None),
        (NOTHING, proof(**dict.fromkeys(ABILITIES, False))),
        (NOTHING, proof(if_match=False)),
    ):
        found = choose("Consent" if known else "Observation", Release.R4, settings(), known, said)
        assert isinstance(found, Refusal)
        assert found.message
        assert found.hint


def test_what_is_learnt_besides_goes_along() -> None:
    known = Proof(
        base=BASE,
        at=0,
        abilities={"if_none_match": Ability(None, True), "bare_if_none_exist": Ability(None, False)},
        index_lag=3.0,
    )
    found = choose("Observation", Release.R4, settings({"idempotency_key": "X-Key"}), known, NOTHING)
    assert isinstance(found, Strategy)
    assert (found.create_guard, found.bare, found.header, found.index_lag) == (True, False, "X-Key", 3.0)
    found = choose("Observation", Release.R4, settings({"index_lag": 9, "if_none_match": False}), known, NOTHING)
    assert isinstance(found, Strategy)
    assert (found.create_guard, found.index_lag) == (False, 9)


# ------------------------------------------------------------------------------------------------- bundles
@pytest.mark.parametrize(
    ("setting", "can", "proven", "system", "wanted"),
    [
        ("auto", {}, {}, [], "transaction"),
        ("auto", {}, {}, ["batch"], "batch"),
        ("auto", {}, {}, ["batch", "transaction"], "transaction"),
        ("auto", {}, {"transaction": True}, ["batch"], "transaction"),
        ("auto", {}, {"transaction": False}, ["transaction"], "batch"),
        ("auto", {}, {"transaction": False, "batch": True}, ["transaction"], "batch"),
        ("auto", {}, {"transaction": False, "batch": False}, ["transaction", "batch"], "single"),
        ("auto", {"transaction": False}, {"transaction": True}, [], "batch"),
        ("auto", {"transaction": False, "batch": False}, {}, [], "single"),
        ("auto", {"batch": True}, {}, [], "batch"),
        ("auto", {"transaction": True}, {"transaction": False}, [], "transaction"),
        ("batch", {}, {"transaction": True}, ["transaction"], "batch"),
        ("transaction", {}, {"transaction": False}, [], "transaction"),
    ],
)
def test_a_transaction_only_where_it_is_all_or_nothing(
    setting: str, can: Tree, proven: dict[str, bool], system: list[str], wanted: str
) -> None:
    assert form(settings(can, transaction=setting), proof(**proven), declared(*system)) == wanted


def test_a_bundle_is_no_larger_than_passed() -> None:
    assert entries(settings(bundle_entries=100), None) == 100
    assert entries(settings(bundle_entries=100), Proof(base=BASE, at=0, entries=Limit(25, 26))) == 25
    assert entries(settings(bundle_entries=100), Proof(base=BASE, at=0, entries=Limit(500))) == 100


# ------------------------------------------------------------------------------------------------- writing
RESOURCE: Tree = {
    "resourceType": "Observation",
    "id": "f0123",
    "meta": {"tag": [{"system": "x", "code": "y"}, {"system": KEYS, "code": "v1"}]},
    "identifier": [{"system": f"{SID}/vital-sign", "value": "a,b|$\\c"}],
    "subject": {"reference": "Patient/p1"},
    "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
    "effectiveDateTime": "2026-11-20T10:00:00-05:00",
}


def strategy(rung: Rung, **more: Any) -> Strategy:
    return Strategy(rung, "Observation", Release.R4, **more)


def of(name: str, key: str | None = None, **more: Any) -> Strategy:
    rung = next(rung for rung in LADDER if rung.name == name and key in (None, rung.key))
    return strategy(rung, **more)


FIRST = target_of(RESOURCE, KEYS)
rungs = pytest.mark.parametrize("rung", LADDER, ids=lambda rung: f"{rung.name}-{rung.key}")


def test_a_target_is_read_from_what_a_mapping_wrote() -> None:
    assert Target("Observation", "f0123", (f"{SID}/vital-sign", "a,b|$\\c"), (KEYS, "v1")) == FIRST
    single = target_of({"resourceType": "AdverseEvent", "id": "f1", "identifier": {"system": "s", "value": "1"}}, KEYS)
    assert single == Target("AdverseEvent", "f1", ("s", "1"), None)
    assert target_of({"resourceType": "Provenance", "id": "f1"}, KEYS).identifier is None


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("client-id", {"method": "PUT", "url": "Observation/f0123"}),
        ("conditional-update", {"method": "PUT", "url": "Observation?identifier="}),
        ("conditional-create", {"method": "POST", "url": "Observation", "ifNoneExist": "identifier="}),
        ("conditional-create-tag", {"method": "POST", "url": "Observation", "ifNoneExist": "_tag="}),
        ("search-then-create", {"method": "POST", "url": "Observation"}),
    ],
)
def test_a_first_write_is_the_entry_that_its_strategy_has(name: str, request_: Tree) -> None:
    entry = write(of(name), FIRST, RESOURCE, BASE).entry()
    found = {key: value.partition("=")[0] + "=" * ("=" in value) for key, value in entry["request"].items()}
    assert found == request_
    query = entry["request"].get("ifNoneExist") or entry["request"]["url"].partition("?")[2]
    if query:
        # Encoded, with search's own characters escaped: a proxy collapses a bare //, a comma would be an or.
        wanted = {"identifier": [f"{SID}/vital-sign|a\\,b\\|\\$\\\\c"], "_tag": [f"{KEYS}|v1"]}
        assert parse_qs(query).items() <= wanted.items()
        assert "//" not in query
    assert ("id" in entry["resource"]) is (name == "client-id")
    assert entry["fullUrl"].startswith("https:" if name == "client-id" else "urn:uuid:")


def test_if_none_exist_names_the_type_where_a_server_wants_it_in_bundles_only() -> None:
    one = write(of("conditional-create", bare=False), FIRST, RESOURCE, BASE)
    assert one.entry()["request"]["ifNoneExist"].startswith("Observation?identifier=")
    assert one.headers()["If-None-Exist"].startswith("identifier=")


def test_an_idempotency_key_is_the_same_for_every_revision_of_a_resource_and_goes_alone() -> None:
    """A correction of what is in doubt must not make a second resource."""
    way_ = of("idempotency-key", header="X-Key")
    one = write(way_, FIRST, RESOURCE, BASE)
    assert one.headers() == {"X-Key": one.key}
    assert write(way_, FIRST, {**RESOURCE, "subject": {}}, BASE).key == one.key
    other = {**RESOURCE, "id": "f9"}
    assert write(way_, target_of(other, KEYS), other, BASE).key != one.key
    with pytest.raises(ValueError, match="request of its own"):
        one.entry()


@rungs
def test_what_the_server_knows_is_updated_where_it_is_and_over_the_version_we_know(rung: Rung) -> None:
    known = target_of(RESOURCE, KEYS, server_id="s7", version="3")
    one = write(strategy(rung), known, RESOURCE, BASE)
    assert (one.method, one.url, one.resource["id"]) == ("PUT", "Observation/s7", "s7")
    assert one.headers() == {"If-Match": 'W/"3"'}
    assert one.expected == Address("Observation", "s7")
    if not rung.alone:
        assert one.entry()["request"]["ifMatch"] == 'W/"3"'
    assert write(strategy(rung, if_match=False), known, RESOURCE, BASE).headers() == {}


def test_a_first_write_under_our_id_is_guarded_where_the_guard_was_proven() -> None:
    one = write(of("client-id", create_guard=True), FIRST, RESOURCE, BASE)
    assert one.headers() == {"If-None-Match": "*"}
    assert one.entry()["request"]["ifNoneMatch"] == "*"
    again = write(of("client-id", create_guard=True), target_of(RESOURCE, KEYS, version="1"), RESOURCE, BASE)
    assert again.headers() == {"If-Match": 'W/"1"'}


@rungs
def test_what_cannot_be_found_again_is_not_written(rung: Rung) -> None:
    nameless = Target("Observation", "f1")
    if rung.conditional:
        with pytest.raises(ValueError, match=r"no (identifier|_tag) of ours"):
            write(strategy(rung), nameless, RESOURCE, BASE)
    else:
        assert write(strategy(rung), nameless, RESOURCE, BASE).method in ("PUT", "POST")


# --------------------------------------------------------------------------------------------------- proof
def response(**said: Any) -> Tree:
    return {"response": {name: value for name, value in said.items() if value is not None}}


def bundle(*answers: Tree) -> Tree:
    return {"resourceType": "Bundle", "type": "transaction-response", "entry": list(answers)}


@pytest.mark.parametrize(
    "rung", [rung for rung in LADDER if not rung.alone], ids=lambda rung: f"{rung.name}-{rung.key}"
)
@pytest.mark.parametrize("status", ["200 OK", "201 Created", "202 Accepted", "204", "304", None, "x"])
@pytest.mark.parametrize("location", ["Observation/f0123/_history/2", "Observation/zz/_history/2", "Patient/1", None])
@pytest.mark.parametrize("etag", ['W/"2"', None])
def test_a_write_is_done_only_with_a_status_an_address_and_a_version(
    rung: Rung, status: str | None, location: str | None, etag: str | None
) -> None:
    """Every answer of a server to every first write."""
    one = write(strategy(rung), FIRST, RESOURCE, BASE)
    (found,) = proved([one], bundle(response(status=status, location=location, etag=etag)))
    ours = location is not None and (location.startswith("Observation/f0123") or (rung.name != "client-id"))
    ours = ours and not (location or "").startswith("Patient")
    versioned = etag is not None or (location or "").endswith("2")
    code = (status or "")[:3]
    if code == "200" and one.if_none_exist and (ours or location is None):
        assert found.state == "existed"
    elif code == "304":
        assert found.state in ("refused", "look")
    elif code in ("200", "201") and ours and versioned:
        assert found.state == ("created" if code == "201" else "updated")
        assert found.address is not None
        assert found.version == "2"
    else:
        assert found.state == "look"


@rungs
@pytest.mark.parametrize("status", [400, 404, 409, 410, 412, 422, 429, 500, 503])
def test_an_error_status_is_for_the_retry_table(rung: Rung, status: int) -> None:
    one = write(strategy(rung), FIRST, RESOURCE, BASE)
    found = proved_alone(one, Answer(status, {}, {"resourceType": "OperationOutcome", "issue": [{"code": "conflict"}]}))
    assert (found.state, found.status) == ("refused", status)
    assert [issue.code for issue in found.issues] == ["conflict"]


@pytest.mark.parametrize(
    ("name", "answer", "wanted"),
    [
        ("client-id", Answer(201, {"etag": 'W/"1"'}), ("created", "f0123", "1")),
        ("client-id", Answer(200, {"location": f"{BASE}/Observation/zz/_history/1"}), ("look", None, None)),
        ("search-then-create", Answer(201, {"location": "Observation/s1/_history/1"}), ("created", "s1", "1")),
        ("search-then-create", Answer(201, {"location": "Observation/s1"}), ("look", "s1", None)),
        ("search-then-create", Answer(201, {}), ("look", None, None)),
        (
            "idempotency-key",
            Answer(201, {}, {"resourceType": "Observation", "id": "s1", "meta": {"versionId": "4"}}),
            ("created", "s1", "4"),
        ),
        ("idempotency-key", Answer(409, {}, {"resourceType": "Observation", "id": "s1"}), ("refused", "s1", None)),
        ("conditional-create", Answer(200, {"location": "Observation/s1/_history/1"}), ("existed", "s1", "1")),
    ],
)
def test_the_answer_to_a_request_of_its_own(name: str, answer: Answer, wanted: tuple[str, str | None, str]) -> None:
    found = proved_alone(write(of(name), FIRST, RESOURCE, BASE), answer)
    assert (found.state, found.address.id if found.address else None, found.version) == wanted


@given(st.lists(st.integers(0, 5), unique=True, min_size=1), st.data())
def test_an_answer_of_another_length_proves_only_what_names_itself(numbers: list[int], data: st.DataObject) -> None:
    """HAPI leaves entries out; others reorder. No write is done by the answer of another."""
    ways = [data.draw(st.sampled_from(["client-id", "conditional-create", "search-then-create"])) for _ in numbers]
    writes = [
        write(of(name), Target("Observation", f"f{number}", ("s", str(number))), {**RESOURCE, "id": f"f{number}"}, BASE)
        for name, number in zip(ways, numbers, strict=True)
    ]
    answers = [
        response(status="201", location=f"Observation/f{number}/_history/1")
        for number in data.draw(st.permutations(numbers))
    ]
    kept = answers[: data.draw(st.integers(0, len(answers)))]
    found = proved(writes, bundle(*kept))
    assert len(found) == len(writes)
    for one, proven in zip(writes, found, strict=True):
        if proven.state == "created" and one.expected is not None:
            assert proven.address == one.expected
        if len(kept) != len(writes) and one.expected is None:
            assert proven == Proven("look")


def test_an_address_that_is_named_twice_proves_nothing() -> None:
    one = write(of("client-id"), FIRST, RESOURCE, BASE)
    said = [response(status=status, location="Observation/f0123/_history/1") for status in ("201", "400")]
    assert proved([one], bundle(*said)) == (Proven("look"),)
    assert proved([one], bundle(said[0], response(status="201")))[0].state == "created"


# --------------------------------------------------------------------------------------------------- doubt
def test_every_way_has_a_rule_for_a_doubt() -> None:
    assert RULES.keys() == set(NAMES) == {rung.name for rung in LADDER}


@pytest.mark.parametrize(
    ("name", "key", "by", "asked"),
    [
        ("client-id", None, "read", None),
        ("idempotency-key", None, "search", {"identifier"}),
        ("conditional-update", None, "search", {"identifier"}),
        ("conditional-create", None, "search", {"identifier"}),
        ("conditional-create-tag", None, "search", {"_tag"}),
        ("search-then-create", "identifier", "search", {"identifier"}),
        ("search-then-create", "_tag", "search", {"_tag"}),
        ("search-then-create", "content", "search", {"patient", "code", "date"}),
    ],
)
def test_a_doubt_is_looked_at_as_its_strategy_has_it(name: str, key: str, by: str, asked: set[str] | None) -> None:
    found = look(of(name, key, index_lag=7.0), FIRST, RESOURCE)
    assert found is not None
    assert found.by == by
    assert set(found.parameters) == (asked or set())
    if by == "search":
        # Longer than the index lags behind; a minute where nothing else guards.
        assert found.wait == max(14.0, RULES[of(name).name].apart)
        assert found.wait >= 60 or name != "search-then-create"
    assert "vital-sign" not in repr(found)


def test_an_index_that_was_never_measured_is_given_time() -> None:
    found = look(of("conditional-create"), FIRST, RESOURCE)
    assert found is not None
    assert found.wait >= 30


@rungs
def test_what_the_server_knows_is_read_and_not_searched_for(rung: Rung) -> None:
    known = target_of(RESOURCE, KEYS, server_id="s7", version="3")
    assert look(strategy(rung), known, RESOURCE) == Look("read", Address("Observation", "s7"), known=True)


@pytest.mark.parametrize(
    ("resource_type", "release", "resource", "wanted"),
    [
        ("Observation", Release.R4, RESOURCE,
         {"patient": "Patient/p1", "code": "http://loinc.org|8867-4", "date": "2026-11-20T10:00:00-05:00"}),
        ("AdverseEvent", Release.R4, {"subject": {"reference": "Patient/p1"}, "date": "2026-11-20"},
         {"subject": "Patient/p1", "date": "2026-11-20"}),
        ("AdverseEvent", Release.R5, {"subject": {"reference": "Patient/p1"},
                                      "occurrencePeriod": {"start": "2026-11-20"}},
         {"patient": "Patient/p1", "date": "2026-11-20"}),
        ("MedicationAdministration", Release.R4, {"subject": {"reference": "Patient/p1"},
                                                  "effectivePeriod": {"start": "2026-11-20"}},
         {"patient": "Patient/p1", "effective-time": "2026-11-20"}),
        ("MedicationAdministration", Release.R5, {"subject": {"reference": "Patient/p1"},
                                                  "occurencePeriod": {"start": "2026-11-20"}},
         {"patient": "Patient/p1", "date": "2026-11-20"}),
        ("Procedure", Release.R4, {"subject": {"reference": "Patient/p1"}, "performedPeriod": {"start": "2026"}},
         {"patient": "Patient/p1", "date": "2026"}),
        ("Procedure", Release.R4, {"subject": {"reference": "Patient/p1"}}, None),
        ("Procedure", Release.R4, {"subject": {"identifier": {}}, "performedDateTime": "2026"}, None),
        ("Observation", Release.R4, {**RESOURCE, "code": {"text": "x"}}, None),
        ("Consent", Release.R4, RESOURCE, None),
    ],
)  # fmt: skip
def test_content_is_searched_for_only_where_it_tells_one_event_of_one_patient(
    resource_type: str, release: Release, resource: Tree, wanted: Tree | None
) -> None:
    """Without a patient or a time a search would find strangers; then a person has to look."""
    rung = next(rung for rung in LADDER if rung.key == "content")
    way_ = Strategy(rung, resource_type, release)
    found = look(way_, Target(resource_type, "f1", ("s", "1")), resource)
    assert (dict(found.parameters) if found else None) == wanted
    if found is None:
        assert verdict(None, way_, 0, 9) == "park"


@rungs
def test_every_verdict(rung: Rung) -> None:
    """Found one: adopt. Several, refused or deleted: a person. None: only after as many looks as the rule wants."""
    way_ = strategy(rung, index_lag=0.0)
    asked = look(way_, FIRST, RESOURCE)
    assert asked is not None
    keyed = rung.name == "idempotency-key"
    assert verdict(asked, way_, 1, 0) == "adopt"
    assert verdict(asked, way_, 2, 0) == "park"
    assert verdict(asked, way_, None, 0) == ("resend" if keyed else "park")
    assert verdict(asked, way_, 0, 1, gone=True) == "park"
    needed = 1 if keyed or rung.name == "client-id" else 2
    assert [verdict(asked, way_, 0, looks) for looks in range(1, 4)] == [
        "resend" if looks >= needed else "look" for looks in range(1, 4)
    ]


@rungs
def test_what_was_there_and_is_not_is_never_brought_back(rung: Rung) -> None:
    known = target_of(RESOURCE, KEYS, server_id="s7", version="3")
    assert verdict(look(strategy(rung), known, RESOURCE), strategy(rung), 0, 5) == "park"


@given(
    st.sampled_from(LADDER),
    st.none() | st.integers(0, 3),
    st.integers(0, 9),
    st.booleans(),
    st.booleans(),
)
def test_a_doubt_is_resent_only_when_the_rule_was_kept(
    rung: Rung, found: int | None, looks: int, gone: bool, known: bool
) -> None:
    target = target_of(RESOURCE, KEYS, version="1" if known else None)
    asked = look(strategy(rung), target, RESOURCE)
    if asked is not None and verdict(asked, strategy(rung), found, looks, gone=gone) == "resend":
        keyed = rung.name == "idempotency-key"
        assert (keyed and found is None) or (
            found == 0 and not gone and not asked.known and looks >= (1 if keyed or asked.by == "read" else 2)
        )


def test_what_nobody_can_search_for_is_sent_again_under_its_key() -> None:
    bare = Target("Observation", "f1")
    way_ = of("idempotency-key")
    asked = look(way_, bare, RESOURCE)
    assert asked == Look("key")
    assert verdict(asked, way_, None, 0) == "resend"


def test_another_clinics_resource_is_not_taken_for_ours() -> None:
    """The record's key in the tag says nothing of the clinic; the identifier does."""
    assert carries(FIRST, RESOURCE)
    assert carries(
        Target("AdverseEvent", "x", ("s", "1")),
        {"resourceType": "AdverseEvent", "identifier": {"system": "s", "value": "1"}},
    )
    other = {**RESOURCE, "identifier": [{"system": "https://other.example/sid/vital-sign", "value": "a,b|$\\c"}]}
    assert not carries(FIRST, other)
    assert not carries(FIRST, {**RESOURCE, "resourceType": "Procedure"})
    assert not carries(FIRST, {**RESOURCE, "identifier": ["nonsense"]})
    assert not carries(Target("Observation", "f1"), RESOURCE)


def test_no_value_of_a_record_shows_in_a_repr() -> None:
    one = write(of("client-id"), FIRST, {**RESOURCE, "note": [{"text": "Zebulon Canary"}]}, BASE)
    assert "Canary" not in repr(one)
