"""Never the wrong chart: whoever is not certainly the enrolled patient gets nothing; the others' records go on."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.config import DEMO_ID_KEY
from fhirbridge.crosswalk import There, read_crosswalk, write_crosswalk
from fhirbridge.errors import ConfigError, Fault
from fhirbridge.fhir.bundle import Address
from fhirbridge.fingerprint import fingerprint, fingerprints_of
from fhirbridge.ledger import State, Where
from fhirbridge.records import Identifier, Ref
from tests.client.pushing import SID, Tree, rate, visit
from tests.client.server import FakeServer, Reply, Request, outcome, serving
from tests.sync.test_worker import Clinic

MRN = "https://hospital.example/sid/mrn"


class Person(NamedTuple):
    family: str
    given: str
    born: str


ADA, TWIN, BOB = (
    Person("Canary", "Ada", "1980-02-03"),
    Person("Canary", "Eva", "1980-02-03"),
    Person("Finch", "Bob", "1975-12-31"),
)


def chart(own: str, person: Person, mrn: str, **more: Any) -> Tree:
    return {
        "resourceType": "Patient", "id": own, "identifier": [{"system": MRN, "value": mrn}],
        "name": [{"family": person.family, "given": [person.given]}], "birthDate": person.born, **more,
    }  # fmt: skip


def mark(person: Person) -> str:
    made = fingerprint(DEMO_ID_KEY, person.born, person.family, person.given)
    assert made is not None
    return made


def enrolled(path: Path, **people: tuple[str, Person | None]) -> None:
    """The crosswalk: P1 of the clinic is the hospital's number and person."""
    write_crosswalk(
        path,
        {
            (f"{SID}/patient", own): There(mrn, "" if person is None else mark(person))
            for own, (mrn, person) in people.items()
        },
    )


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving(FakeServer()) as running:
        running.put(chart("ada", ADA, "7"))
        running.put(chart("bob", BOB, "8"))
        yield running


@pytest.fixture
def crosswalk(tmp_path: Path) -> Path:
    path = tmp_path / "patients.csv"
    enrolled(path, P1=("7", ADA), P2=("8", BOB))
    return path


@pytest.fixture
def clinic(server: FakeServer, tmp_path: Path, crosswalk: Path) -> Iterator[Clinic]:
    made = Clinic(server, tmp_path, patients={"system": MRN, "crosswalk": str(crosswalk)})
    yield made
    made.site.client.close()
    made.ledger.close()


def charts(server: FakeServer) -> list[str]:
    """Whose charts hold something that was delivered."""
    return [
        version["subject"]["reference"]
        for address, versions in server.resources.items()
        if not address.startswith(("Patient/", "Provenance/"))
        for version in versions
    ]


def reasons(clinic: Clinic) -> set[str]:
    return {one.reason for one in clinic.ledger.failed("s")}


def test_the_hospitals_number_leads_to_the_chart_and_the_record_keeps_the_clinics(
    clinic: Clinic, server: FakeServer
) -> None:
    clinic.queue(rate("v1", "P1"), visit("s1", "P2"))
    clinic.deliver()
    assert set(charts(server)) == {"Patient/ada", "Patient/bob"}
    (found,) = [one[-1] for address, one in server.resources.items() if address.startswith("Observation/")]
    assert found["subject"]["identifier"] == {"system": f"{SID}/patient", "value": "P1"}
    assert not any("identifier" in one.path for one in server.requests)


