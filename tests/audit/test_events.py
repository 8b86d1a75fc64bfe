"""What events say: what FHIR and IHE BALP ask of them in R4 and R5, and nothing of any patient in clear."""

from __future__ import annotations

import base64
import json
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.audit import Leaving, concerning
from fhirbridge.audit.events import events
from fhirbridge.audit.interaction import Masks
from fhirbridge.audit.summary import summary
from fhirbridge.audit.verify import verify
from fhirbridge.binding import Release
from fhirbridge.client.witness import Request
from fhirbridge.fhir.json import Tree
from tests.audit.balp import PREFIX, breaches
from tests.audit.trails import BASE, KEYS, LANE, MRN, OURS, audit_in, everything

each_release = pytest.mark.parametrize("release", list(Release))


def written(folder: Path) -> str:
    return "".join(one.read_text() for one in folder.iterdir())


@each_release
def test_events_of_every_sort_verify_and_come_back_with_their_ends(tmp_path: Path, release: Release) -> None:
    everything(audit_in(tmp_path, release))
    found = list(events(tmp_path, KEYS))
    assert verify(tmp_path, KEYS).findings == []
    assert len(found) == verify(tmp_path, KEYS).events
    assert {summary(one).outcome for one in found} == {"well", "refused"}
    assert {summary(one).site for one in found if "destroy" not in summary(one).what} >= {"hospital"}
    assert {summary(one).patient for one in found} == {"", LANE}


@each_release
def test_nothing_of_a_patient_stands_in_clear(tmp_path: Path, release: Release) -> None:
    """The number of the patient is in searches, in addresses, in what a server calls its resources."""
    everything(audit_in(tmp_path, release))
    text = written(tmp_path)
    assert MRN not in text
    assert base64.b64encode(MRN.encode()).decode() not in text
    queries = [
        base64.b64decode(entity["query"]).decode()
        for event in events(tmp_path, KEYS)
        for entity in event.get("entity", ())
        if "query" in entity
    ]
    assert len(queries) == 4
    assert not any(MRN in one for one in queries)


@pytest.mark.parametrize("release", [Release.R4, Release.R4B])
def test_what_claims_a_profile_of_balp_has_what_it_demands(tmp_path: Path, release: Release) -> None:
    everything(audit_in(tmp_path, release))
    found = list(events(tmp_path, KEYS))
    assert [wrong for one in found if (wrong := breaches(one))] == []
    claimed = {one["meta"]["profile"][0].removeprefix(PREFIX) for one in found if "meta" in one}
    restful = {
        f"{patient}{name}" for patient in ("", "Patient") for name in ("Read", "Query", "Create", "Update", "Delete")
    }
    assert claimed == restful | {"AuthZconsent", "PrivacyDisclosure.Source"}


def test_an_event_of_r5_says_it_with_the_elements_of_r5(tmp_path: Path) -> None:
    everything(audit_in(tmp_path, Release.R5))
    for one in events(tmp_path, KEYS):
        assert one["code"]["coding"]
        assert one["source"]["observer"]
        assert not one.keys() & {"type", "subtype", "outcomeDesc", "meta"}
        assert one["outcome"]["code"]["code"] in ("0", "4")
        assert all("type" not in entity for entity in one.get("entity", ()))
        assert (one.get("patient", {}).get("identifier", {}).get("value") == LANE) == (summary(one).patient == LANE)


def test_what_failed_claims_no_profile_and_says_how(tmp_path: Path) -> None:
    audit = audit_in(tmp_path)
    for status, code in ((404, ""), (503, ""), (None, "site.unreachable"), (None, "audit.unavailable")):
        audit.asks(Request("GET", f"Observation/{OURS}")).ended(status, code)
    found = list(events(tmp_path, KEYS))
    assert [(one["outcome"], one["outcomeDesc"], "meta" in one) for one in found] == [
        ("4", "404", False), ("8", "503", False), ("8", "site.unreachable", False), ("8", "audit.unavailable", False),
    ]  # fmt: skip


def test_what_never_ended_comes_last_and_without_an_outcome(tmp_path: Path) -> None:
    """Its process was killed: nobody knows what became of it."""
    audit = audit_in(tmp_path)
    audit.asks(Request("GET", "metadata"))
    audit.asks(Request("GET", f"Observation/{OURS}")).ended(200)
    first, last = events(tmp_path, KEYS)
    assert first["outcome"] == "0"
    assert "outcome" not in last
    assert summary(last).outcome == "unknown"


@each_release
def test_an_entry_that_did_not_end_well_says_so_at_its_place(tmp_path: Path, release: Release) -> None:
    audit, own = audit_in(tmp_path, release), uuid.uuid4()
    places = [("Observation", OURS[:-1] + digit) for digit in "012"]
    ending = audit.sends(Leaving(own.hex, "batch", True, LANE, places))
    ending.settled("200", [(1, "parked")])
    ending.settled("500", [])
    (event,) = events(tmp_path, KEYS)
    assert event["id"] == ending.id == str(own), "one id in the ledger, in the header and in the trail"
    marked = [one["what"]["reference"][-1] for one in event["entity"] if "detail" in one]
    assert marked == ["1"]
    assert summary(event).words == "200", "only the first end counts"


