"""CSV as rows of named cells. A file whose header does not fit the column map is refused whole; a bad row alone."""

from __future__ import annotations

import csv
import difflib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from fhirbridge.errors import Fault, SourceError
from fhirbridge.sources.documents import MAX_LINE

EVERY_OTHER = "*"


@dataclass(frozen=True, slots=True)
class Row:
    """One row and the line it ends on; ``faults`` say why its cells cannot be used."""

    file: str
    line: int
    cells: Mapping[str, str] = field(repr=False)
    faults: tuple[Fault, ...] = ()


class _Lines:
    """The physical lines of a stream as text; unlike a generator it goes on after it has raised."""

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self._stream = stream
        self._limit = limit

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._stream.readline(self._limit + 1)
        if not line:
            raise StopIteration
        if len(line) > self._limit:
            while line and not line.endswith(b"\n"):
                line = self._stream.readline(1 << 16)
            raise csv.Error("line too long")
        # Bytes that are no UTF-8 become lone surrogates, which cell_faults finds in the cell where they stand.
        return line.decode("utf-8", "surrogateescape")


def rows(
    stream: BinaryIO, file: str, delimiter: str, *, wanted: Sequence[str], ignored: Sequence[str], limit: int = MAX_LINE
) -> Iterator[Row]:
    """The rows of a CSV stream with a header line.

    Raises :class:`SourceError` when the header lacks a ``wanted`` column or has one that is neither wanted nor ignored
    (``*`` ignores every other).
    """
    reader = csv.reader(_Lines(stream, limit), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
    except (csv.Error, EOFError, OSError, zlib.error):
        raise SourceError(f"{file}: the header line cannot be read", code="source.csv") from None
    check_header(file, header, wanted, ignored, "check the delimiter and the header line")
    while True:
        try:
            cells = next(reader, None)
        except csv.Error:
            hint = "check the quotes and the length of the line"
            yield Row(file, reader.line_num, {}, (Fault("source.csv", "", "not a row of CSV", hint),))
            continue
        except (EOFError, OSError, zlib.error):
            fault = Fault("source.cut", "", "the file ends in the middle or cannot be read on", "copy it again")
            yield Row(file, reader.line_num + 1, {}, (fault,))
            return
        if cells is None:
            return
        if cells:
            yield _row(file, reader.line_num, header, cells, set(wanted))


def _row(file: str, line: int, header: list[str], cells: list[str], wanted: set[str]) -> Row:
    if len(cells) != len(header):
        reason = f"{len(cells)} cells under {len(header)} columns"
        hint = "check the delimiter and the quotes"
        return Row(file, line, {}, (Fault("source.csv_width", "", reason, hint),))
    row = {name: cell.strip() for name, cell in zip(header, cells, strict=True) if name in wanted}
    faults = tuple(fault for name, cell in row.items() for fault in cell_faults(name, cell))
    return Row(file, line, {} if faults else row, faults)


def cell_faults(column: str, cell: str) -> Iterator[Fault]:
    """What is wrong with the text of a cell before anybody reads it."""
    if "\x00" in cell:
        yield Fault("source.nul", column, "a NUL byte stands in the cell", "remove it; was the file cut or padded?")
    if any("\ud800" <= character <= "\udfff" for character in cell):
        yield Fault("source.utf8", column, "not UTF-8", "save the file as UTF-8")


def check_header(file: str, header: Sequence[str], wanted: Sequence[str], ignored: Sequence[str], hint: str) -> None:
    """Raise :class:`SourceError` where the columns are not those of the map; ``hint`` helps to find a missing one."""
    faults = []
    for name in wanted:
        if name not in header:
            near = difflib.get_close_matches(name, header, n=1)
            cure = f"did you mean {near[0]}?" if near else hint
            faults.append(Fault("source.column_missing", name, "there is no such column", cure))
    for name in dict.fromkeys(header):
        if header.count(name) > 1:
            faults.append(Fault("source.column_twice", name, "the column stands there twice", "rename one"))
        if name not in wanted and name not in ignored and EVERY_OTHER not in ignored:
            near = difflib.get_close_matches(name, wanted, n=1)
            cure = "map it, or list it in ignore_columns" + (f"; did you mean {near[0]}?" if near else "")
            faults.append(Fault("source.column_unmapped", name, "the column is not in the map", cure))
    if faults:
        raise SourceError(f"{file}: " + "\n".join(map(str, faults)), code="source.columns")