ADVERSE = {
    "a twin got the number": ([chart("ada", TWIN, "7")], "patient.differs"),
    "the number was given to somebody else": (
        [chart("ada", ADA, "71"), chart("new", Person("Gull", "Cy", "1990-01-01"), "7")],
        "patient.differs",
    ),
    "another birth date": ([chart("ada", ADA._replace(born="1980-02-04"), "7")], "patient.differs"),
    "only a year of birth": ([chart("ada", ADA._replace(born="1980"), "7")], "patient.differs"),
    "no name any more": ([chart("ada", ADA, "7", name=[{"text": "Ada Canary"}])], "patient.differs"),
    "merged": (
        [chart("ada", ADA, "7", link=[{"type": "replaced-by", "other": {"reference": "Patient/ada2"}}])],
        "patient.merged",
    ),
    "merged and inactive": (
        [chart("ada", ADA, "7", active=False, link=[{"type": "replaced-by", "other": {"reference": "Patient/a"}}])],
        "patient.merged",
    ),
    "inactive": ([chart("ada", ADA, "7", active=False)], "patient.inactive"),
    "two charts with the number": ([chart("ada2", ADA, "7")], "patient.ambiguous"),
    "the number is gone": ([chart("ada", ADA, "70")], "patient.not_found"),
}


@pytest.mark.parametrize("case", ADVERSE)
def test_a_chart_that_is_not_certain_gets_nothing_until_it_is_mended(
    clinic: Clinic, server: FakeServer, case: str
) -> None:
    """Nothing is sent; the record is set aside with its reason, and goes by itself on replay once all is right."""
    theirs, code = ADVERSE[case]
    for one in theirs:
        server.put(one)
    clinic.queue(rate("v1", "P1"), visit("s1", "P1"), rate("v2", "P2"))
    clinic.deliver()
    assert charts(server) == ["Patient/bob"]
    assert reasons(clinic) == {code}
    for one in theirs:
        server.resources.pop(f"Patient/{one['id']}")
    server.put(chart("ada", ADA, "7"))
    clinic.ledger.replay(Where(site="s", reason="patient"))
    clinic.deliver()
    assert sorted(set(charts(server))) == ["Patient/ada", "Patient/bob"]
    assert not reasons(clinic)


def test_two_charts_whose_numbers_were_swapped_get_nothing(clinic: Clinic, server: FakeServer) -> None:
    server.put(chart("ada", ADA, "8"))
    server.put(chart("bob", BOB, "7"))
    clinic.queue(rate("v1", "P1"), rate("v2", "P2"))
    clinic.deliver()
    assert charts(server) == []
    assert reasons(clinic) == {"patient.differs"}


def test_who_is_not_enrolled_gets_nothing_until_the_crosswalk_says_who_it_is(
    clinic: Clinic, server: FakeServer, crosswalk: Path
) -> None:
    """Also in a worker that is running: the file is read anew when it has changed."""
    server.put(chart("eva", TWIN, "9"))
    clinic.queue(rate("v1", "P3"), rate("v2", "P2"))
    worker = clinic.worker()
    worker.run(lambda: True, 10_000)
    assert (charts(server), reasons(clinic)) == (["Patient/bob"], {"patient.not_enrolled"})
    enrolled(crosswalk, P1=("7", ADA), P2=("8", BOB), P3=("9", TWIN))
    clinic.ledger.replay(Where(site="s", reason="patient.not_enrolled"))
    worker.run(lambda: True, 10_000)
    assert charts(server) == ["Patient/bob", "Patient/eva"]


def test_a_patient_known_by_a_servers_address_alone_is_nobody_we_enrolled(clinic: Clinic) -> None:
    found = clinic.site.patients.find(Ref(literal="Patient/ada"), clinic.clock())
    assert isinstance(found, Fault)
    assert found.code == "patient.not_enrolled"


def test_one_chart_for_two_people_is_nobodys(clinic: Clinic, server: FakeServer, crosswalk: Path) -> None:
    enrolled(crosswalk, P1=("7", ADA), P2=("8", BOB), P3=("7", TWIN), P4=("7", None))
    clinic.queue(rate("v1", "P1"), rate("v2", "P2"), rate("v3", "P3"), rate("v4", "P4"))
    clinic.deliver()
    assert (charts(server), reasons(clinic)) == (["Patient/bob"], {"patient.shared"})
    enrolled(crosswalk, P1=("7", ADA), P3=("7", ADA))
    clinic.ledger.replay(Where(site="s", reason="patient.shared"))
    clinic.deliver()
    assert sorted(charts(server)) == ["Patient/ada", "Patient/ada", "Patient/bob"]


