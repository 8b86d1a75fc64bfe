"""``fhirbridge enrol``: who is certainly found is enrolled, the others are listed by line and code, never by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_commands import RATE, ndjson, run
from tests.client.server import FakeServer, Reply

OWN = "https://clinic.example/sid/patient"
MRN = "https://hospital.example/sid/mrn"
NAMES = ("Canary", "Finch", "Gull", "Heron", "Ibis", "Jay")


def chart(number: int, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Patient", "id": f"c{number}", "identifier": [{"system": MRN, "value": f"M{number}"}],
        "name": [{"family": NAMES[number], "given": ["Ada"]}], "birthDate": "1980-02-03", **more,
    }  # fmt: skip


def person(number: int, **more: Any) -> dict[str, Any]:
    return {
        "identifier": f"P-{number}", "family": NAMES[number].upper(), "given": "Ada", "birth_date": "1980-02-03",
        "hospital": f"M{number}", **more,
    }  # fmt: skip


@pytest.fixture
def hospital(server: FakeServer, folder: Path) -> FakeServer:
    """A hospital that knows patients by its own numbers: 0 and 1 well, the others not."""
    server.put(chart(0))
    server.put(chart(1))
    server.put(chart(2, birthDate="1980-02-04"))
    server.put(chart(3, active=False))
    server.put(chart(4, link=[{"type": "replaced-by", "other": {"reference": "Patient/c0"}}]))
    server.put(chart(5))
    server.put(chart(5) | {"id": "c5b"})
    with (folder / "fhirbridge.toml").open("a") as file:
        file.write(f'[site.s.patients]\nsystem = "{MRN}"\ncrosswalk = "known.csv"\n')
    return server


def enrol(*people: dict[str, Any], check: bool = False) -> tuple[int, dict[str, Any]]:
    Path("list.ndjson").write_bytes(ndjson(*people))
    found = run("enrol", "s", "list.ndjson", "--json", *(["--check"] if check else []))
    return found.exit_code, json.loads(found.stdout)


def counted(counts: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


def push(**more: Any) -> tuple[int, list[str]]:
    """The exit code of a push of one record, and why it was refused."""
    Path("in.ndjson").write_bytes(ndjson({**RATE, **more}))
    found = run("push", "in.ndjson", "--site", "s", "--json", "--patience", "0")
    outcomes = [json.loads(line) for line in Path("fhirbridge-outcomes.ndjson").read_bytes().splitlines()]
    return found.exit_code, [fault["code"] for one in outcomes for fault in one.get("faults", ())]


def whose(value: str) -> dict[str, Any]:
    return {"patient": {"type": "Patient", "identifier": {"system": OWN, "value": value}}}


def test_the_help_has_an_example() -> None:
    found = run("enrol", "--help")
    assert found.exit_code == 0
    assert "fhirbridge enrol" in found.stdout.partition("\n")[2]


def test_the_certain_are_enrolled_and_the_others_listed_by_line_and_code(hospital: FakeServer) -> None:
    code, said = enrol(*(person(number) for number in range(6)), person(0, identifier="P-9", hospital="M9"))
    assert code == 1
    assert counted(said["totals"]) == {
        "matched": 2, "differing": 1, "not_found": 1, "ambiguous": 1, "inactive": 1, "merged": 1
    }  # fmt: skip
    assert [(one["line"], *(fault["code"] for fault in one["faults"])) for one in said["wrong"]] == [
        (3, "patient.differs"), (4, "patient.inactive"), (5, "patient.merged"), (6, "patient.ambiguous"),
        (7, "patient.not_found"),
    ]  # fmt: skip
    assert Path("known.csv").stat().st_mode & 0o777 == 0o600
    header, *rows = Path("known.csv").read_text().splitlines()
    assert header == "identifier,hospital,fingerprint"
    assert [row.split(",")[:2] for row in rows] == [[f"{OWN}|P-0", "M0"], [f"{OWN}|P-1", "M1"]]
    assert not hospital.writes
    assert not any("identifier" in one.path for one in hospital.requests)


def test_nothing_that_is_said_or_kept_names_anybody(hospital: FakeServer) -> None:
    Path("list.ndjson").write_bytes(ndjson(*(person(number) for number in range(6)), {"family": "Canary"}))
    for options in ([], ["--json"], ["--check"]):
        found = run("enrol", "s", "list.ndjson", *options)
        assert found.exit_code == 1
        for name in (*NAMES, "Ada", "1980", "P-1", "M1"):
            assert name.lower() not in found.output.lower()
    assert not any(name.lower() in Path("known.csv").read_text().lower() for name in (*NAMES, "1980"))


def test_who_is_enrolled_gets_records_and_the_others_do_not(hospital: FakeServer) -> None:
    """Before any enrolment a push ends with what to do; afterwards the enrolled one's record goes."""
    Path("in.ndjson").write_bytes(ndjson(RATE))
    without = run("push", "in.ndjson", "--site", "s")
    assert without.exit_code == 2
    assert "config.crosswalk" in without.stderr
    enrol(person(0), person(1))
    assert push(**whose("P-0")) == (0, [])
    assert push(id="v2", **whose("P-7")) == (1, ["patient.not_enrolled"])
    (stored,) = [one[-1] for address, one in hospital.resources.items() if address.startswith("Observation/")]
    assert stored["subject"]["reference"] == "Patient/c0"