def test_every_request_has_an_id_of_its_own(tmp_path: Path) -> None:
    audit = audit_in(tmp_path)
    assert len({audit.asks(Request("GET", "metadata")).id for _ in range(50)}) == 50


def asked(tmp_path: Path, request: Request) -> Tree:
    audit_in(tmp_path).asks(request).ended(200)
    (event,) = events(tmp_path, KEYS)
    return event


@pytest.mark.parametrize(
    ("method", "address", "interaction"),
    [
        ("GET", "metadata", "capabilities"),
        ("GET", ".well-known/smart-configuration", "capabilities"),
        ("GET", f"Observation/{OURS}", "read"),
        ("GET", f"{BASE}/Observation/{OURS}/_history/3", "vread"),
        ("GET", f"Observation/{OURS}/_history", "history"),
        ("GET", "Observation", "search"),
        ("GET", f"{BASE}?_getpages=abc", "search"),
        ("POST", "Observation/_search", "search"),
        ("POST", "Observation", "create"),
        ("PUT", f"Observation/{OURS}", "update"),
        ("PUT", "Observation?identifier=x", "update"),
        ("DELETE", f"Observation/{OURS}", "delete"),
        ("POST", BASE, "batch"),
        ("POST", "Observation/$validate", "operation"),
    ],
)
def test_a_request_is_named_in_fhirs_own_words(tmp_path: Path, method: str, address: str, interaction: str) -> None:
    assert asked(tmp_path, Request(method, address))["subtype"][0]["code"] == interaction


def test_a_search_keeps_what_is_about_its_answer_and_the_systems(tmp_path: Path) -> None:
    form = urlencode({"identifier": f"https://x.example/mrn|{MRN}", "_count": "5", "_sort": "-date"})
    event = asked(tmp_path, Request("POST", "Patient/_search", form.encode()))
    (query,) = [base64.b64decode(one["query"]).decode() for one in event["entity"] if "query" in one]
    hidden = KEYS.name("token", "https://x.example/mrn", MRN)
    assert query == f"POST Patient/_search?identifier=https://x.example/mrn|~{hidden}&_count=5&_sort=-date"


@given(
    value=st.text(min_size=6).filter(lambda text: text.strip(" ~/0123456789abcdef")),
    name=st.sampled_from(["identifier", "patient", "_tag", "code", "date", "_id", "name", "_getpages"]),
    where=st.sampled_from(["get", "post", "id", "path", "inside"]),
)
def test_no_value_of_a_request_stands_in_what_is_written_down(value: str, name: str, where: str) -> None:
    """Whatever it is and wherever it stands, it is there as a keyed hash."""
    masks, coded = Masks(BASE, KEYS), quote(value, safe="")
    body, inside = None, []
    match where:
        case "get":
            address = f"Patient?{name}={coded}"
        case "post":
            address, body = "Patient/_search", f"{name}={coded}".encode()
        case "id":
            address = f"Patient/{coded}"
        case "path":
            address = f"next/{coded}?x={coded}"
        case _:
            address, inside = BASE, [("GET", f"Patient/{coded}")]
    method = "POST" if where in ("post", "inside") else "GET"
    said = repr(masks.asked(method, address, body, inside))
    assert value not in said
    assert coded not in said


@given(ids=st.lists(st.one_of(st.just(OURS), st.text(max_size=40)), max_size=5), kind=st.text(max_size=10))
def test_what_is_taken_for_ours_in_bulk_is_ours_one_by_one(ids: list[str], kind: str) -> None:
    masks = Masks(BASE, KEYS)
    for named in ("Observation", kind):
        each = all(masks.place(named, one) == (named, one, "") for one in ids)
        assert masks.are_ours([f"{named}/{one}" for one in ids]) == each


def test_a_patient_is_the_same_in_each_event_and_nobody_else_in_another_thread(tmp_path: Path) -> None:
    audit = audit_in(tmp_path)
    with concerning(LANE):
        audit.asks(Request("GET", f"Observation/{OURS}")).ended(200)
        with concerning("0" * 32):
            audit.asks(Request("GET", f"Observation/{OURS}")).ended(200)
        audit.asks(Request("GET", f"Observation/{OURS}")).ended(200)
    audit.asks(Request("GET", f"Observation/{OURS}")).ended(200)
    assert [summary(one).patient for one in events(tmp_path, KEYS)] == [LANE, "0" * 32, LANE, ""]


def test_a_trail_is_json_that_any_reader_takes(tmp_path: Path) -> None:
    everything(audit_in(tmp_path))
    for line in written(tmp_path).splitlines():
        tree: dict[str, Any] = json.loads(line)
        assert list(tree)[:2] == ["n", "previous"]
        assert len(tree) == 4
