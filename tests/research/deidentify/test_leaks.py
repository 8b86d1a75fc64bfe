"""The leak check finds what must not be in a dataset, and nothing else; k-anonymity is counted."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from fhirbridge.records import VitalSign, parse
from fhirbridge.research.columns import Column
from fhirbridge.research.deidentify import (
    Deidentifier,
    Leak,
    LeakCheck,
    Person,
    Profile,
    ProjectKey,
    SourceFacts,
    kanonymity,
)

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
duckdb = pytest.importorskip("duckdb")

KEY = ProjectKey(b"a project key for tests, 32 byte", "TEST")
DOSE = dt.datetime.fromisoformat("2026-06-17T10:20:30-04:00")
SHIFTED = Profile.load("shifted")
OWN = ("Major depression: see the README of Brown University",)
PATIENT = {
    "resourceType": "Patient", "id": "pat-4711", "identifier": [{"value": "MRN-0815"}, {"value": "10005750"}],
    "name": [{"family": "Müller-Brown", "given": ["Zoë", "Ang"]}], "birthDate": "1980-02-03",
    "telecom": [{"value": "+1 (603) 555-0142"}, {"value": "zoe.m@clinic.example"}],
    "address": [{"line": ["17 Main Street"], "city": "Keene"}],
    "contact": [{"name": {"family": "Oberhauser"}}],
}  # fmt: skip
COLUMNS = (
    Column("patient", "who", "pseudonym"),
    Column("vital", "which", "pseudonym"),
    Column("sign", "what", "code", vocabulary=("heart_rate", "brown")),
    Column("method", "how", "code"),
    Column("value", "how much", "number"),
    Column("count", "how often", "integer"),
    Column("measured_at", "when", "shifted-time"),
    Column("year", "when", "year"),
    Column("band", "how old", "band"),
)


class World:
    """One patient with one vital sign, de-identified, and what the source said."""

    def __init__(self, profile: Profile = SHIFTED, days: int | None = None) -> None:
        work = Deidentifier(profile, KEY)
        person = work.person("P-1", first_dose=DOSE)
        if days is not None:
            person = Person(person.pseudonym, dt.timedelta(days), DOSE)
        self.person, self.facts, self.profile = person, SourceFacts(OWN), profile
        self.facts.begin(person.pseudonym, work.course(person).clock)
        self.facts.resource(PATIENT, person.pseudonym)
        for number, moment in enumerate(("2026-06-17T11:00:00-04:00", "2026-06-24T11:00:00-04:00")):
            tree = {
                "id": f"V-{number}", "revision": 1, "status": "final", "measured_at": moment, "sign": "heart_rate",
                "patient": {"type": "Patient", "literal": "Patient/pat-4711"},
                "readings": [{"name": "value", "value": 80, "unit": "/min"}],
            }  # fmt: skip
            record = parse(VitalSign, tree)
            self.facts.record(record, person.pseudonym)
            if number == 0:
                self.record: Any = work.record(record, person).record

    def check(self) -> LeakCheck:
        return LeakCheck(self.facts, self.profile)

    def table(self, **other: Any) -> Any:
        values = {
            "patient": self.person.pseudonym, "vital": self.record.id, "sign": "brown", "method": "8867-4",
            "value": 80.0, "count": 1, "measured_at": self.record.measured_at, "year": 2026, "band": "35-44",
        } | other  # fmt: skip
        text, moment = pa.string(), pa.timestamp("us", "UTC")
        word = pa.dictionary(pa.int32(), text)
        types = [text, text, word, text, pa.float64(), pa.int32(), moment, pa.int32(), text]
        if isinstance(values["measured_at"], str):
            values["measured_at"] = dt.datetime.fromisoformat(values["measured_at"])
        return pa.table(
            {name: pa.array([value], type_) for (name, value), type_ in zip(values.items(), types, strict=True)}
        )

    def leaks(self, **other: Any) -> set[tuple[str, str]]:
        return {(leak.column, leak.rule) for leak in self.check().check_table(self.table(**other), COLUMNS, "vitals")}


def test_a_table_without_leaks_has_none() -> None:
    """A word of a closed list is no name, whoever the patient is: "brown"."""
    assert World().leaks() == set()


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("patient", "P-1", "pseudonym"),
        ("vital", "V-0", "pseudonym"),
        ("vital", "V-0", "identifier"),
        ("sign", "hart_rate", "vocabulary"),
        ("method", "two words", "code"),
        ("method", "x" * 65, "code"),
        ("method", "mueller,MÜLLER", "name"),
        ("method", "Oberhauser", "name"),
        ("method", "6035550142", "name"),
        ("method", "603-555-0142", "name"),
        ("method", "17-Main-Street", "name"),
        ("method", "zoe.m@clinic.example", "name"),
        ("method", "MRN-0815", "identifier"),
        ("method", "10005750", "identifier"),
        ("count", 10005750, "identifier"),
        ("value", 10005750.0, "identifier"),
        ("measured_at", "2026-06-17T11:00:00-04:00", "date"),
        ("measured_at", "2026-06-24T11:00:00-04:00", "date"),
        ("measured_at", "2026-06-24T11:00:00+00:00", "date"),
        ("year", 1234, "year"),
        ("band", "Oberhauser", "band"),
    ],
)
def test_each_leak_is_found_in_its_column(column: str, value: Any, rule: str) -> None:
    if (column, rule) == ("vital", "identifier"):
        assert World().leaks(vital="V-0") == {("vital", "pseudonym"), ("vital", "identifier")}
        return
    assert (column, rule) in World().leaks(**{column: value})


def test_the_number_of_somebody_else_is_no_find() -> None:
    assert World().leaks(patient="B" * 20, method="10005750") == set()


def test_a_moved_date_may_meet_another_of_the_patient_by_chance() -> None:
    """A week's shift puts the first session where the second was."""
    world = World(days=7)
    assert world.record.measured_at == "2026-06-24T11:00:00+00:00"
    local = World(days=7)
    assert local.leaks(measured_at="2026-06-24T11:00:00+00:00") == set()
    assert local.leaks(measured_at="2026-06-17T11:00:00-04:00") == {("measured_at", "date")}