@pytest.mark.parametrize(("later", "delivered"), [(59, True), (60, False), (61, False), (-1, False)])
def test_what_was_seen_of_a_chart_is_believed_for_less_than_a_minute(
    clinic: Clinic, server: FakeServer, later: float, delivered: bool
) -> None:
    clinic.queue(rate("v1", "P1"))
    clinic.deliver()
    server.put(chart("ada", ADA, "7", active=False))
    clinic.clock.now += later
    clinic.queue(rate("v2", "P1"))
    clinic.deliver()
    assert len(charts(server)) == 1 + delivered
    assert reasons(clinic) == (set() if delivered else {"patient.inactive"})


def test_a_long_lane_is_stopped_by_a_merge_in_its_middle(clinic: Clinic, server: FakeServer) -> None:
    """Each bundle takes forty seconds here; the merge comes with the second: what would go after a minute is parked."""

    def slow(request: Request) -> Reply | None:
        if b'"PUT"' in request.body:
            clinic.clock.now += 40
            if len(server.writes) == 2:
                server.put(chart("ada", ADA, "7", active=False))
        return None

    server.misbehave = slow
    clinic.queue(*(rate(f"v{number:03}", "P1") for number in range(500)))
    clinic.deliver()
    assert (len(charts(server)), reasons(clinic)) == (200, {"patient.inactive"})


def test_a_search_that_lags_behind_a_merge_is_not_believed(clinic: Clinic, server: FakeServer) -> None:
    """The chart itself is read before anything is sent."""
    stale = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": chart("ada", ADA, "7")}]}
    server.put(chart("ada", ADA, "7", link=[{"type": "replaced-by", "other": {"reference": "Patient/b"}}]))

    def lag(request: Request) -> Reply | None:
        return Reply(body=stale) if request.path == "Patient/_search" and b"%7C7&" in request.body else None

    server.misbehave = lag
    clinic.queue(rate("v1", "P1"), rate("v2", "P2"))
    clinic.deliver()
    assert (charts(server), reasons(clinic)) == (["Patient/bob"], {"patient.merged"})


def test_a_record_that_names_another_patients_session_is_set_aside(clinic: Clinic, server: FakeServer) -> None:
    """One of its two references is wrong: it goes to neither chart, and the rest of the lane goes on."""
    session = {"type": "Procedure", "identifier": {"system": f"{SID}/treatment-session", "value": "s2"}}
    clinic.queue(
        visit("s2", "P2"), rate("v1", "P1", session=session), rate("v2", "P1"), rate("v3", "P2", session=session)
    )
    clinic.deliver()
    assert reasons(clinic) == {"patient.other_chart"}
    stored = {
        versions[-1]["identifier"][0]["value"]: versions[-1]
        for address, versions in server.resources.items()
        if address.startswith("Observation/")
    }
    assert stored.keys() == {"v2", "v3"}
    assert "reference" in json.dumps(stored["v3"]["partOf"])
    clinic.queue(rate("v1", "P2", revision=2, session=session))
    clinic.deliver()
    assert charts(server).count("Patient/ada") == 1


def test_without_a_ledger_a_session_of_another_patient_is_not_linked_to(
    clinic: Clinic, server: FakeServer, tmp_path: Path, crosswalk: Path
) -> None:
    clinic.queue(visit("s2", "P2"))
    clinic.deliver()
    (tmp_path / "other").mkdir()
    second = Clinic(server, tmp_path / "other", clinic.clock, patients={"system": MRN, "crosswalk": str(crosswalk)})
    session = {"type": "Procedure", "identifier": {"system": f"{SID}/treatment-session", "value": "s2"}}
    second.queue(rate("v1", "P1", session=session))
    second.deliver()
    (found,) = [one[-1] for address, one in server.resources.items() if address.startswith("Observation/")]
    assert "reference" not in json.dumps(found["partOf"])
    second.site.client.close()
    second.ledger.close()


