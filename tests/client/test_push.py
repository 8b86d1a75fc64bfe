"""Push: each record has exactly one outcome, "created" only with proof, and a bad record never costs a good one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirbridge.config import Config, parse
from fhirbridge.errors import ConfigError, SiteUnreachable
from fhirbridge.fhir.json import canonical
from fhirbridge.records import to_json
from fhirbridge.site import Site
from fhirbridge.sources import Line
from fhirbridge.sources.lines import read_record
from fhirbridge.sync import RecordOutcome, pull, push
from fhirbridge.sync.held import says_the_same
from mappings import session, vitals
from tests.client.server import FakeServer, Reply, Request, outcome, serving

Tree = dict[str, Any]
KINDS = {one.name: one for one in (session.KIND, vitals.KIND)}
MODELS = {name: kind.record for name, kind in KINDS.items()}
SID = "https://clinic.example/sid"


def patient(value: str) -> Tree:
    return {"type": "Patient", "identifier": {"system": f"{SID}/patient", "value": value}}


def rate(own: str, who: str = "P-1", revision: int = 1, value: float = 72, **more: Any) -> Tree:
    return {
        "kind": "vital_sign", "id": own, "revision": revision, "patient": patient(who), "sign": "heart_rate",
        "status": "final", "measured_at": "2026-11-20T10:00:00-05:00",
        "readings": [{"name": "value", "value": value, "unit": "/min"}], **more,
    }  # fmt: skip


def visit(own: str, who: str = "P-1", revision: int = 1, **more: Any) -> Tree:
    dose = {"value": 35, "unit": "mg"}
    given_ = {
        "identifier": {"system": f"{SID}/administration", "value": f"{own}-1"},
        "medication": "ketamine", "route": "intravenous", "dose": dose,
        "period": {"start": "2026-11-20T10:00:00-05:00", "end": "2026-11-20T10:40:00-05:00"},
    }  # fmt: skip
    return {
        "kind": "session", "id": own, "revision": revision, "patient": patient(who), "modality": "iv_infusion",
        "status": "completed", "started_at": "2026-11-20T10:00:00-05:00", "administrations": [given_], **more,
    }  # fmt: skip


def lines(*trees: Tree) -> list[Line]:
    read = (read_record(json.loads(json.dumps(tree)), MODELS) for tree in trees)
    return [Line("f", number, *one, raw="raw") for number, one in enumerate(read, start=1)]


def site_of(server: FakeServer, **settings_: Any) -> Site:
    table = {"base_url": server.base, "timeout": 5, **settings_}
    config = Config(parse({"clinic": {"demo": True}, "site": {"s": table}}), Path(), {})
    return Site.open("s", config, kinds=KINDS)


def register(server: FakeServer, *who: str) -> None:
    for number, value in enumerate(who):
        server.put({"resourceType": "Patient", "id": f"p{number}", "identifier": [patient(value)["identifier"]]})


def delivered(server: FakeServer, *trees: Tree, **settings_: Any) -> list[RecordOutcome]:
    with site_of(server, **settings_) as site:
        return list(push(lines(*trees), site))


def states(outcomes: Sequence[RecordOutcome]) -> list[tuple[int, str]]:
    return sorted((one.line.line, one.state) for one in outcomes)


def entries(server: FakeServer) -> list[list[Tree]]:
    return [[entry["resource"] for entry in bundle["entry"]] for bundle in server.writes]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving(FakeServer()) as running:
        register(running, "P-1", "P-2")
        yield running


@pytest.mark.parametrize("kind", ["transaction", "batch"])
def test_what_is_pushed_arrives_and_comes_back_and_a_second_push_sends_nothing(server: FakeServer, kind: str) -> None:
    trees = [rate("v1", notes=[{"text": "x"}]), visit("s1"), rate("v2", "P-2", value=71)]
    assert states(delivered(server, *trees, transaction=kind)) == [(1, "created"), (2, "created"), (3, "created")]
    assert {bundle["type"] for bundle in server.writes} == {kind}
    written = len(server.writes)
    assert states(delivered(server, *trees, transaction=kind)) == [(1, "unchanged"), (2, "unchanged"), (3, "unchanged")]
    assert len(server.writes) == written
    with site_of(server) as site:
        back = {one.reading.record.id: one.reading for one in pull(site) if one.reading}
    assert {own: reading.residue for own, reading in back.items()} == {"v1": (), "v2": (), "s1": ()}
    for tree in trees:
        assert canonical(to_json(back[tree["id"]].record)) == canonical(tree)


def test_a_correction_is_an_update_and_an_older_revision_never_replaces_it(server: FakeServer) -> None:
    delivered(server, rate("v1"))
    assert states(delivered(server, rate("v1", revision=2, value=80))) == [(1, "updated")]
    assert states(delivered(server, rate("v1"))) == [(1, "unchanged")]
    (versions,) = [found for address, found in server.resources.items() if address.startswith("Observation/")]
    assert [one["valueQuantity"]["value"] for one in versions] == [72, 80]


def test_revisions_of_one_record_are_delivered_in_order_in_bundles_of_their_own(server: FakeServer) -> None:
    trees = [rate("v1", revision=3, value=83), rate("v1", revision=1, value=81), rate("v1", revision=2, value=82)]
    assert states(delivered(server, *trees)) == [(1, "updated"), (2, "created"), (3, "updated")]
    assert [[one["valueQuantity"]["value"] for one in bundle] for bundle in entries(server)] == [[81], [82], [83]]


def test_one_revision_with_two_contents_is_refused_and_one_that_is_only_repeated_is_not(server: FakeServer) -> None:
    outcomes = delivered(server, rate("v1"), rate("v1", value=90), rate("v1"))
    assert [state for _, state in states(outcomes)].count("created") == 1
    (conflict,) = [one for one in outcomes if one.state == "refused"]
    assert [fault.code for fault in conflict.faults] == ["revision.conflict"]


VISITS = st.lists(
    st.tuples(
        st.sampled_from(["v", "s"]), st.integers(0, 5), st.sampled_from(["P-1", "P-2", "P-3"]), st.integers(1, 3)
    ),
    max_size=12,
    unique_by=lambda one: (one[0], one[1], one[3]),
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VISITS, st.integers(1, 5), st.sampled_from(["transaction", "batch"]))
def test_a_bundle_has_one_patient_a_bounded_size_and_no_resource_twice(
    chosen: list[tuple[str, int, str, int]], limit: int, kind: str
) -> None:
    """Whatever the order, the patients and the limit; every record gets one outcome."""
    owners: dict[tuple[str, int], str] = {}
    trees = []
    for letter, number, who, revision in chosen:
        # A record keeps its patient.
        mine = owners.setdefault((letter, number), who)
        make = rate if letter == "v" else visit
        trees.append(make(f"{letter}{number}", mine, revision))
    with serving(FakeServer()) as server:
        register(server, "P-1", "P-2", "P-3")
        outcomes = delivered(server, *trees, bundle_entries=limit, transaction=kind)
        bundles = entries(server)
    assert sorted(one.line.line for one in outcomes) == list(range(1, len(trees) + 1))
    assert {one.state for one in outcomes} <= {"created", "updated", "unchanged"}
    for bundle in bundles:
        assert len(bundle) <= limit
        assert len({one["subject"]["reference"] for one in bundle}) == 1
        assert max(Counter((one["resourceType"], one["id"]) for one in bundle).values()) == 1


def test_a_bad_record_does_not_cost_the_good_ones_of_its_transaction(server: FakeServer) -> None:
    server.refuses = lambda resource: resource.get("valueQuantity", {}).get("value") == 99
    trees = [rate(f"v{number}", value=99 if number in (3, 6) else 70) for number in range(9)]
    outcomes = delivered(server, *trees, transaction="transaction")
    wrong = [one for one in outcomes if one.state == "refused"]
    assert {one.line.line for one in wrong} == {4, 7}
    assert [one.state for one in outcomes].count("created") == 7
    assert {fault.code for one in wrong for fault in one.faults} == {"site.processing"}
    assert "Canary" not in json.dumps([one.as_json() for one in outcomes])


def test_each_entry_of_a_batch_is_judged_by_itself(server: FakeServer) -> None:
    server.refuses = lambda resource: resource.get("valueQuantity", {}).get("value") == 99
    assert states(delivered(server, rate("v1", value=99), rate("v2"), transaction="batch")) == [
        (1, "refused"),
        (2, "created"),
    ]
    assert len(server.writes) == 1


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        (Reply(cut=True), "created"),
        (Reply(body=b"<html>", content_type="text/html"), "created"),
        (Reply(body={"resourceType": "Bundle", "type": "transaction-response", "entry": []}), "created"),
        (Reply(500, outcome("exception")), "created"),
        (Reply(502, b"<html>", content_type="text/html"), "created"),
    ],
)
def test_a_write_whose_answer_was_lost_is_proven_by_reading_back(server: FakeServer, reply: Reply, state: str) -> None:
    """The work was done, the answer says nothing: it counts because the server says so when it is asked."""

    def work_and_lose_the_answer(request: Request) -> Reply | None:
        if request.method == "POST" and request.path == "" and b'"PUT"' in request.body:
            server.behave(request)
            return reply
        return None

    server.misbehave = work_and_lose_the_answer
    assert states(delivered(server, rate("v1"))) == [(1, state)]


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        (Reply(cut=True), "unknown"),
        (Reply(body=b"<html>", content_type="text/html"), "unknown"),
        (Reply(body={"resourceType": "Bundle", "type": "transaction-response", "entry": []}), "unknown"),
        (Reply(500, outcome("exception")), "failed"),
        (Reply(503, outcome("throttled")), "failed"),
        (Reply(429), "failed"),
        (Reply(401), "failed"),
        (Reply(400, outcome("invalid")), "refused"),
        (Reply(422, outcome("invalid")), "refused"),
    ],
)
def test_a_write_that_was_not_done_is_never_reported_as_done(server: FakeServer, reply: Reply, state: str) -> None:
    server.misbehave = lambda request: reply if b'"PUT"' in request.body else None
    outcomes = delivered(server, rate("v1"), rate("v2"))
    assert states(outcomes) == [(1, state), (2, state)]
    assert all(one.faults for one in outcomes)


def test_literal_references_are_made_only_to_what_is_there(server: FakeServer) -> None:
    """A dangling literal makes HAPI refuse the resource; a logical one is always valid."""
    of = {"type": "Procedure", "identifier": {"system": f"{SID}/treatment-session", "value": "s1"}}
    elsewhere = {"type": "Procedure", "identifier": {"system": f"{SID}/treatment-session", "value": "nowhere"}}
    outcomes = delivered(server, rate("v1", session=of), rate("v2", session=elsewhere), visit("s1"))
    assert {one.state for one in outcomes} == {"created"}
    stored = observations(server)
    procedure = next(address for address in server.resources if address.startswith("Procedure/"))
    assert stored["v1"]["partOf"][0]["reference"] == procedure
    assert "reference" not in stored["v2"]["partOf"][0]
    assert stored["v1"]["subject"]["reference"] == "Patient/p0"
    # In a later run the session is found on the server.
    delivered(server, rate("v3", session=of))
    assert observations(server)["v3"]["partOf"][0]["reference"] == procedure


def observations(server: FakeServer) -> dict[str, Tree]:
    """The Observations that are stored, by the id of their record."""
    stored = [found[-1] for address, found in server.resources.items() if address.startswith("Observation/")]
    return {one["identifier"][0]["value"]: one for one in stored}


@pytest.mark.parametrize(
    ("patients", "code"),
    [
        ([], "patient.not_found"),
        ([{"id": "a"}, {"id": "b"}], "patient.ambiguous"),
        ([{"id": "a", "active": False}], "patient.inactive"),
        ([{"id": "a", "link": [{"type": "replaced-by", "other": {"reference": "Patient/b"}}]}], "patient.inactive"),
    ],
)
def test_a_patient_that_is_not_certain_sets_the_record_aside(
    server: FakeServer, patients: list[Tree], code: str
) -> None:
    for one in patients:
        server.put({"resourceType": "Patient", "identifier": [patient("P-9")["identifier"]], **one})
    outcomes = delivered(server, rate("v1", "P-9"), rate("v2", "P-1"))
    assert states(outcomes) == [(1, "refused"), (2, "created")]
    assert {fault.code for one in outcomes for fault in one.faults} == {code}


def test_a_server_that_ignores_the_search_parameter_gives_nobody_elses_chart(server: FakeServer) -> None:
    everybody = [{"resource": found[-1]} for found in server.resources.values()]
    page = Reply(body={"resourceType": "Bundle", "type": "searchset", "entry": everybody})
    server.misbehave = lambda request: page if "_search" in request.path else None
    outcomes = delivered(server, rate("v1", "P-404"), rate("v2", "P-2"))
    assert states(outcomes) == [(1, "refused"), (2, "created")]
    (observation,) = [found[-1] for address, found in server.resources.items() if address.startswith("Observation")]
    assert observation["subject"]["reference"] == "Patient/p1"


def test_a_server_without_post_search_is_asked_by_get(server: FakeServer) -> None:
    server.misbehave = lambda request: Reply(405) if request.path.endswith("_search") else None
    assert states(delivered(server, rate("v1"))) == [(1, "created")]


def test_a_server_without_batches_is_read_one_by_one(server: FakeServer) -> None:
    server.misbehave = lambda request: Reply(400) if b'"GET"' in request.body else None
    assert states(delivered(server, rate("v1"), visit("s1"))) == [(1, "created"), (2, "created")]


def test_when_the_site_is_gone_everything_read_has_an_outcome_and_the_error_is_raised(server: FakeServer) -> None:
    def vanish(request: Request) -> Reply | None:
        return Reply(cut=True) if "_search" in request.path and b"P-2" in request.body else None

    server.misbehave = vanish
    outcomes: list[RecordOutcome] = []
    with site_of(server) as site, pytest.raises(SiteUnreachable):
        outcomes.extend(push(lines(rate("v1"), rate("v2", "P-2"), rate("v3", "P-2")), site))
    assert states(outcomes) == [(1, "created"), (2, "failed"), (3, "failed")]


def test_ctrl_c_during_a_write_reports_it_as_unknown_and_keeps_what_was_done(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[RecordOutcome] = []
    with site_of(server, bundle_entries=1) as site:
        send = site.client.post_bundle

        def interrupted(bundle: Tree) -> Tree:
            answer = send(bundle)
            if len(server.writes) == 2:
                raise KeyboardInterrupt
            return answer

        monkeypatch.setattr(site.client, "post_bundle", interrupted)
        with pytest.raises(KeyboardInterrupt):
            kept.extend(push(lines(rate("v1"), rate("v2"), rate("v3")), site))
    assert states(kept) == [(1, "created"), (2, "unknown")]


def test_a_site_that_cannot_take_our_ids_or_speaks_another_release_gets_nothing(server: FakeServer) -> None:
    for wrong in ({"can": {"update_create": False}}, {"release": "r5"}):
        with pytest.raises(ConfigError):
            delivered(server, rate("v1"), **wrong)
    assert server.writes == []


def test_a_capability_statement_chooses_batch_and_a_setting_outranks_it(server: FakeServer) -> None:
    server.system = ["batch"]
    delivered(server, rate("v1"))
    delivered(server, rate("v2"), can={"transaction": True})
    assert [bundle["type"] for bundle in server.writes] == ["batch", "transaction"]


def test_numbers_of_another_spelling_say_the_same_and_other_numbers_do_not() -> None:
    assert says_the_same({"a": [1, {"b": 100}]}, {"a": [1.0, {"b": 100}], "meta": {"versionId": "1"}, "id": "x"})
    for theirs in ({"a": 2}, {"a": "1"}, {"a": True}, {}, {"a": 1, "b": 1}, {"a": [1]}):
        assert not says_the_same({"a": 1}, theirs)
    tagged = {"meta": {"tag": [{"system": "s", "code": "1"}]}}
    assert says_the_same(tagged, {"meta": {"tag": [{"system": "t", "code": "1"}, {"code": "1", "system": "s"}]}})
    assert not says_the_same(tagged, {"meta": {"tag": [{"system": "s", "code": "2"}]}})


def test_one_bad_resource_never_stops_a_page(server: FakeServer) -> None:
    delivered(server, rate("v1"))
    server.put({"resourceType": "Observation", "id": "foreign", "status": 7})
    with site_of(server) as site:
        found = list(pull(site, ["Observation"]))
    assert sorted(one.reading is None for one in found) == [False, True]
    (refused,) = [one for one in found if one.reading is None]
    assert refused.address == "Observation/foreign"
    assert refused.faults
