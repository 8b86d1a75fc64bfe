"""Records from NDJSON, a JSON array, CSV or a reject file; gzip read as it is; ``-`` is standard input.

``open_source`` yields one :class:`Line` per item, good or refused, in flat memory: neither a large array nor a million
lines is ever held. ``open_documents`` does the same for plain JSON texts, such as FHIR resources. Rows of a database
come through :mod:`fhirbridge.sources.sql`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias, cast

from fhirbridge.errors import ConfigError
from fhirbridge.sources.columns import ColumnMap
from fhirbridge.sources.documents import Document, from_array, from_lines
from fhirbridge.sources.lines import (
    Line,
    Models,
    faults_of,
    from_documents,
    from_rows,
    resource_lines,
    write_record,
    write_reject,
)
from fhirbridge.sources.opening import STDIN, open_bytes
from fhirbridge.sources.table import rows
from fhirbridge.sources.writing import WholeFile

__all__ = [
    "STDIN",
    "Document",
    "Format",
    "Line",
    "SourceShape",
    "WholeFile",
    "column_map",
    "faults_of",
    "open_documents",
    "open_source",
    "resource_lines",
    "write_record",
    "write_reject",
]

Format: TypeAlias = Literal["ndjson", "json", "csv"]
_SUFFIXES: dict[str, Format] = {
    ".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "json", ".csv": "csv", ".tsv": "csv"
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SourceShape:
    """What the configuration says about a source beside its path; the defaults suit records in NDJSON or JSON."""

    format: Format | None = None
    kind: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    ignore_columns: tuple[str, ...] = ()
    delimiter: str = ","
    list_separator: str = ";"


@contextmanager
def open_source(path: str, models: Models, shape: SourceShape | None = None) -> Iterator[Iterator[Line]]:
    """The lines of a source. ``models`` are the known kinds of record.

    Raises :class:`SourceError` when it cannot be read as records at all, :class:`ConfigError` when its column map does
    not fit the record.
    """
    shape = shape or SourceShape()
    columns = column_map(models, shape) if shape.columns else None
    with open_bytes(path) as stream:
        found = shape.format or _format(path, stream)
        # The rejects of a CSV source are NDJSON, and are read with its column map.
        if found == "csv" and stream.peek(1)[:1] != b"{":  # type: ignore[attr-defined]
            if columns is None:
                hint = "describe it in [source.NAME] of the configuration and give --source NAME"
                raise ConfigError(f"{path}: CSV needs a column map", code="config.columns", hint=hint)
            yield from_rows(
                rows(stream, path, shape.delimiter, wanted=columns.columns, ignored=shape.ignore_columns), columns
            )
        else:
            yield from_documents(_documents(stream, path, found), models, columns)


@contextmanager
def open_documents(path: str) -> Iterator[Iterator[Document]]:
    """The JSON texts of a file: one per line, the items of an array, or one text. Raises :class:`SourceError`."""
    with open_bytes(path) as stream:
        yield _documents(stream, path, _format(path, stream))


def _documents(stream: BinaryIO, path: str, found: Format) -> Iterator[Document]:
    return from_array(stream, path) if found == "json" else from_lines(stream, path)


def _format(path: str, stream: BinaryIO) -> Format:
    suffixes = [suffix for suffix in Path(path).suffixes if suffix != ".gz"]
    known = _SUFFIXES.get(suffixes[-1]) if suffixes else None
    if known is not None:
        return known
    return "json" if stream.peek(1).lstrip()[:1] == b"[" else "ndjson"  # type: ignore[attr-defined]


def column_map(models: Models, shape: SourceShape) -> ColumnMap:
    """The column map of a source of rows. Raises :class:`ConfigError` where it does not fit the record."""
    if shape.kind not in models:
        hint = f"one of {', '.join(sorted(models))}"
        raise ConfigError("the source has no kind of record that is known", code="config.kind", hint=hint)
    return ColumnMap(models[cast(str, shape.kind)], shape.columns, shape.constants, shape.list_separator)