def test_a_column_that_nobody_declared_is_found_and_one_that_is_missing() -> None:
    world = World()
    table = world.table().append_column("remark", pa.array(["hello"])).drop_columns(["year"])
    found = world.check().check_table(table, COLUMNS, "vitals")
    # The name of a column that nobody declared may be anybody's name.
    assert set(found) == {Leak("vitals", "", "undeclared"), Leak("vitals", "year", "missing")}


def test_a_column_of_another_type_is_found() -> None:
    world = World()
    table = world.table().set_column(4, "value", pa.array(["80"]))
    assert world.check().check_table(table, COLUMNS, "vitals") == [Leak("vitals", "value", "type")]


def test_safe_harbor_has_no_column_of_dates() -> None:
    assert ("measured_at", "class") in World(Profile.load("safe-harbor")).leaks()


def test_a_limited_data_set_has_the_dates_of_the_source() -> None:
    world = World(Profile.load("limited"))
    assert world.record.measured_at == "2026-06-17T11:00:00-04:00"
    assert world.leaks() == set()


def test_metadata_of_a_table_is_searched() -> None:
    world = World()
    table = world.table().replace_schema_metadata({"made for": "Oberhauser"})
    assert world.check().check_table(table, COLUMNS, "vitals") == [Leak("vitals", "(metadata)", "name")]


def test_words_that_the_program_itself_writes_are_no_find() -> None:
    check = World().check()
    assert check.check_text(OWN[0], "README.md") == []
    assert check.check_text("seen by Oberhauser", "README.md") == [Leak("README.md", "", "name")]