def test_a_crosswalk_that_is_broken_while_a_worker_runs_lets_nothing_through(
    clinic: Clinic, server: FakeServer, crosswalk: Path
) -> None:
    crosswalk.write_text("identifier,hospital\nP1,7\nP1,8\n")
    clinic.queue(rate("v1", "P1"))
    clinic.deliver()
    assert (charts(server), reasons(clinic)) == ([], {"patient.crosswalk"})
    with pytest.raises(ConfigError):
        clinic.site.check()


# ------------------------------------------------------------------------------------------------- the property
PEOPLE = st.builds(
    Person,
    st.sampled_from(["Canary", "canary", "Cañary", "Finch"]),
    st.sampled_from(["Ada", "ADA", "Eva"]),
    st.sampled_from(["1980-02-03", "1980-03-02"]),
)


def same(one: Person, other: Person) -> bool:
    """What the enrolment calls one person, said once more in other words."""
    plain = [tuple(word.lower().replace("ñ", "n") for word in person) for person in (one, other)]
    return plain[0] == plain[1]


@given(st.lists(st.tuples(PEOPLE, PEOPLE), min_size=1, max_size=6))
def test_a_record_of_a_patient_whose_fingerprint_differs_never_reaches_the_server(
    pairs: list[tuple[Person, Person]],
) -> None:
    """Of any patients, enrolled as one person and found as another: exactly the records of the same person arrive."""
    with tempfile.TemporaryDirectory() as folder, serving(FakeServer()) as server:
        crosswalk = Path(folder) / "patients.ndjson"
        for number, (_, theirs) in enumerate(pairs):
            server.put(chart(f"c{number}", theirs, str(number)))
        enrolled(crosswalk, **{f"P{number}": (str(number), ours) for number, (ours, _) in enumerate(pairs)})
        clinic = Clinic(server, Path(folder), patients={"system": MRN, "crosswalk": str(crosswalk)})
        clinic.queue(*(rate(f"v{number}", f"P{number}") for number in range(len(pairs))))
        clinic.deliver()
        clinic.site.client.close()
        clinic.ledger.close()
        right = [f"Patient/c{number}" for number, (ours, theirs) in enumerate(pairs) if same(ours, theirs)]
        assert sorted(charts(server)) == sorted(right)
        sent = b"".join(one.body for one in server.requests if one.path == "")
        assert all(f"Patient/c{n}".encode() not in sent for n, (a, b) in enumerate(pairs) if not same(a, b))


# ------------------------------------------------------------------------------------------------- fingerprints
@pytest.mark.parametrize(
    "spelt",
    [
        ("Müller-Lüdenscheidt", "Anna Maria"),
        ("MULLER LUDENSCHEIDT", "anna-maria"),
        ("Mu\u0308ller Lu\u0308denscheidt", ["AnnaMaria", "Luise"]),
        (" Muller, Ludenscheidt ", ["Anna Maria"]),
    ],
)
def test_a_fingerprint_does_not_depend_on_how_a_name_is_spelt(spelt: tuple[str, Any]) -> None:
    assert fingerprint(b"key", " 1980-02-03 ", *spelt) == fingerprint(
        b"key", "1980-02-03", "Mullerludenscheidt", "Annamaria"
    )


def test_fingerprints_of_different_people_keys_and_halves_of_names_differ() -> None:
    made = [
        fingerprint(key, born, family, given)
        for key, born, family, given in itertools.product(
            (b"key", b"other"), ("1980-02-03", "1980-03-02"), ("Ann", "Anna", "安娜"), ("a", "na", "娜")
        )
    ]
    assert None not in made
    assert len(set(made)) == len(made)


