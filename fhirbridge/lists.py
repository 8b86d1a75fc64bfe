"""Lists that people keep, of patients or of what is whose: CSV with a header line, or NDJSON, read by member name."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from typing import BinaryIO, TypeAlias

from fhirbridge.cells import unguarded
from fhirbridge.errors import Fault, JsonError, SourceError
from fhirbridge.fhir.json import Json, parse_object
from fhirbridge.sources.documents import from_lines
from fhirbridge.sources.opening import open_bytes
from fhirbridge.sources.table import EVERY_OTHER, rows

Pair: TypeAlias = tuple[str, str]  # identifier system, value
_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry and the line it ends on; ``faults`` say why its members cannot be used."""

    line: int
    members: Mapping[str, Json] = field(repr=False)
    faults: tuple[Fault, ...] = ()


def entries(path: str, wanted: Sequence[str], optional: Sequence[str]) -> Iterator[Entry]:
    """The entries of a list. CSV must have the ``wanted`` columns; other columns and members are left aside.

    Raises :class:`SourceError` where it cannot be read as such a list at all.
    """
    with open_bytes(path) as stream:
        start = _start(stream)
        if not start.strip() or start.lstrip().startswith(b"{"):
            yield from _from_json(stream, path)
        else:
            yield from _from_csv(stream, path, start, wanted, optional)


def _start(stream: BinaryIO) -> bytes:
    assert isinstance(stream, BufferedReader)
    return stream.peek(1)


def _from_json(stream: BinaryIO, path: str) -> Iterator[Entry]:
    for document in from_lines(stream, path):
        if document.fault is not None:
            yield Entry(document.line, {}, (document.fault,))
            continue
        try:
            yield Entry(document.line, parse_object(document.data))
        except JsonError as error:
            yield Entry(document.line, {}, (Fault(error.code, "", error.message, "one entry a line"),))


def _from_csv(
    stream: BinaryIO, path: str, start: bytes, wanted: Sequence[str], optional: Sequence[str]
) -> Iterator[Entry]:
    head = start.partition(b"\n")[0].decode("utf-8", "replace")
    delimiter = max(_DELIMITERS, key=head.count)
    try:
        header = [name.strip() for name in next(csv.reader([head], delimiter=delimiter), [])]
    except csv.Error:
        raise SourceError(f"{path}: the header line cannot be read", code="source.csv") from None
    columns = [*wanted, *(name for name in optional if name in header)]
    for row in rows(stream, path, delimiter, wanted=columns, ignored=[EVERY_OTHER]):
        yield Entry(row.line, {name: unguarded(cell) for name, cell in row.cells.items()}, row.faults)


def pair(member: Json, system: str) -> Pair | None:
    """An identifier: ``{"system", "value"}``, ``system|value``, or a value alone, which is of ``system``."""
    if isinstance(member, dict):
        of, value = member.get("system", system), member.get("value")
    elif isinstance(member, str) and "|" in member:
        of, _, value = member.partition("|")
    else:
        of, value = system, member
    if not isinstance(of, str) or not isinstance(value, str) or not value.strip():
        return None
    return of.strip(), value.strip()


def text(member: Json) -> str:
    """A member that is a text, without blanks around it; empty where there is none."""
    return member.strip() if isinstance(member, str) else ""
