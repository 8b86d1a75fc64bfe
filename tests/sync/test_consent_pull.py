"""The gate on the way in: what consents do not permit is left out, and the stricter consent wins, wherever it lies."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fhirbridge.config import Config, parse
from fhirbridge.errors import SiteRefused
from fhirbridge.ledger import State
from fhirbridge.site import Site
from fhirbridge.sources.lines import read_record
from fhirbridge.sync import pull
from tests.client.pushing import SID, rate, register
from tests.client.server import FakeServer, Reply, serving
from tests.sync.consenting import KINDS, MODELS, Consenting, key, signed, withdrawn

Tree = dict[str, Any]
SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"
MRN = "urn:oid:2.16.840.1.113883.19.5"


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving(FakeServer()) as running:
        register(running, "P-1", "P-2")
        yield running


def read(clinic: Consenting) -> tuple[set[str], Counter[str]]:
    """The ids of the records that were read, and why others were left out."""
    found = list(pull(clinic.site, clinic.ledger, clock=clinic.clock))
    assert all(not one.resource for one in found if one.left_out), "nothing of it is handed on"
    ids = {one.reading.record.id for one in found if one.reading is not None}
    return ids, Counter(one.left_out for one in found if one.left_out)


def theirs(own: str, chart: str = "Patient/p0", *, version: int = 1, **more: Any) -> Tree:
    """A Consent that the hospital wrote: it names its own chart."""
    return {
        "resourceType": "Consent", "id": own, "meta": {"versionId": str(version)}, "status": "active",
        "scope": {"coding": [{"system": SCOPE, "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": chart}, "dateTime": "2026-11-25T10:00:00Z",
        "policyRule": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTOUT"}]},
        "provision": {"type": "deny"}, **more,
    }  # fmt: skip


def foreign(own: str, chart: str = "Patient/p0") -> Tree:
    return {
        "resourceType": "Observation", "id": own, "status": "final", "subject": {"reference": chart},
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        "effectiveDateTime": "2026-11-20T10:00:00Z",
        "valueQuantity": {"value": 70, "system": "http://unitsofmeasure.org", "code": "/min", "unit": "/min"},
    }  # fmt: skip


def test_only_what_the_patients_consents_permit_is_read(server: FakeServer, tmp_path: Path) -> None:
    with Consenting(server, tmp_path) as clinic:
        clinic.push(signed(), rate("v1"))
        server.put(foreign("hr-1"))
        server.put(foreign("hr-2", "Patient/p1"))
        assert read(clinic) == ({"c1", "v1", "Observation/hr-1"}, Counter({"no-consent": 1}))


def test_the_clinics_own_server_is_read_whole(server: FakeServer, tmp_path: Path) -> None:
    with Consenting(server, tmp_path, pull="store") as clinic:
        server.put(foreign("hr-2", "Patient/p1"))
        assert read(clinic) == ({"Observation/hr-2"}, Counter())


def test_a_stricter_consent_of_the_hospital_wins_on_the_way_in_and_out(server: FakeServer, tmp_path: Path) -> None:
    with Consenting(server, tmp_path) as clinic:
        clinic.push(signed(), rate("v1"))
        server.put(theirs("opt-out"))
        ids, left_out = read(clinic)
        assert "v1" not in ids
        assert left_out
        assert clinic.push(rate("v2"))["v2"] == "blocked"
        # The hospital's newer version no longer forbids it.
        server.put(theirs("opt-out", version=2, status="entered-in-error"))
        assert "v1" in read(clinic)[0]
        assert clinic.push(rate("v2"))["v2"] == "created"


def test_a_consent_of_the_hospital_permits_nothing_that_the_clinics_do_not(server: FakeServer, tmp_path: Path) -> None:
    opt_in = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTIN"}]}
    with Consenting(server, tmp_path) as clinic:
        server.put(theirs("opt-in", policyRule=opt_in, provision={"type": "permit"}))
        read(clinic)
        assert clinic.push(rate("v1")) == {"v1": "blocked"}


@pytest.mark.parametrize("trust", [True, False])
def test_a_consent_of_a_trusted_site_permits_what_is_read_from_there_and_nothing_else(
    server: FakeServer, tmp_path: Path, *, trust: bool
) -> None:
    opt_in = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTIN"}]}
    with Consenting(server, tmp_path, trust=trust) as clinic:
        server.put(theirs("opt-in", policyRule=opt_in, provision={"type": "permit"}))
        server.put(foreign("hr-1"))
        assert ("Observation/hr-1" in read(clinic)[0]) is trust
        assert clinic.push(rate("v1")) == {"v1": "blocked"}


def test_a_consent_of_the_hospital_that_cannot_be_read_means_no(server: FakeServer, tmp_path: Path) -> None:
    with Consenting(server, tmp_path) as clinic:
        clinic.push(signed(), rate("v1"))
        server.put(theirs("odd", modifierExtension=[{"url": "https://h.example/unknown", "valueBoolean": True}]))
        ids, left_out = read(clinic)
        assert not ids
        assert set(left_out) == {"unreadable"}
        assert clinic.push(rate("v2"))["v2"] == "blocked"


def test_the_clinics_own_consent_read_back_is_no_second_one(server: FakeServer, tmp_path: Path) -> None:
    """Its older copy there must not hold back the newer one that is to replace it."""
    with Consenting(server, tmp_path) as clinic:
        clinic.push(signed(), rate("v1"))
        clinic.push(signed(revision=2, decision="deny"))
        read(clinic)
        assert {one.source for one in clinic.ledger.consents(key()).evidence} == {""}
        assert clinic.push(signed(revision=3), rate("v2")) == {"c1": "updated", "v2": "created"}


def test_the_clinics_own_consent_that_the_hospital_made_stricter_counts(server: FakeServer, tmp_path: Path) -> None:
    with Consenting(server, tmp_path) as clinic:
        clinic.push(signed(), rate("v1"))
        (own,) = clinic.there("Consent")
        server.put(own | {"status": "rejected"})
        read(clinic)
        assert clinic.push(rate("v2"))["v2"] == "blocked"


def test_the_hospitals_number_of_a_patient_leads_to_the_clinics_consents(server: FakeServer, tmp_path: Path) -> None:
    """With a crosswalk a chart has another number than the clinic's, and a consent there is found all the same."""
    with (tmp_path / "known.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["identifier", "hospital"], [f"{SID}/patient|P-7", "0042"]])
    server.put({"resourceType": "Patient", "id": "chart", "identifier": [{"system": MRN, "value": "0042"}]})
    server.put(theirs("opt-out", "Patient/chart"))
    with Consenting(server, tmp_path) as clinic:
        clinic.site.client.close()
        table = {"base_url": server.base, "patients": {"system": MRN, "crosswalk": "known.csv"}}
        config = Config(parse({"clinic": {"demo": True}, "site": {"s": table}}), tmp_path, {})
        clinic.site = Site.open("s", config, kinds=KINDS)
        read(clinic)
        assert [one.source for one in clinic.ledger.consents(key("P-7")).evidence] == ["s"]
        assert clinic.push(signed(who="P-7"), rate("v1", "P-7"))["v1"] == "blocked"


def test_charts_of_two_sites_with_one_number_are_two_people(server: FakeServer, tmp_path: Path) -> None:
    server.put({"resourceType": "Patient", "id": "x"})
    server.put(theirs("opt-out", "Patient/x"))
    with serving(FakeServer()) as second:
        second.put({"resourceType": "Patient", "id": "x"})
        second.put(foreign("hr", "Patient/x"))
        with Consenting(server, tmp_path) as one:
            read(one)
        with Consenting(second, tmp_path, name="t") as other:
            assert read(other)[1] == Counter({"no-consent": 1})


def test_where_consents_cannot_be_read_nothing_is(server: FakeServer, tmp_path: Path) -> None:
    with Consenting(server, tmp_path) as clinic:
        clinic.push(signed(), rate("v1"))
        server.misbehave = lambda request: Reply(500) if request.path.startswith("Consent") else None
        with pytest.raises(SiteRefused):
            read(clinic)


def test_a_withdrawal_found_at_the_hospital_takes_back_what_is_there(server: FakeServer, tmp_path: Path) -> None:
    with Consenting(server, tmp_path) as clinic:
        clinic.push(signed(), rate("v1"))
        (own,) = clinic.there("Consent")
        record = read_record(withdrawn("h1", data_handling="retract"), MODELS)[0]
        written = clinic.site.mappings.to_fhir(record).parts[0]
        kept = {name: member for name, member in written.resource.items() if name != "meta"}
        server.put(kept | {"id": "h1", "identifier": [{"system": "https://h.example", "value": "9"}]})
        read(clinic)
        clinic.push(rate("v2"))
        (found,) = clinic.there("Observation")
        assert found["status"] == "entered-in-error"
        assert own["status"] == "active"
        assert ("v2", State.BLOCKED, "consent.withdrawn") in clinic.states()