@pytest.mark.parametrize(
    "said",
    [("1980", "A", "B"), ("1980-02-31", "A", "B"), (None, "A", "B"), ("1980-02-03", "...", "B"),
     ("1980-02-03", "A", []), ("1980-02-03", {"a": 1}, "B"), ("1980-02-03", "A", [None])],
)  # fmt: skip
def test_without_a_whole_date_and_a_name_there_is_no_fingerprint(said: tuple[Any, ...]) -> None:
    assert fingerprint(b"key", *said) is None


def test_a_new_name_beside_the_old_one_makes_no_stranger_and_a_temporary_name_proves_nothing() -> None:
    patient = chart("p", ADA, "1")
    (name,) = patient["name"]
    married = {**patient, "name": [{"family": "Gull", "given": ["Ada"]}, {**name, "use": "old"}]}
    assert mark(ADA) in fingerprints_of(married, DEMO_ID_KEY)
    assert mark(ADA) not in fingerprints_of({**patient, "name": [{**name, "use": "temp"}]}, DEMO_ID_KEY)
    assert fingerprints_of({"name": "nonsense", "birthDate": 5}, DEMO_ID_KEY) == frozenset()


# ------------------------------------------------------------------------------------------------- the files
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="|\x00\r\n"), min_size=1, max_size=8).map(str.strip)
VALUES = TEXTS.filter(bool)


@given(st.dictionaries(st.tuples(st.sampled_from(["", "urn:oid:1", f"{SID}/patient"]), VALUES),
                       st.builds(There, VALUES, st.sampled_from(["", "0" * 32, "f" * 32]))),
       st.sampled_from(["csv", "ndjson"]))  # fmt: skip
def test_a_crosswalk_is_read_as_it_was_written_and_is_for_its_owner_only(entries: dict[Any, There], form: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"patients.{form}"
        write_crosswalk(path, entries)
        assert path.stat().st_mode & 0o777 == 0o600
        assert read_crosswalk(path, "x").entries == entries


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("identifier,hospital\nP1,\n,7\n", [":2: hospital", ":3: identifier"]),
        ("identifier,hospital\nP1,Zebulon\nP1,Other\n", [":3: identifier"]),
        ("identifier,hospital,fingerprint\nP1,7,Zebulon\n", [":2: fingerprint"]),
        ('{"identifier": "P1", "hospital": 7}\n{broken Zebulon\n', [":1: hospital", ":2: "]),
        ("identifer,hospital\nP1,7\n", ["did you mean identifer?"]),
        # A carriage return alone ends no line: the header is not to be read.
        ("identifier,hospital\rZebulon,7\n", ["header line"]),
    ],
)
def test_a_faulty_crosswalk_is_refused_whole_every_fault_by_line_and_none_quoted(
    tmp_path: Path, text: str, where: list[str]
) -> None:
    path = tmp_path / "patients"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_crosswalk(path, "x")
    assert caught.value.code == "config.crosswalk"
    assert all(one in str(caught.value) for one in where)
    assert "Zebulon" not in str(caught.value)


def test_a_crosswalk_that_is_not_there_stops_a_site_before_anything_is_sent(server: FakeServer, tmp_path: Path) -> None:
    made = Clinic(server, tmp_path, patients={"crosswalk": str(tmp_path / "nowhere.csv")})
    with pytest.raises(ConfigError, match="fhirbridge enrol"):
        made.site.check()
    made.site.client.close()
    made.ledger.close()


def test_without_a_system_the_hospital_knows_the_clinics_own_identifiers(server: FakeServer, tmp_path: Path) -> None:
    """The crosswalk then holds who was enrolled, and the fingerprint is compared all the same."""
    own = [{"system": f"{SID}/patient", "value": "P1"}]
    server.put(chart("ada", ADA, "7", identifier=own))
    crosswalk = tmp_path / "patients.csv"
    enrolled(crosswalk, P1=("P1", ADA))
    made = Clinic(server, tmp_path, patients={"crosswalk": str(crosswalk)})
    patient = Ref(type="Patient", identifier=Identifier(system=f"{SID}/patient", value="P1"))
    assert made.site.patients.find(patient) == Address("Patient", "ada")
    server.put(chart("ada", TWIN, "7", identifier=own))
    found = made.site.patients.find(patient)
    assert isinstance(found, Fault)
    assert found.code == "patient.differs"
    made.site.client.close()
    made.ledger.close()


