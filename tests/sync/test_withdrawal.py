"""A withdrawn consent: nothing more goes but the notice, and what the site holds follows the patient's word on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.config import SiteSettings
from fhirbridge.ledger import Action, Server, State, Where
from fhirbridge.sync.watch import Stopwatch, longest_send
from tests.client.pushing import rate, register, visit
from tests.client.server import FakeServer, Reply, Request, serving
from tests.sync.consenting import Consenting, key, signed, withdrawn


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving(FakeServer()) as running:
        register(running, "P-1", "P-2")
        yield running


def statuses(clinic: Consenting) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in clinic.there():
        found.setdefault(one["resourceType"], []).append(one["status"])
    return {kind: sorted(several) for kind, several in found.items()}


def test_a_withdrawal_retracts_exactly_what_that_patient_had_there(server: FakeServer, tmp_path: Path) -> None:
    """The withdrawn consent is told; the other patient's data stay; the ledger has the server's proof of each."""
    with Consenting(server, tmp_path) as clinic:
        clinic.push(signed(), rate("v1"), visit("s1"), signed("c2", "P-2"), rate("v2", "P-2"))
        assert clinic.push(withdrawn()) == {"c1": "updated"}
        assert statuses(clinic) == {
            "Consent": ["active", "inactive"], "Observation": ["entered-in-error", "final"],
            "Procedure": ["entered-in-error"], "MedicationAdministration": ["entered-in-error"],
        }  # fmt: skip
        rows = {(row.kind, row.server, row.withdrawn) for row in clinic.known()}
        assert rows == {
            ("consent", Server.PRESENT, False), ("vital_sign", Server.RETRACTED, True),
            ("session", Server.RETRACTED, True),
        }  # fmt: skip
        assert {row.state for row in clinic.known("P-2")} == {State.ACKED}
        standing = clinic.ledger.patient(key())
        assert standing is not None
        assert standing.effective == standing.version


@pytest.mark.parametrize(
    ("policy", "withdrawal", "observation"),
    [
        ("retract", {}, "entered-in-error"),
        ("delete", {}, None),
        ("notify", {}, "final"),
        ("keep", {}, "final"),
        ("keep", {"data_handling": "retract"}, "entered-in-error"),
        ("keep", {"data_handling": "delete"}, None),
        ("retract", {"data_handling": "keep"}, "final"),
        ("delete", {"data_handling": "notify"}, "final"),
        ("retract", {"scope": "future_sharing"}, "final"),
        ("retract", {"scope": "future_sharing", "data_handling": "retract"}, "entered-in-error"),
        ("retract", {"scope": "research"}, "final"),
    ],
)
def test_the_patients_word_on_shared_data_comes_before_the_sites_policy(
    server: FakeServer, tmp_path: Path, policy: str, withdrawal: dict[str, Any], observation: str | None
) -> None:
    with Consenting(server, tmp_path, after_withdrawal=policy) as clinic:
        clinic.push(signed(), rate("v1"))
        deleted: list[str] = []

        def delete(request: Request) -> Reply | None:
            if request.method == "DELETE":
                deleted.append(request.path)
                del server.resources[request.path.strip("/")]
                return Reply(204)
            return None

        server.misbehave = delete
        clinic.push(withdrawn(**withdrawal))
        found = [one["status"] for one in clinic.there("Observation")]
        assert found == ([] if observation is None else [observation])
        assert len(deleted) == (observation is None)


def test_after_a_withdrawal_only_the_notice_and_the_retractions_name_the_patient(
    server: FakeServer, tmp_path: Path
) -> None:
    with Consenting(server, tmp_path) as clinic:
        clinic.push(signed(), rate("v1"))
        before = len(server.requests)
        assert clinic.push(withdrawn(), rate("v1", revision=2, value=123), rate("later"))["later"] == "blocked"
        written = [
            entry["resource"]
            for one in server.requests[before:]
            if b'"PUT"' in one.body
            for entry in one.tree["entry"]
            if "resource" in entry
        ]
        assert {(one["resourceType"], one["status"]) for one in written} == {
            ("Consent", "inactive"), ("Observation", "entered-in-error")
        }  # fmt: skip
        assert not any(b'"value":123' in one.body or b"later" in one.body for one in server.requests[before:])


def test_a_site_that_was_given_nothing_is_told_nothing(server: FakeServer, tmp_path: Path) -> None:
    """Not even that there was a consent: the notice would be the first it hears of the patient."""
    with Consenting(server, tmp_path) as clinic:
        assert clinic.push(signed(), withdrawn(), rate("v1"))["v1"] == "blocked"
        clinic.clock.sleep(5)
        clinic.push()
        assert not clinic.there()


def test_a_notice_goes_where_the_consent_itself_was_never_sent(server: FakeServer, tmp_path: Path) -> None:
    """A rule let only measurements go; the site has them, and must hear that the permission is over."""
    only = [{"effect": "permit", "resource_types": ["Observation"]}]
    with Consenting(server, tmp_path) as clinic:
        assert clinic.push(signed(decision="deny", provisions=only), rate("v1")) == {"c1": "blocked", "v1": "created"}
        clinic.push(withdrawn())
        assert statuses(clinic) == {"Consent": ["inactive"], "Observation": ["entered-in-error"]}


def test_a_withdrawal_is_tracked_until_the_server_proves_it(server: FakeServer, tmp_path: Path) -> None:
    with Consenting(server, tmp_path) as clinic:
        clinic.push(signed(), rate("v1"))
        server.misbehave = lambda request: Reply(503) if request.method != "GET" else None
        clinic.push(withdrawn(), patience=0.0)
        waiting = clinic.ledger.find(Where(site="s", states=(State.QUEUED, State.UNKNOWN)))
        assert Action.RETRACT in {row.action for row in waiting}
        server.misbehave = lambda request: None
        clinic.clock.sleep(600)
        clinic.push(patience=600.0)
        clinic.push(rate("v9", "P-2"))
        clinic.push(signed("c9", "P-2"))
        assert statuses(clinic)["Observation"] == ["entered-in-error", "final"]


def test_what_was_taken_back_waits_when_it_is_pushed_again_and_a_new_consent_brings_it_back(
    server: FakeServer, tmp_path: Path
) -> None:
    """As a new resource, for the old one stays retracted; and not in an older revision than was taken back."""
    with Consenting(server, tmp_path) as clinic:
        clinic.push(signed(), rate("v1", revision=2))
        clinic.push(withdrawn())
        for _ in range(2):
            assert clinic.push(rate("v1", revision=2)) == {"v1": "blocked"}
        assert clinic.push(rate("v1", value=70)) == {"v1": "unchanged"}
        clinic.push(signed("c2", supersedes={"type": "Consent", "identifier": {"value": "c1"}}))
        assert statuses(clinic)["Observation"] == ["entered-in-error", "final"]
        assert clinic.push(rate("v1", revision=2)) == {"v1": "unchanged"}
        # And once more, all the way.
        clinic.push(withdrawn("c2"))
        assert statuses(clinic)["Observation"] == ["entered-in-error", "entered-in-error"]


def test_the_same_withdrawal_again_changes_nothing(server: FakeServer, tmp_path: Path) -> None:
    with Consenting(server, tmp_path) as clinic:
        clinic.push(signed(), rate("v1"))
        clinic.push(withdrawn())
        writes = len(server.writes)
        assert clinic.push(withdrawn()) == {"c1": "unchanged"}
        assert len(server.writes) == writes


@given(st.floats(0.1, 3600), st.floats(0, 1e9), st.floats(0, 7200))
def test_no_request_may_leave_later_than_the_ledger_said(timeout: float, now: float, left: float) -> None:
    """However long the worker was stopped in between, and counting how long the last block may take to leave."""
    stopwatch = Stopwatch.started(lambda: now, timeout)
    begun = stopwatch.until(now + left) - stopwatch.monotonic
    assert begun <= left
    assert begun + (longest_send_of(timeout) - timeout) <= left + 1e-3


def longest_send_of(timeout: float) -> float:
    return longest_send(SiteSettings(base_url="https://h.example", timeout=timeout))