def test_a_check_writes_nothing_and_tells_what_would_change(hospital: FakeServer) -> None:
    code, said = enrol(person(0), check=True)
    assert (code, counted(said["changes"]), said["written"]) == (1, {"new": 1}, False)
    assert not Path("known.csv").exists()
    assert enrol(person(0), person(1))[0] == 0
    before = Path("known.csv").read_bytes()
    code, said = enrol(person(0), check=True)
    assert (code, counted(said["changes"]), said["unlisted"]) == (0, {"same": 1}, 1)
    code, said = enrol(person(0, hospital="M1", family="FINCH"), check=True)
    assert (code, counted(said["totals"]), counted(said["changes"])) == (1, {"matched": 1}, {"changed": 1})
    assert Path("known.csv").read_bytes() == before
    again = Path("known.csv").stat().st_mtime_ns
    assert enrol(person(0), person(1))[0] == 0
    assert Path("known.csv").stat().st_mtime_ns == again


def test_a_patient_whom_the_clinic_now_calls_otherwise_gets_nothing_more(hospital: FakeServer) -> None:
    """Enrolled once, differing now: the entry says whom the clinic means, so the next push is set aside."""
    enrol(person(0), person(1))
    assert push(**whose("P-0"))[0] == 0
    code, said = enrol(person(0, birth_date="1981-02-03"))
    assert (code, counted(said["totals"]), counted(said["changes"])) == (1, {"differing": 1}, {"changed": 1})
    assert push(id="v2", **whose("P-0")) == (1, ["patient.differs"])
    assert push(id="v3", **whose("P-1"))[0] == 0
    enrol(person(0))
    Path("empty.ndjson").write_bytes(b"")
    assert run("replay", "--site", "s", "--where", "reason=patient.differs").exit_code == 0
    with Path("fhirbridge.toml").open("a") as file:
        file.write('[source.nothing]\npath = "empty.ndjson"\n')
    assert run("sync", "--site", "s").exit_code == 0
    assert len([address for address in hospital.resources if address.startswith("Observation/")]) == 3