# ------------------------------------------------------------------------------------------------- the directory
STAFF = "https://hospital.example/sid/staff"


@pytest.fixture
def listed(server: FakeServer, tmp_path: Path) -> Iterator[Clinic]:
    """A clinic whose register names one nurse by number and two encounters by address."""
    (tmp_path / "staff.csv").write_text(f"identifier,hospital\n{SID}/practitioner|RN-7,77\nRN-8,88\nRN-9,99\n")
    (tmp_path / "visits.csv").write_text(f"identifier,hospital\n{SID}/encounter|E1,Encounter/e1\nE2,e2\n")
    for own, value, active in (("n7", "77", True), ("n8", "88", False)):
        identifier = [{"system": STAFF, "value": value}]
        server.put({"resourceType": "Practitioner", "id": own, "identifier": identifier, "active": active})
    for own, whose in (("e1", "p0"), ("e2", "p1")):
        server.put({"resourceType": "Encounter", "id": own, "subject": {"reference": f"Patient/{whose}"}})
    for number in (0, 1):
        identifier = [{"system": f"{SID}/patient", "value": f"P-{number + 1}"}]
        server.put({"resourceType": "Patient", "id": f"p{number}", "identifier": identifier})
    directory = {
        "Practitioner": {"crosswalk": str(tmp_path / "staff.csv"), "system": STAFF},
        "Encounter": {"crosswalk": str(tmp_path / "visits.csv")},
    }
    made = Clinic(server, tmp_path, directory=directory)
    yield made
    made.site.client.close()
    made.ledger.close()


def ref(kind: str, value: str) -> Tree:
    return {"type": kind, "identifier": {"system": f"{SID}/{kind.lower()}", "value": value}}


def test_who_is_listed_and_there_gets_a_literal_reference_and_nobody_else(listed: Clinic, server: FakeServer) -> None:
    """Not listed, inactive, or not there: the reference stays logical. An encounter only in its own patient's chart."""
    nurses = [ref("Practitioner", f"RN-{number}") for number in (6, 7, 8, 9)]
    listed.queue(
        rate("v1", performers=nurses, encounter=ref("Encounter", "E1")), rate("v2", encounter=ref("Encounter", "E2"))
    )
    listed.deliver()
    stored = {
        versions[-1]["identifier"][0]["value"]: versions[-1]
        for address, versions in server.resources.items()
        if address.startswith("Observation/")
    }
    assert [one.get("reference") for one in stored["v1"]["performer"]] == [None, "Practitioner/n7", None, None]
    assert [one["identifier"]["value"] for one in stored["v1"]["performer"]] == ["RN-6", "RN-7", "RN-8", "RN-9"]
    assert stored["v1"]["encounter"]["reference"] == "Encounter/e1"
    assert "reference" not in stored["v2"]["encounter"]
    # Sent again it is unchanged: what a directory adds is no part of what a record says.
    listed.queue(rate("v1", performers=nurses, encounter=ref("Encounter", "E1")))
    listed.deliver()
    assert listed.states() == {State.ACKED: 2}


def test_a_site_that_does_not_let_us_look_into_its_directory_gets_logical_references(
    listed: Clinic, server: FakeServer
) -> None:
    def closed(request: Request) -> Reply | None:
        return Reply(403, outcome("forbidden")) if request.path.startswith("Practitioner") else None

    server.misbehave = closed
    listed.queue(rate("v1", performers=[ref("Practitioner", "RN-7")]))
    listed.deliver()
    assert listed.states() == {State.ACKED: 1}
    assert "Practitioner/" not in json.dumps(list(server.resources.values())[-1])
