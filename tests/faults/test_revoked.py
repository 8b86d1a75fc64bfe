"""The judge of a withdrawal sees what it forbids, and only that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.fhir.json import Tree, dump
from fhirbridge.ledger import State
from tests.faults.clinic import SID, observation
from tests.faults.disclosure import Allowed, Person, forbidden
from tests.faults.identity import marks
from tests.faults.judge import HARM, Report, events_of
from tests.faults.proxy import Arrival
from tests.faults.revoked import HANDLINGS, MARGIN, Fate, Handling, Withdrawn, findings, together
from tests.faults.store import Commit
from tests.faults.test_judge import Log

WHO = f"{SID}/patient|P-1"
REQUESTED, EFFECTIVE, LONGEST = 1_000.0, 1_002.0, 4.0
# One of the patient's that was sent, one that was not, and somebody else's.
SENT, UNSENT, OTHER = observation(1, 1), observation(2, 1), observation(3, 2)
GIVEN: Tree = {
    "resourceType": "Consent",
    "id": "c1",
    "meta": {"tag": [{"system": "x/record-key", "code": "C-1"}, {"system": "x/revision", "code": "1"}]},
    "identifier": [{"system": f"{SID}/consent", "value": "C-1"}],
    "status": "active",
    "patient": {"reference": "Patient/p1", "identifier": {"system": f"{SID}/patient", "value": "P-1"}},
}
TAKEN_BACK: Tree = {
    **GIVEN,
    "meta": {"tag": [{"system": "x/record-key", "code": "C-1"}, {"system": "x/revision", "code": "2"}]},
    "status": "inactive",
}
QUEUED = events_of([GIVEN, SENT, UNSENT, OTHER, TAKEN_BACK])
NAMES = {
    "C-1": ["Consent|C-1|primary"],
    "Consent/c1": ["Consent|C-1|primary"],
    **{
        name: [f"Observation|V-{number}|primary"]
        for number in (1, 2)
        for name in (f"V-{number}", f"f{number:032x}", f"Observation/s{number}")
    },
}
PERSON = Person(["P-1", "p1"], NAMES)
BLOCKED = Fate(State.BLOCKED, "consent.withdrawn", False)


def identity(resource: Tree) -> str:
    return marks(resource).identity


FATES = {
    identity(GIVEN): Fate(State.ACKED, "", False),
    identity(SENT): Fate(State.ACKED, "", False),
    identity(UNSENT): BLOCKED,
}
KEPT = Withdrawn(WHO, PERSON, "keep", ("Consent|C-1|primary", "2"), REQUESTED, EFFECTIVE, LONGEST, FATES)


def request(method: str, path: str, body: Tree | bytes = b"") -> bytes:
    data = dump(body) if isinstance(body, dict) else body
    return f"{method} /fhir/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


def put(resource: Tree) -> bytes:
    return request("PUT", f"{resource['resourceType']}/{resource['id']}", resource)


def bundle(*resources: Tree) -> bytes:
    entries = [
        {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
        for one in resources
    ]
    return request("POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": entries})


def log() -> Log:
    return Log().write(GIVEN).write(SENT).write(OTHER).write(TAKEN_BACK)


def found(told: Withdrawn = KEPT, *arrivals: Arrival, commits: list[Commit] | None = None) -> Report:
    return findings(QUEUED, log().commits if commits is None else commits, arrivals, told)


def names(report: Report) -> dict[str, int]:
    return {name: len(getattr(report, name)) for name in HARM if getattr(report, name)}


def voided(resource: Tree) -> Tree:
    return {**resource, "status": "entered-in-error"}


def test_what_was_kept_blocked_and_told_is_clean() -> None:
    assert found().clean


FORBIDDEN = {
    "a resource": put(UNSENT),
    "in a bundle with others": bundle(OTHER, UNSENT),
    "the consent as it was": put(GIVEN),
    "a retraction that nobody asked for": put(voided(UNSENT)),
    "a deletion that nobody asked for": request("DELETE", f"Observation/{UNSENT['id']}"),
    "a read": request("GET", f"Observation/{UNSENT['id']}"),
    "a read at the site's own id": request("GET", "Observation/s2"),
    "a search by POST": request("POST", "Observation/_search", f"identifier={SID}/vital-sign%7CV-2".encode()),
    "a search by GET": request("GET", "Observation?subject=Patient%2Fp1"),
    "reads in a batch": request(
        "POST",
        "",
        {"resourceType": "Bundle", "entry": [{"request": {"method": "GET", "url": f"Observation/{UNSENT['id']}"}}]},
    ),
    "a provenance": request(
        "POST",
        "Provenance",
        {"resourceType": "Provenance", "target": [{"reference": f"Observation/{UNSENT['id']}"}]},
    ),
    "half a request": put(UNSENT)[:-40],
    "a form of no kind": request("POST", "Observation", b"subject=P-1"),
}
PERMITTED = {
    "somebody else's": bundle(OTHER),
    "another patient with a longer number": request("POST", "Patient/_search", b"identifier=P-12"),
    "what is declared": request("GET", "metadata"),
    "the withdrawn consent": put(TAKEN_BACK),
    "the withdrawn consent in a bundle": bundle(TAKEN_BACK),
    "a look at the consent": request("GET", "Consent/c1"),
    "the chart it goes to": request("POST", "Patient/_search", f"identifier={SID}/patient%7CP-1".encode()),
}
OF_RETRACTION = {
    "a look": request("GET", f"Observation/{SENT['id']}"),
    "a search": request("POST", "Observation/_search", b"identifier=V-1"),
    "the retraction": put(voided(SENT)),
    "a deletion": request("DELETE", "Observation/s1"),
}


@pytest.mark.parametrize("asked", FORBIDDEN.values(), ids=FORBIDDEN)
def test_whatever_names_the_patient_is_forbidden_once_it_is_effective(asked: bytes) -> None:
    assert names(found(KEPT, Arrival(EFFECTIVE + 0.001, asked))) == {"disclosed": 1}


@pytest.mark.parametrize("asked", PERMITTED.values(), ids=PERMITTED)
def test_the_notice_and_what_belongs_to_it_is_permitted_and_what_is_not_about_the_patient(asked: bytes) -> None:
    assert found(KEPT, Arrival(EFFECTIVE + 0.001, asked)).clean


@pytest.mark.parametrize("asked", OF_RETRACTION.values(), ids=OF_RETRACTION)
def test_what_is_taken_back_is_permitted_for_what_is_taken_back_only(asked: bytes) -> None:
    fates = {**FATES, identity(SENT): Fate(State.ACKED, "", True)}
    told = replace(KEPT, handling="retract", fates=fates)
    commits = log().write(voided(SENT)).commits
    assert found(told, Arrival(EFFECTIVE + 0.001, asked), commits=commits).clean
    assert names(found(KEPT, Arrival(EFFECTIVE + 0.001, asked))) == {"disclosed": 1}


def test_nobody_looks_for_the_chart_where_the_site_is_not_to_be_told() -> None:
    told = replace(KEPT, fates={identity(one): BLOCKED for one in (GIVEN, SENT, UNSENT)})
    asked = Arrival(EFFECTIVE + 1, PERMITTED["the chart it goes to"])
    assert names(found(told, asked, commits=Log().write(OTHER).commits)) == {"disclosed": 1}


@given(st.lists(st.floats(-5, 5), max_size=6), st.integers(0, 3))
def test_one_request_may_have_been_begun_before_and_nothing_comes_after(moments: list[float], others: int) -> None:
    """``moments`` are those at which a forbidden request came, in seconds from when it was effective."""
    came = [Arrival(EFFECTIVE + one, put(UNSENT)) for one in moments]
    came += [Arrival(EFFECTIVE + 1, put(OTHER))] * others
    late = [one.at for one in came if one.request == put(UNSENT) and one.at > REQUESTED + 1e-6]
    after = [one for one in late if one > EFFECTIVE + 1e-6]
    expected = len(after) + max(0, len(late) - len(after) - 1)
    assert len(found(KEPT, *came).disclosed) == expected


@pytest.mark.parametrize(
    ("took", "is_in_time"), [(0.0, True), (LONGEST + MARGIN, True), (LONGEST + MARGIN + 0.1, False), (None, False)]
)
def test_it_is_effective_when_the_longest_request_is_over(took: float | None, is_in_time: bool) -> None:
    told = replace(KEPT, effective_at=None if took is None else REQUESTED + took)
    assert names(found(told)) == ({} if is_in_time else {"overdue": 1})


@pytest.mark.parametrize(
    ("fate", "is_told"),
    [
        (BLOCKED, True),
        (Fate(State.BLOCKED, "consent.no-consent", False), False),
        (Fate(State.PARKED, "consent.withdrawn", False), True),
        (Fate(State.REJECTED, "refused", False), True),
        (Fate(State.PARKED, "", False), False),
        (Fate(State.QUEUED, "", False), False),
        (Fate(State.ACKED, "", False), False),
    ],
)
def test_what_is_not_there_is_shown_with_the_reason(fate: Fate, is_told: bool) -> None:
    assert names(found(replace(KEPT, fates={**FATES, identity(UNSENT): fate}))) == ({} if is_told else {"untold": 1})


def test_what_the_ledger_does_not_know_is_not_told() -> None:
    fates = {name: fate for name, fate in FATES.items() if name != identity(UNSENT)}
    assert names(found(replace(KEPT, fates=fates))) == {"untold": 1}


@pytest.mark.parametrize("handling", HANDLINGS)
@pytest.mark.parametrize("done", ["nothing", "retracted", "deleted"])
def test_what_the_patient_wants_of_the_past_is_done(handling: Handling, done: str) -> None:
    fates = {**FATES, identity(SENT): Fate(State.ACKED, "", done != "nothing")}
    commits = log()
    if done != "nothing":
        commits.write(voided(SENT) if done == "retracted" else SENT, "delete" if done == "deleted" else "")
    report = found(replace(KEPT, handling=handling, fates=fates), commits=commits.commits)
    enough = {"keep": {"nothing"}, "retract": {"retracted", "deleted"}, "delete": {"deleted"}}[handling]
    assert names(report) == ({} if done in enough else {"unfollowed": 1})
    parked = {**FATES, identity(SENT): Fate(State.PARKED, "retract.no_status", True)}
    assert found(replace(KEPT, handling=handling, fates=parked), commits=log().commits).clean


def test_a_site_that_was_given_anything_is_told() -> None:
    untold = Log().write(GIVEN).write(SENT).write(OTHER).commits
    assert names(found(commits=untold)) == {"untold": 1, "unfollowed": 1}
    never = replace(KEPT, fates={identity(one): BLOCKED for one in (GIVEN, SENT, UNSENT)})
    assert found(never, commits=Log().write(OTHER).commits).clean


def test_what_is_permitted_for_others_has_to_arrive() -> None:
    report = found(commits=Log().write(GIVEN).write(SENT).write(TAKEN_BACK).commits)
    assert (report.lost, report.dropped) == ((identity(OTHER),), (identity(OTHER),))


def test_nothing_is_blocked_any_more_once_consent_is_given_again() -> None:
    before, after = found(), Report(5, 5)
    acked = dict.fromkeys(FATES, Fate(State.ACKED, "", False))
    assert together(before, after, acked).clean
    for left in (BLOCKED, Fate(State.PARKED, "consent.withdrawn", False)):
        assert names(together(before, after, {**acked, identity(UNSENT): left})) == {"unfollowed": 1}
    leaking = found(KEPT, Arrival(EFFECTIVE + 1, put(UNSENT)))
    assert names(together(leaking, after, acked)) == {"disclosed": 1}


@given(st.sampled_from([SENT, UNSENT, GIVEN, OTHER]), st.data())
def test_a_patient_is_named_by_any_of_the_names_wherever_it_stands(resource: Tree, data: Any) -> None:
    shape = data.draw(st.sampled_from([put, bundle, lambda one: bundle(OTHER, one)]))
    assert forbidden(Arrival(0.0, shape(resource)), PERSON, Allowed()) == (resource is not OTHER)
