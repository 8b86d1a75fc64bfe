"""Tables as Arrow: schemas out of column declarations, batches out of rows, part files, hashes.

The only module, beside those of a finished dataset, that needs pyarrow; it is imported where it is needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fhirbridge.research.columns import Column

_TYPES = {
    "string": pa.string(),
    "dictionary": pa.dictionary(pa.int32(), pa.string()),
    "double": pa.float64(),
    "int32": pa.int32(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us"),
}
# Beside each row of a part file: how new its record is, and which copy of it.
REVISION, COPY = "_revision", "_copy"
_HIDDEN = (pa.field(REVISION, pa.int64()), pa.field(COPY, pa.int64()))


def schema(columns: Sequence[Column]) -> pa.Schema:
    """The schema of a finished table: types, and with each column its meaning, unit and source."""
    return pa.schema([pa.field(one.name, _TYPES[one.type], metadata=_metadata(one)) for one in columns])


def part_types(columns: Sequence[Column]) -> pa.Schema:
    """The types of a part file: the same without words about the columns, texts as they are."""
    return pa.schema([(one.name, pa.string() if one.type == "dictionary" else _TYPES[one.type]) for one in columns])


class PartFile:
    """What one piece of the source gives for one table: a file that is made with its first rows.

    ``given`` are the columns of the rows that come, ``kept`` those that the dataset has; behind the columns of a row
    stand its revision and the number of its copy.
    """

    def __init__(self, path: Path, given: Sequence[Column], kept: Sequence[Column]) -> None:
        places = [place for place, one in enumerate(given) if one in kept]
        self._path = path
        self._schema = pa.schema([*part_types(kept), *_HIDDEN])
        self._places = (*places, len(given), len(given) + 1)
        self._writer: pq.ParquetWriter | None = None

    def write(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Add rows."""
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, self._schema, compression="lz4")
        columns = list(zip(*rows, strict=True))
        fields = zip(self._places, self._schema, strict=True)
        arrays = [pa.array(columns[place], one.type) for place, one in fields]
        self._writer.write_batch(pa.record_batch(arrays, self._schema))

    def close(self) -> None:
        """Finish the file, where there is one."""
        if self._writer is not None:
            self._writer.close()


class TableHash:
    """A hash of the rows of a table in their order; where one batch ends and the next begins makes no difference."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = [(one.name, _Streams(f"{one.name}:{one.type}")) for one in columns]
        self.rows = 0

    def add(self, rows: pa.RecordBatch) -> None:
        """Add rows."""
        self.rows += rows.num_rows
        for name, streams in self._columns:
            streams.add(rows.column(name))

    def hexdigest(self) -> str:
        """The hash of all rows so far."""
        return hashlib.sha256(b"".join([streams.digest() for _, streams in self._columns])).hexdigest()


class _Streams:
    """The content of one column in three streams: what is there, how long texts are, the values themselves."""

    def __init__(self, name: str) -> None:
        self._there, self._lengths, self._values = hashlib.sha256(name.encode()), hashlib.sha256(), hashlib.sha256()

    def add(self, values: pa.Array) -> None:
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        self._there.update(_bytes(pc.cast(values.is_valid(), pa.uint8())))
        if pa.types.is_string(values.type):
            values = values.fill_null("")
            self._lengths.update(_bytes(pc.binary_length(values)))
            self._values.update(_text(values))
        elif pa.types.is_boolean(values.type):
            self._values.update(_bytes(pc.cast(values.fill_null(False), pa.uint8())))
        elif pa.types.is_timestamp(values.type):
            self._values.update(_bytes(pc.cast(values, pa.int64()).fill_null(0)))
        else:
            self._values.update(_bytes(values.fill_null(0)))

    def digest(self) -> bytes:
        return self._there.digest() + self._lengths.digest() + self._values.digest()


def _text(values: pa.Array) -> bytes:
    """The texts of a column without nulls, one behind the other."""
    _, offsets, data = values.buffers()
    if data is None or not len(values):
        return b""
    places = memoryview(offsets).cast("i")
    return memoryview(data)[places[values.offset] : places[values.offset + len(values)]].tobytes()


def _bytes(values: pa.Array) -> bytes:
    """The values of a column of a fixed width without nulls."""
    width = values.type.bit_width // 8
    data = values.buffers()[1]
    start = values.offset * width
    return b"" if data is None else memoryview(data)[start : start + len(values) * width].tobytes()


def _metadata(column: Column) -> dict[str, str]:
    said = {"meaning": column.meaning, "unit": column.unit or "", "source": ", ".join(column.source)}
    return {name: text for name, text in {**said, "class": column.class_}.items() if text}


def as_chunks(table: pa.RecordBatchReader, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The batches of a reader, cast to the schema of a finished table."""
    for rows in table:
        columns = [_cast(rows.column(one.name), one.type) for one in wanted]
        yield pa.record_batch(columns, wanted)


def _cast(values: pa.Array, wanted: pa.DataType) -> pa.Array:
    if values.type == wanted:
        return values
    if pa.types.is_dictionary(wanted):
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        return pc.cast(values, pa.string()).dictionary_encode()
    return pc.cast(values, wanted)
