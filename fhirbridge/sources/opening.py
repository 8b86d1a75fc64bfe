"""Open a file or standard input as bytes, gzip read as it is, and refuse at once what cannot hold records."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from fhirbridge.errors import SourceError

STDIN = "-"
_PEEK = 4_096
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_CONTAINERS = {
    b"PK\x03\x04": "a ZIP archive or a spreadsheet",
    b"PAR1": "a Parquet file",
    b"SQLite format 3\x00": "an SQLite database",
    b"%PDF-": "a PDF document",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an XZ archive",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet",
    b"\x89PNG": "an image",
}


@contextmanager
def open_bytes(path: str) -> Iterator[BinaryIO]:
    """The bytes of ``path`` (``-`` is standard input), unzipped, without a byte order mark at the start.

    Raises :class:`SourceError`: no such file, or a file that is no text at all (binary, UTF-16).
    """
    if path == STDIN:
        yield _text_bytes(sys.stdin.buffer, "standard input")
        return
    try:
        file = Path(path).open("rb")  # noqa: SIM115
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or 'cannot be read'}", code="source.open") from None
    with file:
        yield _text_bytes(file, path)


def _text_bytes(raw: BinaryIO, name: str) -> BinaryIO:
    stream = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, raw))
    try:
        start = stream.peek(_PEEK)
        if start.startswith(_GZIP):
            stream = io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=stream)), 1 << 16)
            start = stream.peek(_PEEK)
    except IsADirectoryError:
        raise SourceError(f"{name}: is a directory", code="source.open") from None
    except (EOFError, OSError, zlib.error):
        raise SourceError(f"{name}: cannot be read, or is no whole gzip file", code="source.open") from None
    _check_is_text(start[:_PEEK], name)
    if start.startswith(_BYTE_ORDER_MARK):
        stream.read(len(_BYTE_ORDER_MARK))
    return stream


def _check_is_text(start: bytes, name: str) -> None:
    for magic, what in _CONTAINERS.items():
        if start.startswith(magic):
            raise SourceError(f"{name}: is {what}", code="source.binary", hint="give NDJSON, JSON or CSV")
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SourceError(f"{name}: is UTF-16 text", code="source.encoding", hint="save it as UTF-8")
    # A stray NUL is a fault of its line; many control characters mean that this was never text.
    if sum(byte < 9 or 13 < byte < 32 for byte in start) * 10 > len(start):
        raise SourceError(f"{name}: is a binary file", code="source.binary", hint="give NDJSON, JSON or CSV")
