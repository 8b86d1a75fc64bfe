"""Lines of a source: each a record with its residue, or the faults that keep it from being one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from fhirbridge.errors import Fault, JsonError, Refused
from fhirbridge.fhir.json import Tree, dump, parse_object
from fhirbridge.records import Record, parse, to_json
from fhirbridge.residue import Entry
from fhirbridge.sources.columns import ColumnMap
from fhirbridge.sources.documents import Document
from fhirbridge.sources.table import Row

Models: TypeAlias = Mapping[str, type[Record]]


@dataclass(frozen=True, slots=True)
class Line:
    """One item of a source. Either ``record`` is there, with its ``residue``, or ``faults`` are.

    ``raw`` is what a reject file keeps, to be corrected and fed back: the text of the line, or the cells of a CSV row;
    ``None`` where there is nothing that could be corrected in that file.
    """

    file: str
    line: int
    record: Record | None = None
    residue: tuple[Entry, ...] = ()
    faults: tuple[Fault, ...] = ()
    raw: str | Mapping[str, str] | None = field(default=None, repr=False)


def from_documents(documents: Iterable[Document], models: Models, columns: ColumnMap | None = None) -> Iterator[Line]:
    """The lines of JSON texts: records, records with residue, or the lines of a reject file.

    ``models`` are the known kinds; ``columns`` is needed only for a reject file of a CSV source, which has one kind.
    """
    for document in documents:
        if document.fault is not None:
            yield Line(document.file, document.line, faults=(document.fault,), raw=_text(document.data))
            continue
        try:
            tree = parse_object(document.data)
            if is_reject(tree):
                yield _corrected(tree, document, models, columns)
                continue
            record, residue = read_record(tree, models)
        except (JsonError, Refused) as error:
            yield Line(document.file, document.line, faults=faults_of(error), raw=_text(document.data))
        else:
            yield Line(document.file, document.line, record, residue, raw=_text(document.data))


def from_rows(rows: Iterable[Row], columns: ColumnMap) -> Iterator[Line]:
    """The lines of a CSV file whose rows are records of one kind."""
    for row in rows:
        if row.faults:
            yield Line(row.file, row.line, faults=row.faults)
        else:
            yield _from_cells(row.file, row.line, row.cells, columns)


def faults_of(error: JsonError | Refused) -> tuple[Fault, ...]:
    """An error as faults; text that is not JSON has no path."""
    return error.faults if isinstance(error, Refused) else (Fault(error.code, "", error.message, error.hint),)


def read_record(tree: Tree, models: Models) -> tuple[Record, tuple[Entry, ...]]:
    """A record and its residue from one JSON object, flat or wrapped. Raises :class:`Refused` with every fault."""
    kind = tree.get("kind")
    model = models.get(kind) if isinstance(kind, str) else None
    if model is None:
        near = difflib.get_close_matches(kind, models, n=1) if isinstance(kind, str) else []
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(sorted(models))}"
        raise Refused.at("record.kind", "kind", "no kind of record that is known here", hint)
    if "record" not in tree:
        return parse(model, {name: value for name, value in tree.items() if name != "kind"}), ()
    unknown = [name for name in tree if name not in ("kind", "record", "residue")]
    if unknown or not isinstance(tree["record"], dict) or not isinstance(tree.get("residue", []), list):
        raise Refused.at("record.wrapped", "", "a record with residue has kind, record and residue, nothing else")
    return _wrapped(model, tree["record"], tree.get("residue", []))


def _wrapped(model: type[Record], fields: Tree, entries: list[Any]) -> tuple[Record, tuple[Entry, ...]]:
    faults: list[Fault] = []
    residue = []
    record = None
    try:
        record = parse(model, fields)
    except Refused as error:
        faults += error.under("record")
    for position, entry in enumerate(entries):
        try:
            residue.append(Entry.from_json(entry))
        except Refused as error:
            faults += error.under(f"residue[{position}]")
    if faults or record is None:
        raise Refused(faults)
    return record, tuple(residue)


def write_record(record: Record, residue: Iterable[Entry] = ()) -> bytes:
    """A record as one NDJSON line: flat, or wrapped together with its residue when it has one."""
    tree = to_json(record)
    entries = [entry.as_json() for entry in residue]
    if entries:
        kind = tree.pop("kind")
        tree = {"kind": kind, "record": tree, "residue": entries}
    return dump(tree) + b"\n"


def is_reject(tree: Tree) -> bool:
    """Whether a line is one of a reject file."""
    return "kind" not in tree and "file" in tree and "line" in tree and "faults" in tree


def write_reject(line: Line) -> bytes:
    """A refused line as a line of a reject file: where it came from, its faults, and the text to correct."""
    tree: Tree = {"file": line.file, "line": line.line, "faults": [fault.as_json() for fault in line.faults]}
    if line.raw is not None:
        tree["raw"] = dict(line.raw) if isinstance(line.raw, Mapping) else line.raw
    return dump(tree) + b"\n"


def _corrected(reject: Tree, document: Document, models: Models, columns: ColumnMap | None) -> Line:
    file = reject["file"] if isinstance(reject["file"], str) else document.file
    line = reject["line"] if isinstance(reject["line"], int) else document.line
    raw = reject.get("raw")
    try:
        if isinstance(raw, str):
            record, residue = read_record(parse_object(raw.encode("utf-8", "surrogatepass")), models)
            return Line(file, line, record, residue, raw=raw)
        if isinstance(raw, dict) and "kind" in raw:
            record, residue = read_record(raw, models)
            return Line(file, line, record, residue, raw=dump(raw).decode())
        if isinstance(raw, dict):
            return _corrected_cells(raw, file, line, columns)
    except (JsonError, Refused) as error:
        kept = raw if isinstance(raw, str) else dump(raw).decode()
        return Line(file, line, faults=faults_of(error), raw=kept)
    fault = Fault("reject.no_text", "raw", "the reject holds no text to read", "correct the original file")
    return Line(file, line, faults=(fault,))


def _corrected_cells(raw: Tree, file: str, line: int, columns: ColumnMap | None) -> Line:
    cells = {name: cell for name, cell in raw.items() if isinstance(cell, str)}
    if columns is None:
        fault = Fault("reject.source", "raw", "the reject is a row of CSV", "name its source with --source")
        return Line(file, line, faults=(fault,), raw=cells)
    missing = [name for name in columns.columns if name not in cells]
    if missing or len(cells) != len(raw):
        fault = Fault("reject.cells", "raw", "the row has not the cells of its source, as text")
        return Line(file, line, faults=(fault,), raw=cells)
    return _from_cells(file, line, cells, columns)


def _from_cells(file: str, line: int, cells: Mapping[str, str], columns: ColumnMap) -> Line:
    try:
        return Line(file, line, parse(columns.model, columns.tree(cells)), raw=cells)
    except Refused as error:
        return Line(file, line, faults=error.faults, raw=cells)


def _text(data: bytes) -> str | None:
    # Bytes that are no UTF-8 become \\xNN, which no JSON reader accepts: uncorrected, the line is refused again.
    return data.decode("utf-8", "backslashreplace") if data else None


def resource_lines(documents: Iterable[Document]) -> Iterator[tuple[Line, bytes | None]]:
    """The texts of FHIR resources, also those of a corrected reject file, each with its place.

    Where there is no text the line has faults.
    """
    for document in documents:
        raw = _text(document.data)
        if document.fault is not None:
            yield Line(document.file, document.line, faults=(document.fault,), raw=raw), None
            continue
        body = document.data
        # No resource has such a member; only a line that may be a reject is looked into here.
        if b'"faults"' in body:
            try:
                tree = parse_object(body)
            except JsonError as error:
                yield Line(document.file, document.line, faults=faults_of(error), raw=raw), None
                continue
            if is_reject(tree):
                raw = tree["raw"] if isinstance(tree.get("raw"), str) else None
                body = (raw or "").encode("utf-8", "surrogatepass")
        yield Line(document.file, document.line, raw=raw), body
