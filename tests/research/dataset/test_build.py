"""A dataset as a whole: its rows are what the records say, the same rows give the same hash, nothing half appears."""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fhirbridge.binding import Binding, Release
from fhirbridge.errors import Leaking, SourceError
from fhirbridge.fhir.json import dump, parse_object
from fhirbridge.mapping import Mappings
from fhirbridge.records import Coding, Concept, DateTime, Session, VitalSign
from fhirbridge.research import dataset as datasets
from fhirbridge.research.check import check
from fhirbridge.research.dataset import Built, build
from fhirbridge.research.deidentify.leaks import Leak
from fhirbridge.research.deidentify.profile import Profile
from fhirbridge.research.deidentify.records import Deidentifier
from fhirbridge.research.diff import compare
from fhirbridge.research.tables import TABLES
from fhirbridge.research.tables.seen import dose_text
from fhirbridge.research.tables.values import seconds
from tests.research.dataset.builds import KEY, built, request
from tests.research.dataset.clinics import CLINIC, clinic_records, write_source
from tests.research.dataset.conftest import OPTIONS


def rows(folder: Path, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(folder / f"{table}.parquet").to_pylist()
    return found


def lines_of(source: Path) -> list[bytes]:
    return [line for path in sorted(source.glob("*.ndjson")) for line in path.read_bytes().splitlines()]


# ------------------------------------------------------------------------------------------------ truth
def newest() -> list[Any]:
    """The records of the clinic, of each the last revision, none that was recorded in error."""
    last = {(record.kind, record.id): record for record in clinic_records(OPTIONS)}
    return [one for one in last.values() if getattr(one, "status", "") != "entered_in_error"]


def test_every_number_of_every_vital_sign_is_in_the_dataset(dataset: Built) -> None:
    """Value, unit, sign, planned minute; and minutes from the dose by the clock, exactly as in the source."""
    records = newest()
    doses = {one.id: seconds(dose_text(one)) for one in records if isinstance(one, Session)}
    wanted: Counter[Any] = Counter()
    for one in records:
        if isinstance(one, VitalSign):
            planned = None if one.offset_from_dose is None else float(one.offset_from_dose.value.text)
            dose = None if one.session is None else doses[one.session.identifier.value]
            at = None if dose is None else round((seconds(one.measured_at) - dose) / 60, 6)
            for reading in one.readings or [None]:
                value = None if reading is None or reading.value is None else float(reading.value.text)
                name = "value" if reading is None else reading.name
                unit = None if reading is None else reading.unit
                wanted[one.sign, name, value, unit, planned, at, one.status, one.timepoint] += 1
    names = ("sign", "name", "value", "unit", "planned_minute", "minutes_from_dose", "status", "timepoint")
    assert Counter(tuple(row[name] for name in names) for row in rows(dataset.folder, "vitals")) == wanted


def test_every_session_assessment_and_consent_is_in_the_dataset(dataset: Built) -> None:
    kinds = Counter(one.kind for one in newest())
    tables = {
        "session": "sessions",
        "assessment": "assessments",
        "consent": "consents",
        "adverse_event": "adverse_events",
    }
    for kind, table in tables.items():
        assert len(rows(dataset.folder, table)) == kinds[kind], table
    scores = Counter(float(one.score.text) for one in newest() if one.kind == "assessment" and one.score is not None)
    assert Counter(row["score"] for row in rows(dataset.folder, "assessments") if row["score"] is not None) == scores
    assert len(rows(dataset.folder, "patients")) == OPTIONS.patients


def test_references_meet_and_the_course_is_made_of_the_long_tables(dataset: Built) -> None:
    folder = dataset.folder
    sessions = {row["session"] for row in rows(folder, "sessions")}
    for table in ("vitals", "assessments", "administrations", "adverse_events", "session_course"):
        assert {row["session"] for row in rows(folder, table)} - {None} <= sessions, table
    vitals = rows(folder, "vitals")
    for row in rows(folder, "session_course"):
        here = [
            one["standard_value"]
            for one in vitals
            if (one["session"], one["planned_minute"], one["name"]) == (row["session"], row["minute"], "systolic")
        ]
        assert row["systolic"] in (here or [None])


def test_pseudonyms_are_those_of_the_projects_key(dataset: Built) -> None:
    work = Deidentifier(Profile.load("shifted"), KEY)
    known = {
        work.person(f"https://clinic.example/sid/patient|{one.patient.identifier.value}").pseudonym for one in newest()
    }
    assert {row["patient"] for row in rows(dataset.folder, "patients")} == known


# ------------------------------------------------------------------------------------------------ sameness
def test_order_cuts_and_forms_of_the_source_change_no_row(source: Path, dataset: Built, tmp_path: Path) -> None:
    """Shuffled, gzipped, split over files, one as a bundle, two lines twice: the same content hash."""
    # Copies of one address without a version are told apart by their place alone, so the last one of each is taken.
    last = {(tree := parse_object(line))["resourceType"] + tree["id"]: line for line in lines_of(source)}
    lines = list(last.values())
    random.Random(3).shuffle(lines)  # noqa: S311 - a test
    other = tmp_path / "other"
    other.mkdir()
    third = len(lines) // 3
    (other / "a.ndjson.gz").write_bytes(gzip.compress(b"\n".join(lines[:third])))
    (other / "b.ndjson").write_bytes(b"\n".join([*lines[third : 2 * third], *lines[:2]]))
    entries = [{"resource": parse_object(line)} for line in lines[2 * third :]]
    (other / "c.json").write_bytes(dump({"resourceType": "Bundle", "type": "collection", "entry": entries}))
    again = built(other, tmp_path / "out")
    assert again.manifest["content_hash"] == dataset.manifest["content_hash"]


@pytest.mark.long
def test_two_processes_give_the_same_dataset(source: Path, dataset: Built, tmp_path: Path) -> None:
    again = built(source, tmp_path / "out", jobs=2)
    assert again.manifest["content_hash"] == dataset.manifest["content_hash"]


@pytest.mark.long
def test_what_a_server_adds_changes_no_row(source: Path, dataset: Built, tmp_path: Path) -> None:
    """Versions, times of storage and literal references beside the identifiers."""
    trees = []
    for number, line in enumerate(lines_of(source)):
        tree = parse_object(line)
        tree["meta"] = {
            "versionId": str(number),
            "lastUpdated": "2026-08-01T00:00:00.000+00:00",
            **tree.get("meta", {}),
        }
        if "subject" in tree:
            tree["subject"] = {"reference": "Patient/1", **tree["subject"]}
        trees.append(tree)
    again = built(write_source(tmp_path / "other", trees), tmp_path / "out")
    assert again.manifest["content_hash"] == dataset.manifest["content_hash"]
    assert again.manifest["residue"] == {}


# ------------------------------------------------------------------------------------------------ what is left out
def changed(source: Path, place: Path, change: Any) -> Path:
    """The source with each resource as ``change`` gives it back, or without it."""
    trees = (change(parse_object(line)) for line in lines_of(source))
    return write_source(place, [tree for tree in trees if tree is not None])


def refuse(tree: dict[str, Any]) -> dict[str, Any]:
    """Patient P-000001 withdraws all consents."""
    if tree["resourceType"] == "Consent" and tree["patient"]["identifier"]["value"] == "P-000001":
        return {**tree, "status": "inactive"}
    return tree


def test_who_does_not_permit_is_not_there_and_is_counted(source: Path, dataset: Built, tmp_path: Path) -> None:
    """A second version without one patient: no row of theirs in any table, the difference says so, nobody is named."""
    out = tmp_path / "out"
    first = built(source, out)
    second = built(changed(source, tmp_path / "other", refuse), out)
    assert (first.folder.name, second.folder.name) == ("v0001", "v0002")
    before, after = ({row["patient"] for row in rows(one.folder, "patients")} for one in (first, second))
    (gone,) = before - after
    for table in TABLES:
        assert gone not in {row["patient"] for row in rows(second.folder, table)}, table
    found = json.loads((second.folder / "diff.json").read_text("utf-8"))
    assert found["tables"]["patients"]["removed"] == [[gone]]
    assert all(one["counts"]["added"] == one["counts"]["changed"] == 0 for one in found["tables"].values())
    with (second.folder / "exclusions.csv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    assert {row["patients"] for row in listed} == {"<5"}
    assert sum(row["stage"] == "consent" for row in listed) >= 1
    assert "P-000001" not in (second.folder / "exclusions.csv").read_text("utf-8")


def test_deleted_and_void_records_are_not_there(source: Path, dataset: Built, tmp_path: Path) -> None:
    sessions = [tree for line in lines_of(source) if (tree := parse_object(line))["resourceType"] == "Procedure"]
    gone, void = sessions[0]["id"], sessions[1]["id"]

    def change(tree: dict[str, Any]) -> dict[str, Any]:
        return {**tree, "status": "entered-in-error"} if tree["id"] == void else tree

    place = changed(source, tmp_path / "other", change)
    deletion = {"resourceType": "Bundle", "type": "transaction", "entry": [
        {"request": {"method": "DELETE", "url": f"Procedure/{gone}"}},
    ]}  # fmt: skip
    (place / "deleted.ndjson").write_bytes(dump(deletion))
    again = built(place, tmp_path / "out")
    assert len(rows(again.folder, "sessions")) == len(rows(dataset.folder, "sessions")) - 2
    assert again.manifest["counts"]["excluded"]["record: entered-in-error"] == "<5"


def test_bad_lines_are_set_aside_with_their_place_and_the_rest_goes_on(
    source: Path, dataset: Built, tmp_path: Path
) -> None:
    place = Path(shutil.copytree(source, tmp_path / "other"))
    lines = (place / "Observation.ndjson").read_bytes().splitlines()
    tree = parse_object(lines[0])
    tree["id"], tree["status"] = "new", "nonsense"
    (place / "Observation.ndjson").write_bytes(b"\n".join([*lines, b"{half", dump(tree), b"\xff"]) + b"\n")
    again = built(place, tmp_path / "out")
    assert again.set_aside == 3
    found = [json.loads(line) for line in (tmp_path / "set-aside.ndjson").read_text("utf-8").splitlines()]
    assert [one["line"] for one in found] == [len(lines) + 1, len(lines) + 2, len(lines) + 3]
    assert all(one["faults"] for one in found)
    assert again.manifest["content_hash"] == dataset.manifest["content_hash"]
    assert (tmp_path / "set-aside.ndjson").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("line", [b'{"resourceType":"Consent","id":"x"', b'{"resourceType":"Consent","id":"x"}'])
def test_a_consent_that_cannot_be_read_or_says_not_whose_it_is_stops_everything(
    source: Path, tmp_path: Path, line: bytes
) -> None:
    """Somebody's refusal may stand there."""
    place = Path(shutil.copytree(source, tmp_path / "other"))
    with (place / "Consent.ndjson").open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(SourceError, match=r"dataset\.lost_consents"):
        built(place, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.long
def test_a_consent_with_an_unknown_modifier_denies_its_patient(source: Path, tmp_path: Path) -> None:
    def change(tree: dict[str, Any]) -> dict[str, Any]:
        if tree["resourceType"] == "Consent" and tree["patient"]["identifier"]["value"] == "P-000001":
            return {**tree, "modifierExtension": [{"url": "https://x.example", "valueBoolean": True}]}
        return tree

    again = built(changed(source, tmp_path / "other", change), tmp_path / "out")
    assert len(rows(again.folder, "patients")) == OPTIONS.patients - 1
    assert "consent: unreadable" in again.manifest["counts"]["excluded"]


RHYTHMS = (("64730000", 2), ("426783006", 1))


def rhythms(source: Path) -> Iterable[dict[str, Any]]:
    """Heart rhythms coded by somebody else: one code for two patients, another for one."""
    mappings = Mappings(Binding(CLINIC, Release.R4))
    patients = [one.patient for one in newest() if isinstance(one, Session)]
    for code, count in RHYTHMS:
        for number, patient in enumerate(dict.fromkeys(patients)):
            if number < count:
                coding = Coding(system="http://snomed.info/sct", code=code)
                sign = VitalSign(
                    id=f"rhythm-{code}-{number}",
                    revision=1,
                    patient=patient,
                    status="final",
                    measured_at=DateTime("2026-01-05T10:00:00-05:00"),
                    sign="heart_rhythm",
                    finding=Concept(codings=(coding,)),
                )
                yield mappings.to_fhir(sign).parts[0].resource


def test_codes_of_others_are_shown_where_enough_patients_have_them(source: Path, tmp_path: Path) -> None:
    """They are counted before any is shown: records that have one are read once more."""
    place = write_source(tmp_path / "other", [*map(parse_object, lines_of(source)), *rhythms(source)])
    profile = Profile.load("shifted")
    asked = request(place, tmp_path / "out")
    two = replace(profile, codes=replace(profile.codes, fewest_patients=2))
    folder = build(replace(asked, profile=two)).folder
    found = Counter(
        row["finding"] for row in rows(folder, "vitals") if row["sign"] == "heart_rhythm" and row["finding"]
    )
    assert found["64730000"] == 2
    assert found.keys() == {"64730000", "masked"}


def test_beside_the_clinics_own_consents_those_of_the_source_only_forbid(source: Path, tmp_path: Path) -> None:
    """With a ledger that knows nothing, nothing is permitted, whatever the source says."""
    again = built(source, tmp_path / "out", clinics=lambda identity: [])
    assert {table["rows"] for table in again.manifest["tables"].values()} == {0}
    assert list(check(again.folder)) == []


@pytest.mark.long
def test_a_record_at_two_servers_is_one_record(source: Path, dataset: Built, tmp_path: Path) -> None:
    """The same records under other addresses, in two subfolders: every row once."""
    both = tmp_path / "both"
    write_source(both / "one", map(parse_object, lines_of(source)))
    write_source(both / "two", ({**tree, "id": f"x{tree['id'][1:]}"} for tree in map(parse_object, lines_of(source))))
    again = built(both, tmp_path / "out")
    assert again.manifest["content_hash"] == dataset.manifest["content_hash"]


# ------------------------------------------------------------------------------------------------ whole or nothing
def test_a_leak_leaves_nothing(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.LeakCheck, "check_file", lambda self, path: [Leak(path.name, "", "name")])
    with pytest.raises(Leaking) as caught:
        built(source, tmp_path / "out")
    assert caught.value.leaks
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("when", ["de-identifying", "checking"])
def test_an_interruption_leaves_nothing(source: Path, tmp_path: Path, when: str) -> None:
    def tick(what: str, count: int) -> None:
        if what.startswith(when):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(request(source, tmp_path / "out"), tick)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.long
def test_two_builds_at_once_do_not_overwrite_each_other(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def tick(what: str, count: int) -> None:
        if what == "checking for leaks":
            (out / "v0001").mkdir(exist_ok=True)

    with pytest.raises(datasets.UsageError):
        build(request(source, out), tick)
    assert [path.name for path in out.iterdir()] == ["v0001"]


# ------------------------------------------------------------------------------------------------ what is in the folder
def test_a_dataset_checks_and_any_change_is_found(dataset: Built, tmp_path: Path) -> None:
    assert list(check(dataset.folder)) == []
    for change in (spoil_text, spoil_rows, lose_file, add_file):
        copy = Path(shutil.copytree(dataset.folder, tmp_path / change.__name__))
        change(copy)
        assert list(check(copy)), change.__name__


def spoil_text(folder: Path) -> None:
    with (folder / "README.md").open("a", encoding="utf-8") as file:
        file.write("x")


def spoil_rows(folder: Path) -> None:
    path = folder / "vitals.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)
    tree = json.loads((folder / "manifest.json").read_text("utf-8"))
    tree["files"]["vitals.parquet"] = datasets.manifest.file_hashes(folder)["vitals.parquet"]
    (folder / "manifest.json").write_text(json.dumps(tree), "utf-8")


def lose_file(folder: Path) -> None:
    (folder / "CITATION.cff").unlink()


def add_file(folder: Path) -> None:
    (folder / "names.csv").write_text("x", "utf-8")


def test_every_table_has_the_declared_columns_with_their_meaning(dataset: Built) -> None:
    entries = json.loads((dataset.folder / "dictionary.json").read_text("utf-8"))
    for name, shape in TABLES.items():
        schema = pq.read_schema(dataset.folder / f"{name}.parquet")
        assert schema.names == [one["column"] for one in entries if one["table"] == name]
        for field in schema:
            declared = shape.column(field.name)
            assert field.metadata[b"meaning"].decode() == declared.meaning
            assert field.metadata.get(b"unit", b"").decode() == (declared.unit or "")
            assert pa.types.is_dictionary(field.type) == (declared.type == "dictionary")


def test_rows_stand_in_the_order_of_their_keys(dataset: Built) -> None:
    """So that their order says nothing about the source."""
    for name, shape in TABLES.items():
        keys = [tuple(row[one] for one in shape.key) for row in rows(dataset.folder, name)]
        assert keys == sorted(set(keys)), name


def test_the_duckdb_file_opens_read_only_from_elsewhere(
    dataset: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with duckdb.connect(str(dataset.folder / "dataset.duckdb"), read_only=True) as database:
        for name in TABLES:
            (count,) = database.execute(f'select count(*) from "{name}"').fetchall()[0]  # noqa: S608 - a known name
            assert count == dataset.manifest["tables"][name]["rows"]
        assert (
            database.execute("select count(*) from sdtm.ae").fetchall()
            == database.execute("select count(*) from adverse_events").fetchall()
        )


def test_sdtm_has_its_names_and_the_rows_of_the_tables(dataset: Built) -> None:
    folder = dataset.folder
    vitals = pq.read_table(folder / "sdtm" / "vs.parquet").to_pylist()
    ours = [row for row in rows(folder, "vitals") if row["sign"] != "heart_rhythm"]
    assert Counter(row["VSORRES"] for row in vitals) == Counter(row["value"] for row in ours)
    assert {row["VSTESTCD"] for row in vitals} >= {"SYSBP", "DIABP", "HR", "OXYSAT"}
    for name in ("dm", "ex", "vs", "ae", "qs"):
        with (folder / "sdtm" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            head = next(csv.reader(file))
        assert head[:3] == ["STUDYID", "DOMAIN", "USUBJID"]
        assert head == pq.read_schema(folder / "sdtm" / f"{name}.parquet").names
    sequences = Counter((row["USUBJID"], row["VSSEQ"]) for row in vitals)
    assert set(sequences.values()) <= {1}


@pytest.mark.long
def test_safe_harbor_has_no_moment_at_all(source: Path, tmp_path: Path) -> None:
    again = built(source, tmp_path / "out", profile="safe-harbor")
    for path in [*again.folder.glob("*.parquet"), *again.folder.glob("sdtm/*.parquet")]:
        assert not [field.name for field in pq.read_schema(path) if pa.types.is_timestamp(field.type)], path.name
    assert {row["first_dose_year"] for row in rows(again.folder, "patients")} <= {None, 2025, 2026}
    assert list(check(again.folder)) == []


def test_the_same_versions_have_no_difference(dataset: Built) -> None:
    found = compare(dataset.folder, dataset.folder)
    assert all(one["counts"] == {"added": 0, "changed": 0, "removed": 0} for one in found["tables"].values())


# ------------------------------------------------------------------------------------------------ the command
def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FHIRBRIDGE")}
    command = [sys.executable, "-c", "from fhirbridge.cli.main import main; main()", "dataset", *words]
    return subprocess.run(command, cwd=cwd, env=environ, check=False, capture_output=True, text=True)


@pytest.mark.long
def test_the_commands_build_show_check_and_compare(source: Path, dataset: Built, tmp_path: Path) -> None:
    options: Iterable[str] = (
        "build", str(source), "--out", "out", "--profile", "shifted", "--at", "2026-09-01T00:00:00Z", "--json",
        "--study", "https://clinic.example/sid/study|KET-OUTCOMES",
        "--recipient", "https://clinic.example/sid/organization|UNIV",
    )  # fmt: skip
    made = run(*options, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    tree = json.loads(made.stdout)
    assert tree["counts"]["patients"] == OPTIONS.patients
    assert {name: one["rows"] for name, one in tree["tables"].items()} == {
        name: one["rows"] for name, one in dataset.manifest["tables"].items()
    }
    assert run("check", "out/v0001", cwd=tmp_path).returncode == 0
    assert "systolic" in run("show", "out/v0001", cwd=tmp_path).stderr
    assert run("diff", "out/v0001", "out/v0001", cwd=tmp_path).returncode == 0
    (tmp_path / "out" / "v0001" / "README.md").unlink()
    assert run("check", "out/v0001", cwd=tmp_path).returncode == 1
    assert run("show", "nowhere", cwd=tmp_path).returncode == 2
    assert run("build", "nowhere", "--out", "out", cwd=tmp_path).returncode == 2
