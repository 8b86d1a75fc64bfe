"""The parts of a build, each by itself: places, copies, hashes, spans."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirbridge.fhir.json import dump
from fhirbridge.records import Amount, DateTime
from fhirbridge.records.plausible import RANGES
from fhirbridge.research import arrow, intake
from fhirbridge.research.columns import OTHER, Column
from fhirbridge.research.copies import Copies, outdated
from fhirbridge.research.manifest import shown
from fhirbridge.research.people import people
from fhirbridge.research.source import Piece, items, pieces
from fhirbridge.research.survey import Chart, Survey
from fhirbridge.research.tables import OF_RECORDS, TABLES
from fhirbridge.research.tables.values import STANDARD, minutes, moment, seconds, span, standard

in_a_file = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)


# ------------------------------------------------------------------------------------------------ reading
@in_a_file
@given(st.lists(st.integers(0, 400), max_size=40), st.integers(1, 600))
def test_a_file_cut_anywhere_gives_the_same_items(tmp_path: Path, lengths: list[int], size: int) -> None:
    """However large a piece is, every line is in exactly one, in order."""
    lines = [dump({"resourceType": "Basic", "id": f"b{n}", "x": "y" * length}) for n, length in enumerate(lengths)]
    file = tmp_path / "Basic.ndjson"
    file.write_bytes(b"".join(line + b"\n" for line in lines) or b"\n")
    found = [item.body for piece in pieces([str(tmp_path)], size=size) for item in items(piece)]
    assert found == lines


def test_lines_bundles_arrays_and_gzip_give_the_same_resources(tmp_path: Path) -> None:
    trees = [{"resourceType": "Basic", "id": f"b{n}"} for n in range(3)]
    bundle = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": tree} for tree in trees]}
    ways = {
        "a.ndjson": b"\n".join(map(dump, trees)),
        "b.json": json.dumps(bundle, indent=1).encode(),
        "c.json": dump(trees),
        "d.ndjson.gz": gzip.compress(b"\n".join(map(dump, trees))),
        "e.ndjson": dump(bundle),
    }
    for name, data in ways.items():
        place = tmp_path / name.partition(".")[0]
        place.mkdir()
        (place / name).write_bytes(data)
        (piece,) = pieces([str(place)])
        assert [json.loads(item.body) for item in items(piece)] == trees, name


def test_what_is_no_resource_is_a_fault_in_its_place(tmp_path: Path) -> None:
    file = tmp_path / "x.ndjson"
    good = b'{"resourceType":"Basic","id":"1"}'
    file.write_bytes(good + b"\n{broken\n\xff\xfe\n" + good + b"\n")
    found = list(items(Piece(str(file), "")))
    assert [(item.line, item.fault is None) for item in found] == [(1, True), (2, False), (3, False), (4, True)]


def test_two_folders_are_two_servers_and_a_subfolder_is_one(tmp_path: Path) -> None:
    for place in ("one/site", "one/other", "two"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "Basic.ndjson").write_text("{}\n")
    assert {piece.origin for piece in pieces([str(tmp_path / "one")])} == {"site", "other"}
    both = pieces([str(tmp_path / "one"), str(tmp_path / "two")])
    assert len({piece.origin for piece in both}) == 3


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 3)), max_size=30), st.integers(1, 30))
def test_of_each_address_the_newest_copy_counts(versions: list[tuple[int, int, int]], cut: int) -> None:
    """By the time of the last update, then the version, then the place: as a plain search for the maximum finds."""
    parts: list[Copies] = []
    for start in range(0, max(len(versions), 1), cut):
        copies = Copies()
        for place, (own, day, version) in enumerate(versions[start : start + cut]):
            meta = {"versionId": str(version), "lastUpdated": f"2026-01-0{day + 1}T00:00:00Z"}
            tree = {"resourceType": "Basic", "id": f"b{own}", "meta": meta}
            # Both ways of reading it: as nearly all begin, and with the id first.
            turned = dict(reversed(tree.items())) if version == 2 else tree
            copies.add("", dump(turned), (len(parts), place))
        parts.append(copies)
    found = outdated(parts)
    kept = {
        (number * cut + place)
        for number, copies in enumerate(parts)
        for place in range(len(copies.who))
        if place not in found[number]
    }
    best: dict[int, tuple[int, int, int]] = {}
    for place, (own, day, version) in enumerate(versions):
        best[own] = max(best.get(own, (-1, -1, -1)), (day, version, place))
    assert kept == {place for _, _, place in best.values()}


def test_a_deletion_without_a_time_is_for_good() -> None:
    copies = Copies()
    copies.add_deleted("", "Basic", "b1", None)
    copies.add(
        "", b'{"resourceType":"Basic","id":"b1","meta":{"versionId":"9","lastUpdated":"2030-01-01T00:00:00Z"}}', (0, 1)
    )
    assert outdated([copies]) == [{1}]


def test_what_only_a_server_says_of_its_copy_is_taken_away_and_nothing_else() -> None:
    body = (
        b'{"resourceType":"Observation","id":"5","meta":{"versionId":"1","lastUpdated":"2026-01-01T00:00:00Z",'
        b'"source":"x"},"note":[{"text":"\\"reference\\":\\"Patient/1\\",\\"type\\":\\"x\\",\\"identifier\\":{"}],'
        b'"subject":{"reference":"Patient/5"},'
        b'"partOf":[{"reference":"Procedure/2","type":"Procedure","identifier":{"system":"a","value":"b"}}]}'
    )
    tree = json.loads(body)
    found = json.loads(intake.bare(body))
    del tree["meta"]["versionId"], tree["meta"]["lastUpdated"], tree["partOf"][0]["reference"]
    assert found == tree
    far = json.loads(intake.bare(body, "site"))
    assert far["subject"]["reference"] != "Patient/5"
    assert far["subject"]["reference"] == intake.address("site", "Patient/5")


# ------------------------------------------------------------------------------------------------ people
def chart(address: str, *identifiers: str, replaced_by: str | None = None) -> Chart:
    return Chart(0, address, identifiers, replaced_by, {})


def test_one_patient_with_many_names_is_one_patient() -> None:
    found = people(
        [Survey(charts=[chart("Patient/1", "own|P-1", "mrn|7"), chart("Patient/9", "mrn|7")])], [set()], "own"
    )
    assert {found.identity(name) for name in ("Patient/1", "Patient/9", "mrn|7", "own|P-1")} == {"own|P-1"}


def test_two_own_identifiers_that_nobody_merged_are_a_doubt() -> None:
    """Wrong-patient doubts fail closed: nothing that goes by such a name is used."""
    charts = [chart("Patient/1", "own|P-1", "mrn|7"), chart("Patient/2", "own|P-2", "mrn|7")]
    found = people([Survey(charts=charts)], [set()], "own")
    assert {found.identity(name) for name in ("Patient/1", "Patient/2", "own|P-1", "mrn|7")} == {None}


def test_a_merged_chart_means_whom_it_was_merged_into() -> None:
    charts = [chart("Patient/1", "own|P-1", replaced_by="Patient/2"), chart("Patient/2", "own|P-2")]
    found = people([Survey(charts=charts)], [set()], "own")
    assert {found.identity(name) for name in ("Patient/1", "Patient/2", "own|P-1")} == {"own|P-2"}


# ------------------------------------------------------------------------------------------------ cells
COLUMNS = (
    Column("text", "a text", "code"),
    Column("number", "a number", "number"),
    Column("count", "a count", "integer"),
    Column("flag", "a flag", "boolean"),
    Column("at", "a moment", "shifted-time"),
)
ROW = st.tuples(
    st.none() | st.text(max_size=5),
    st.none() | st.floats(allow_nan=False),
    st.none() | st.integers(-(2**31), 2**31 - 1),
    st.none() | st.booleans(),
    st.none() | st.integers(0, 2**50),
)


def hashed(rows: list[tuple[object, ...]], cut: int) -> str:
    schema = arrow.schema(COLUMNS)
    found = arrow.TableHash(COLUMNS)
    for start in range(0, len(rows), cut):
        columns = zip(*rows[start : start + cut], strict=True)
        arrays = [
            pa.array(values, pa.string()).dictionary_encode()
            if pa.types.is_dictionary(one.type)
            else pa.array(values, one.type)
            for values, one in zip(columns, schema, strict=True)
        ]
        found.add(pa.record_batch(arrays, schema))
    return found.hexdigest()


@given(st.lists(ROW, min_size=1, max_size=20), st.integers(1, 20))
def test_where_a_batch_ends_changes_no_hash(rows: list[tuple[object, ...]], cut: int) -> None:
    assert hashed(rows, cut) == hashed(rows, len(rows))


@given(st.lists(ROW, min_size=1, max_size=6), st.data())
def test_another_value_is_another_hash(rows: list[tuple[object, ...]], data: st.DataObject) -> None:
    """Nothing, an empty text, 0 and no are four things."""
    place, column = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.integers(0, 4))
    other = data.draw(ROW)
    changed = [list(row) for row in rows]
    changed[place][column] = other[column]
    same = str(changed[place][column]) == str(rows[place][column])
    assert same == (hashed(rows, 9) == hashed([tuple(row) for row in changed], 9))


@pytest.mark.parametrize(
    ("sign", "unit"), [(sign, unit) for sign in STANDARD for unit in RANGES[sign]], ids=lambda one: one
)
def test_every_unit_of_a_vital_sign_leads_to_the_standard_one(sign: str, unit: str) -> None:
    """And the plausible range stays about where it is in the standard unit."""
    low = standard(float(RANGES[sign][unit].low), unit, STANDARD[sign])
    assert low is not None
    wide = RANGES[sign][STANDARD[sign]]
    assert float(wide.low) * 0.9 - 2 <= low <= float(wide.low) * 1.1 + 4


@given(st.integers(0, 4_000_000), st.integers(-14 * 60, 14 * 60), st.integers(-14 * 60, 14 * 60))
def test_a_span_does_not_see_the_zone(minute: int, first: int, second: int) -> None:
    def at(moment: int, offset: int) -> DateTime:
        import datetime as dt

        zone = dt.timezone(dt.timedelta(minutes=offset))
        return DateTime(
            (dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(minutes=moment)).astimezone(zone).isoformat()
        )

    assert span(seconds(at(0, first)), seconds(at(minute, second))) == minute


def test_a_leap_second_and_a_fraction_are_moments_and_a_day_is_its_beginning() -> None:
    assert seconds(DateTime("2026-06-30T23:59:60Z")) == seconds(DateTime("2026-07-01T00:00:00Z"))
    assert moment(DateTime("1970-01-01T00:00:00.000001Z")) == 1
    assert seconds(DateTime("2026-01-01")) is None
    assert moment(DateTime("1970-01-02")) == 86_400_000_000


@pytest.mark.parametrize(
    ("value", "unit", "wanted"), [("90", "s", 1.5), ("1.5", "h", 90), ("2", "d", 2880), ("-5", "min", -5)]
)
def test_spans_come_in_minutes(value: str, unit: str, wanted: float) -> None:
    from fhirbridge.records import Decimal

    assert minutes(Amount(value=Decimal(value), unit=unit)) == wanted


# ------------------------------------------------------------------------------------------------ declarations
def test_every_column_is_declared_in_full() -> None:
    """A meaning, a source, a closed list for words of the records; keys exist; no name twice."""
    for shape in TABLES.values():
        names = [one.name for one in shape.columns]
        assert len(set(names)) == len(names)
        assert set(shape.key) <= set(names)
        for one in shape.columns:
            assert one.meaning, (shape.name, one.name)
            assert one.source, (shape.name, one.name)
            assert "entered_in_error" not in (one.vocabulary or ())
    assert all(shape.columns[0].name == "patient" for shape in TABLES.values())
    assert all(shape.columns[1].class_ == "pseudonym" for shape in OF_RECORDS.values())
    assert OTHER not in (TABLES["vitals"].column("status").vocabulary or ())


def test_small_counts_are_not_told() -> None:
    assert [shown(count) for count in (0, 1, 4, 5, 100)] == ["0", "<5", "<5", "5", "100"]
