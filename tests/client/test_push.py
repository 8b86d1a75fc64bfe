"""Push: each record has exactly one outcome, "created" only with proof, and a bad record never costs a good one."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirbridge.errors import ConfigError, SiteUnreachable
from fhirbridge.fhir.json import canonical
from fhirbridge.records import to_json
from fhirbridge.sync import RecordOutcome, pull, push
from fhirbridge.sync.held import says_the_same
from tests.client.pushing import (
    CLOCK,
    LEDGERS,
    SID,
    Tree,
    delivered,
    entries,
    how,
    ledger_of,
    lines,
    patient,
    rate,
    register,
    site_of,
    states,
    visit,
)
from tests.client.server import FakeServer, Reply, Request, outcome, serving


@pytest.fixture(params=["kept", "lost"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FakeServer]:
    """A hospital with two patients. Each test is run with one ledger, and with one that is lost between pushes."""
    (tmp_path / request.param).mkdir()
    with serving(FakeServer()) as running:
        LEDGERS[id(running)] = tmp_path / request.param
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
    with site_of(server) as site, ledger_of(server, CLOCK) as ledger:
        back = {one.reading.record.id: one.reading for one in pull(site, ledger) if one.reading}
    assert {own: reading.residue for own, reading in back.items()} == {"v1": (), "v2": (), "s1": ()}
    for tree in trees:
        assert canonical(to_json(back[tree["id"]].record)) == canonical(tree)


def test_a_correction_is_an_update_and_an_older_revision_never_replaces_it(server: FakeServer) -> None:
    delivered(server, rate("v1"))
    assert states(delivered(server, rate("v1", revision=2, value=80))) == [(1, "updated")]
    assert states(delivered(server, rate("v1"))) == [(1, "unchanged")]
    (versions,) = [found for address, found in server.resources.items() if address.startswith("Observation/")]
    assert [one["valueQuantity"]["value"] for one in versions] == [72, 80]


def test_of_several_revisions_in_one_push_the_newest_is_sent_and_covers_the_others(server: FakeServer) -> None:
    """In whatever order they come: the site never sees an older one after a newer one."""
    trees = [rate("v1", revision=3, value=83), rate("v1", revision=1, value=81), rate("v1", revision=2, value=82)]
    assert states(delivered(server, *trees)) == [(1, "created"), (2, "unchanged"), (3, "unchanged")]
    assert [[one["valueQuantity"]["value"] for one in bundle] for bundle in entries(server)] == [[83]]
    assert states(delivered(server, *trees)) == [(1, "unchanged"), (2, "unchanged"), (3, "unchanged")]
    assert len(entries(server)) == 1


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
    with serving(FakeServer()) as server, tempfile.TemporaryDirectory() as folder:
        LEDGERS[id(server)] = Path(folder)
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
        (Reply(cut=True), "open"),
        (Reply(body=b"<html>", content_type="text/html"), "open"),
        (Reply(body={"resourceType": "Bundle", "type": "transaction-response", "entry": []}), "open"),
        (Reply(500, outcome("exception")), "open"),
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
    # After a lost answer it depends on the last look whether it is known not to be there.
    allowed = {"failed", "unknown"} if state == "open" else {state}
    assert {one.state for one in outcomes} <= allowed
    assert all(one.faults for one in outcomes)
    # When the trouble is over, pushing again delivers: whatever it was that was set aside.
    server.misbehave = lambda request: None
    CLOCK.sleep(100_000)
    assert states(delivered(server, rate("v1"), rate("v2"))) == [(1, "created"), (2, "created")]


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
        ([{"id": "a", "link": [{"type": "replaced-by", "other": {"reference": "Patient/b"}}]}], "patient.merged"),
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


def test_an_identifier_goes_into_an_address_only_where_the_site_is_set_so(server: FakeServer) -> None:
    server.misbehave = lambda request: Reply(405) if request.path.endswith("_search") else None
    (refused,) = delivered(server, rate("v1"))
    assert [fault.code for fault in refused.faults] == ["patient.no_search"]
    assert not [one for one in server.requests if "P-1" in one.path]
    assert states(delivered(server, rate("v2"), can={"post_search": False})) == [(1, "created")]
    assert [one for one in server.requests if "P-1" in one.path]


def test_a_server_without_batches_is_read_one_by_one(server: FakeServer) -> None:
    server.misbehave = lambda request: Reply(400) if b'"GET"' in request.body else None
    assert states(delivered(server, rate("v1"), visit("s1"))) == [(1, "created"), (2, "created")]


def test_when_the_site_is_gone_everything_read_has_an_outcome_and_the_error_is_raised(server: FakeServer) -> None:
    def vanish(request: Request) -> Reply | None:
        return Reply(cut=True) if "_search" in request.path and b"P-2" in request.body else None

    server.misbehave = vanish
    outcomes: list[RecordOutcome] = []
    with site_of(server) as site, ledger_of(server, CLOCK) as ledger, pytest.raises(SiteUnreachable):
        outcomes.extend(push(lines(rate("v1"), rate("v2", "P-2"), rate("v3", "P-2")), site, ledger, how()))
    assert states(outcomes) == [(1, "created"), (2, "failed"), (3, "failed")]


def test_ctrl_c_during_a_write_reports_it_as_unknown_and_the_next_push_finishes_the_rest(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[RecordOutcome] = []
    records = lines(rate("v1"), rate("v2"), rate("v3"))
    with site_of(server, bundle_entries=1) as site, ledger_of(server, CLOCK) as ledger:
        send = site.client.send

        def interrupted(*arguments: Any, **more: Any) -> Any:
            answer = send(*arguments, **more)
            if len(server.writes) == 2:
                raise KeyboardInterrupt
            return answer

        monkeypatch.setattr(site.client, "send", interrupted)
        with pytest.raises(KeyboardInterrupt):
            kept.extend(push(records, site, ledger, how()))
    assert states(kept) == [(1, "created"), (2, "unknown"), (3, "failed")]
    with site_of(server, bundle_entries=1) as site, ledger_of(server, CLOCK) as ledger:
        finished = dict(states(list(push(records, site, ledger, how()))))
    # A ledger that was kept remembers that it had sent the second; a new one finds it there.
    assert finished[2] in ("created", "unchanged")
    assert (finished[1], finished[3]) == ("unchanged", "created")
    assert [len(one) for address, one in server.resources.items() if "Observation" in address] == [1, 1, 1]


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
    with site_of(server) as site, ledger_of(server, CLOCK) as ledger:
        found = list(pull(site, ledger, ["Observation"]))
    assert sorted(one.reading is None for one in found) == [False, True]
    (refused,) = [one for one in found if one.reading is None]
    assert refused.address == "Observation/foreign"
    assert refused.faults