def test_a_hospital_that_knows_the_clinics_identifier_gives_its_own_number(hospital: FakeServer) -> None:
    """Without a column hospital: found by the clinic's identifier, enrolled with the hospital's; else not found."""
    own = {"system": OWN, "value": "P-0"}
    hospital.put(chart(0, identifier=[own, {"system": MRN, "value": "M0"}]))
    hospital.put(chart(2, identifier=[{"system": OWN, "value": "P-2"}]))
    numbers = (0, 2, 3)
    people = [{name: member for name, member in person(number).items() if name != "hospital"} for number in numbers]
    _, said = enrol(*people)
    assert counted(said["totals"]) == {"matched": 1, "not_found": 2}
    assert Path("known.csv").read_text().splitlines()[1].startswith(f"{OWN}|P-0,M0,")
    # The next time the number is known.
    hospital.put(chart(0))
    assert counted(enrol(people[0])[1]["changes"]) == {"same": 1}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_list_in_csv_is_read_by_its_header_in_any_order(hospital: FakeServer, delimiter: str) -> None:
    rows = [
        ["birth_date", "ward", "given", "family", "identifier", "hospital"],
        ["1980-02-03", "3", "Ada", "Canary", f"{OWN}|P-0", "M0"],
        ["1980-02-03", "3", "Ada", "Finch", "P-1", "M1"],
        ["03.02.1980", "3", "Ada", "Finch", "P-2", "M1"],
        ["1980-02-03", "3"],
    ]
    Path("list.csv").write_text("".join(delimiter.join(row) + "\n" for row in rows))
    found = run("enrol", "s", "list.csv")
    assert found.exit_code == 1
    assert "list.csv:4: " in found.stderr
    assert "[patient.incomplete]" in found.stderr
    assert "list.csv:5: " in found.stderr
    assert "2 enrolled, 0 changed" in found.stderr


def test_an_identifier_for_two_different_people_enrols_neither(hospital: FakeServer) -> None:
    code, said = enrol(person(0), person(1, identifier="P-0"), person(1), person(1))
    assert code == 1
    assert counted(said["totals"]) == {"matched": 2, "refused": 2}
    assert {fault["code"] for one in said["wrong"] for fault in one["faults"]} == {"patient.listed_twice"}
    assert len(Path("known.csv").read_text().splitlines()) == 2


def test_broken_lines_are_refused_alone(hospital: FakeServer) -> None:
    Path("list.ndjson").write_bytes(b"{broken\n" + ndjson({"identifier": {"value": 5}}, person(0)))
    found = run("enrol", "s", "list.ndjson", "--json")
    assert found.exit_code == 1
    said = json.loads(found.stdout)
    assert counted(said["totals"]) == {"matched": 1, "refused": 2}
    assert [[fault["code"] for fault in one["faults"]] for one in said["wrong"]] == [
        ["json"], ["patient.no_identifier", "patient.incomplete"]
    ]  # fmt: skip


def test_wrong_use_a_site_that_is_away_and_one_that_fails_have_their_exit_codes_and_keep_nothing(
    hospital: FakeServer, folder: Path
) -> None:
    Path("list.ndjson").write_bytes(ndjson(person(0), person(1)))
    assert run("enrol", "nowhere", "list.ndjson").exit_code == 2
    assert run("enrol", "s", "nothing.csv").exit_code == 2
    Path("bad.csv").write_text("identifier,surname\nP-0,Canary\n")
    assert run("enrol", "s", "bad.csv").exit_code == 2
    hospital.misbehave = lambda request: Reply(500) if b"M1" in request.body else None
    assert run("enrol", "s", "list.ndjson").exit_code == 1
    hospital.misbehave = lambda request: Reply(cut=True)
    assert run("enrol", "s", "list.ndjson").exit_code == 3
    assert not Path("known.csv").exists()
    Path("known.csv").write_text("identifier,hospital\nP-0,\n")
    hospital.misbehave = lambda request: None
    broken = run("enrol", "s", "list.ndjson")
    assert broken.exit_code == 2
    assert "known.csv:2: hospital" in broken.stderr
    config = (folder / "fhirbridge.toml").read_text().partition("[site.s.patients]")[0]
    (folder / "fhirbridge.toml").write_text(config)
    without = run("enrol", "s", "list.ndjson")
    assert without.exit_code == 2
    assert "config.crosswalk_missing" in without.stderr
