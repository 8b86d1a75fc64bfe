"""Lines of a source: records, their faults, and reject files that can be corrected and fed back."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.errors import ConfigError, SourceError
from fhirbridge.fhir.json import canonical
from fhirbridge.records import Assessment, Session, VitalSign, to_json
from fhirbridge.sources import Line, SourceShape, WholeFile, open_source, write_record, write_reject
from fhirbridge.sources.columns import ColumnMap
from fhirbridge.sources.documents import from_lines
from fhirbridge.sources.lines import Models, from_documents

MODELS: Models = {"session": Session, "vital_sign": VitalSign, "assessment": Assessment}
PATIENT = {"type": "Patient", "identifier": {"system": "https://clinic.example/sid/patient", "value": "P-1"}}
RATE: dict[str, Any] = {
    "kind": "vital_sign", "id": "v1", "revision": 1, "patient": PATIENT, "sign": "heart_rate", "status": "final",
    "measured_at": "2026-11-20T10:00:00-05:00", "readings": [{"name": "value", "value": 72, "unit": "/min"}],
}  # fmt: skip
CANARY = "Zebulon Q. Canary"


def read(path: Path, shape: SourceShape | None = None) -> list[Line]:
    with open_source(str(path), MODELS, shape) as lines:
        return list(lines)


def written(folder: Path, *lines: str) -> Path:
    path = folder / "records.ndjson"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def codes(line: Line) -> list[tuple[str, str]]:
    return [(fault.path, fault.code) for fault in line.faults]


def from_line(line: bytes) -> Line:
    (found,) = from_documents(from_lines(io.BytesIO(line), "rejects.ndjson"), MODELS)
    return found


@given(st.integers(30, 199), st.text("0123456789", max_size=8))
def test_a_number_keeps_its_text_from_a_line_to_a_line(whole: int, fraction: str) -> None:
    number = f"{whole}.{fraction}" if fraction else str(whole)
    found = from_line(json.dumps(RATE).replace("72", number).encode())
    assert found.record is not None, found.faults
    assert f'"value":{number},'.encode() in write_record(found.record)


def test_a_wrapped_record_keeps_its_residue_and_a_flat_one_is_written_flat(tmp_path: Path) -> None:
    fields = {name: value for name, value in RATE.items() if name != "kind"}
    residue = [{"op": "add", "path": "text.status", "value": "generated"}]
    wrapped = {"kind": "vital_sign", "record": fields, "residue": residue}
    flat, other = read(written(tmp_path, json.dumps(RATE), json.dumps(wrapped)))
    assert flat.record is not None
    assert other.record is not None
    assert canonical(to_json(flat.record)) == canonical(to_json(other.record))
    assert json.loads(write_record(flat.record)) == RATE
    assert json.loads(write_record(other.record, other.residue)) == wrapped


def test_every_fault_of_a_record_comes_at_once_and_good_records_go_on(tmp_path: Path) -> None:
    bad = RATE | {"measured_at": "2026-11-20T10:00:00", "sttus": "final"}
    del bad["status"]
    lines = read(written(tmp_path, json.dumps(bad), json.dumps(RATE)))
    assert {path for path, _ in codes(lines[0])} >= {"measured_at", "sttus", "status"}
    assert lines[0].line == 1
    assert lines[1].record is not None


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("{", "json"),
        ('{"a":1,"a":2}', "json"),
        ('{"a":NaN}', "json"),
        ("[1]", "json.object"),
        ('{"kind":"sesion"}', "record.kind"),
        ('{"kind":7}', "record.kind"),
        ("{}", "record.kind"),
        ('{"kind":"session","record":7}', "record.wrapped"),
        ('{"kind":"session","record":{},"residue":[],"more":1}', "record.wrapped"),
        ('{"kind":"session","record":{},"residue":[7]}', "residue.entry"),
    ],
)
def test_a_line_that_is_no_record_has_a_typed_fault(tmp_path: Path, line: str, code: str) -> None:
    (found,) = read(written(tmp_path, line))
    assert code in {fault.code for fault in found.faults}
    assert found.raw == line


def test_an_unknown_kind_names_the_nearest(tmp_path: Path) -> None:
    (found,) = read(written(tmp_path, '{"kind":"sesion"}'))
    assert found.faults[0].hint == "did you mean session?"


def test_no_fault_quotes_a_value(tmp_path: Path) -> None:
    lines = (
        json.dumps(RATE | {"measured_at": CANARY}),
        json.dumps(RATE | {"patient": CANARY}),
        json.dumps({"kind": CANARY}),
        '{"kind":"session","' + CANARY + '":1',
        json.dumps({"kind": "session", "record": {}, "residue": [{"op": CANARY}]}),
    )
    for line in read(written(tmp_path, *lines)):
        assert line.faults
        assert CANARY not in "".join(map(str, line.faults))
        assert CANARY not in repr(line)


@given(st.integers(0, 3), st.text(max_size=30))
def test_a_corrected_reject_is_read_as_the_record_it_became(extra: int, note: str) -> None:
    broken = json.dumps(RATE | {"notes": [{"text": f"x{note}"}]})[: -1 - extra]
    again = write_reject(Line("original.ndjson", 7, faults=from_line(broken.encode()).faults, raw=broken))
    still = from_line(again)
    assert (still.file, still.line, still.raw) == ("original.ndjson", 7, broken)
    assert still.faults
    good = from_line(json.dumps(json.loads(again) | {"raw": json.dumps(RATE)}).encode())
    assert good.record is not None
    assert (good.file, good.line) == ("original.ndjson", 7)


def test_a_line_of_broken_utf8_stays_refused_until_it_is_corrected(tmp_path: Path) -> None:
    path = tmp_path / "f.ndjson"
    path.write_bytes(json.dumps(RATE | {"notes": [{"text": "caf@"}]}).encode().replace(b"@", b"\xe9") + b"\n")
    (refused,) = read(path)
    path.write_bytes(write_reject(refused))
    (still,) = read(path)
    assert still.record is None


# --- CSV

COLUMNS = {
    "id": "ID", "measured_at": "Time", "patient.identifier.value": "MRN", "readings[0].value": "Sys",
    "readings[1].value": "Dia", "sensitivity": "Labels",
}  # fmt: skip
CONSTANTS = {
    "revision": 1, "sign": "blood_pressure", "status": "final",
    "patient.type": "Patient", "patient.identifier.system": "https://clinic.example/sid/patient",
    "readings[0].name": "systolic", "readings[0].unit": "mm[Hg]",
    "readings[1].name": "diastolic", "readings[1].unit": "mm[Hg]",
}  # fmt: skip
SHAPE = SourceShape("csv", "vital_sign", COLUMNS, CONSTANTS)
HEADER = "ID,Time,MRN,Sys,Dia,Labels"


def test_a_row_becomes_a_record_whose_numbers_keep_their_text(tmp_path: Path) -> None:
    row = "v1,2026-11-20T10:00:00-05:00,P-1,120.0,80,substance_use;mental_health"
    (line,) = read(written(tmp_path, HEADER, row), SHAPE)
    assert line.record is not None, line.faults
    tree = to_json(line.record)
    assert [str(one["value"]) for one in tree["readings"]] == ["120.0", "80"]
    assert tree["sensitivity"] == ["substance_use", "mental_health"]


def test_an_empty_cell_takes_the_constants_of_its_group_with_it() -> None:
    made = ColumnMap(VitalSign, COLUMNS, CONSTANTS, ";")
    row = {"ID": "v1", "Time": "2026-11-20T10:00:00-05:00", "MRN": "", "Sys": "120", "Dia": "", "Labels": ""}
    tree = made.tree(row)
    assert [one["name"] for one in tree["readings"]] == ["systolic"]
    assert "identifier" not in tree.get("patient", {})


def test_wrong_cells_are_faults_by_field_and_the_next_row_is_read(tmp_path: Path) -> None:
    rows = (
        "v1,2026-11-20T10:00:00,P-1,a lot,80,",
        "v2,short row",
        'v3,"2026-11-20T10:00:00-05:00"x,P-1,1,2,',
        "v4,2026-11-20T10:00:00-05:00,P-1,120,80,",
    )
    found = read(written(tmp_path, HEADER, *rows), SHAPE)
    assert {path for path, _ in codes(found[0])} == {"measured_at", "readings[0].value"}
    assert [fault.code for line in found[1:3] for fault in line.faults] == ["source.csv_width", "source.csv"]
    assert found[3].record is not None
    assert found[3].line == 5


def test_bytes_that_are_no_text_are_a_fault_of_their_cell(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    good = b"v1,2026-11-20T10:00:00-05:00,P-1,120,80,\n"
    path.write_bytes(HEADER.encode() + b"\nv\xff,2026-11-20T10:00:00-05:00,P-1,120,80,\nv\x00," + good[3:] + good)
    found = read(path, SHAPE)
    assert [codes(line) for line in found] == [[("ID", "source.utf8")], [("ID", "source.nul")], []]


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("ID,Tme,MRN,Sys,Dia,Labels", ["Time", "did you mean Tme?", "Tme"]),
        ("ID,Time,MRN,Sys,Dia,Labels,Extra", ["Extra", "ignore_columns"]),
        ("ID,Time,MRN,Sys,Dia,Labels,ID", ["ID", "twice"]),
        ("ID;Time;MRN;Sys;Dia;Labels", ["delimiter"]),
    ],
)
def test_wrong_columns_refuse_the_file_and_name_the_nearest(tmp_path: Path, header: str, told: list[str]) -> None:
    with pytest.raises(SourceError) as caught:
        read(written(tmp_path, header, "1,2,3,4,5,6"), SHAPE)
    assert all(word in str(caught.value) for word in told)


def test_a_map_to_fields_that_do_not_exist_is_a_configuration_error_that_lists_them_all(tmp_path: Path) -> None:
    columns = {"readngs[0].value": "A", "readings.value": "B", "patient.identifer.value": "C", "a..b": "D"}
    with pytest.raises(ConfigError) as caught:
        read(written(tmp_path, "A,B"), SourceShape("csv", "vital_sign", columns))
    told = str(caught.value)
    assert "did you mean readings?" in told
    assert "did you mean identifier?" in told
    assert told.count("config.unknown_field") == 3
    assert "config.path" in told


def test_csv_without_a_map_says_where_to_write_one(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match=r"source\.NAME"):
        read(tmp_path / "f.csv")


def test_rejects_of_a_csv_source_are_corrected_as_cells(tmp_path: Path) -> None:
    (refused,) = read(written(tmp_path, HEADER, "v1,2026-11-20T10:00:00,P-1,120,80,"), SHAPE)
    reject = json.loads(write_reject(refused))
    reject["raw"]["Time"] = "2026-11-20T10:00:00-05:00"
    path = tmp_path / "rejects.ndjson"
    path.write_text(json.dumps(reject) + "\n")
    (good,) = read(path, SHAPE)
    assert good.record is not None
    (without,) = read(path)
    assert [fault.code for fault in without.faults] == ["reject.source"]


# --- files


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        interrupted(WholeFile(path), keep=False)
    assert [one.name for one in tmp_path.iterdir()] == ["out"]
    assert path.read_text() == "old"
    with pytest.raises(KeyboardInterrupt):
        interrupted(WholeFile(path), keep=True)
    assert path.read_text() == "what was done"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def interrupted(file: WholeFile, *, keep: bool) -> None:
    with file:
        if keep:
            file.keep()
        file.write(b"what was done")
        raise KeyboardInterrupt