@pytest.mark.parametrize("where", ["metadata", "values"])
def test_the_metadata_and_statistics_of_a_parquet_file_are_searched(where: str, tmp_path: Path) -> None:
    world = World()
    path = tmp_path / "vitals.parquet"
    table = world.table(method="Oberhauser") if where == "values" else world.table()
    if where == "metadata":
        table = table.replace_schema_metadata({"made for": "Oberhauser"})
    pq.write_table(table, path, compression="zstd")
    assert {leak.rule for leak in world.check().check_file(path)} == {"name"}
    pq.write_table(world.table(), path, compression="zstd")
    assert world.check().check_file(path) == []


def test_the_bytes_of_a_duckdb_file_are_searched(tmp_path: Path) -> None:
    world = World()
    path = tmp_path / "dataset.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table t as select 'shown' as word")
    assert world.check().check_file(path) == []
    with duckdb.connect(str(path)) as connection:
        connection.execute("comment on table t is 'made for Oberhauser'")
    assert {leak.rule for leak in world.check().check_file(path)} == {"name"}


def test_a_name_across_the_border_of_two_chunks_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhirbridge.research.deidentify.leaks._CHUNK", 512)
    world, path = World(), tmp_path / "rows.csv"
    for start in range(500, 520):
        path.write_text("x," * (start // 2) + "," * (start % 2) + "Oberhauser," + "y," * 200)
        assert world.check().check_file(path) != [], start


def test_a_tree_is_searched_as_a_table_is() -> None:
    world = World()
    who, check = world.person.pseudonym, world.check()
    fine = {"id": world.record.id, "measured_at": str(world.record.measured_at), "subject": f"Patient/{who}"}
    assert check.check_tree(fine, who, "vitals.ndjson") == []
    for wrong, rule in (
        ({"a": "2026-06-17T15:00:00Z"}, "date"), ({"a": "2026-06-17T11:00:00Z"}, "date"),
        ({"a": ["2026-06-17"]}, "date"),
        ({"a": {"b": "MRN-0815"}}, "identifier"), ({"a": "Zoë Müller"}, "name"),
    ):  # fmt: skip
        assert [leak.rule for leak in check.check_tree(wrong, who, "vitals.ndjson")] == [rule]


def test_what_two_processes_found_is_put_together() -> None:
    secret = b"16 bytes of it !"
    one, other = SourceFacts(secret=secret), SourceFacts(secret=secret)
    world = World()
    work = Deidentifier(SHIFTED, KEY)
    stranger = work.person("P-9", first_dose=DOSE)
    one.begin(stranger.pseudonym, work.course(stranger).clock)
    other.begin(world.person.pseudonym, work.course(world.person).clock)
    other.resource(PATIENT | {"extension": [{"valueDateTime": "2026-06-17T11:00:00-04:00"}]}, world.person.pseudonym)
    one.merge(other)
    world.facts = one
    assert world.leaks(measured_at="2026-06-17T11:00:00-04:00") == {("measured_at", "date")}
    assert ("method", "name") in world.leaks(method="Oberhauser")
    with pytest.raises(ValueError, match="secret"):
        one.merge(SourceFacts())


def test_no_find_shows_a_value() -> None:
    world = World()
    told = " ".join(map(str, world.check().check_table(world.table(method="Oberhauser"), COLUMNS, "vitals")))
    assert "Oberhauser" not in told + repr(world.facts) + repr(world.facts.tokens)


def test_k_is_the_size_of_the_smallest_group() -> None:
    table = pa.table(
        {"sex": pa.array(["f"] * 6 + ["m", "m", None]).dictionary_encode(), "band": ["a"] * 8 + ["b"], "x": range(9)}
    )
    found = kanonymity(table, ["sex", "band"])
    assert (found.k, found.groups, found.rows) == (1, 3, 9)
    assert found.below == {2: 1, 5: 3, 11: 9}
    assert kanonymity(table, []).k == 9
    assert kanonymity(table.slice(0, 0), ["sex"]).k == 0
    with pytest.raises(KeyError):
        kanonymity(table, ["nothing"])
