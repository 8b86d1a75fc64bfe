"""Cut a byte stream into JSON texts: one per line (NDJSON) or one per item of an array, in flat memory.

Every text carries its file and line. What is wrong with one text never costs the next: an endless line, a NUL byte,
broken UTF-8 or a cut gzip file become a fault in its place. Blank lines are skipped, as the NDJSON convention has it.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from fhirbridge.errors import Fault

MAX_LINE = 16 * 2**20
_CHUNK = 1 << 16
_STRUCTURE = re.compile(rb'["\[\]{},]')
_STRING_END = re.compile(rb'["\\]')
_BLANK = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class Document:
    """One JSON text and its place; ``fault`` says why it cannot be read. ``data`` is empty when it was too long."""

    file: str
    line: int
    data: bytes = field(repr=False)
    fault: Fault | None = None


def from_lines(stream: BinaryIO, file: str, limit: int = MAX_LINE) -> Iterator[Document]:
    """The JSON texts of an NDJSON stream; ``limit`` is the longest line in bytes."""
    line = 0
    try:
        while data := stream.readline(limit + 1):
            line += 1
            if len(data) > limit and not data.endswith(b"\n"):
                _skip_line(stream)
                yield Document(file, line, b"", _too_long(limit))
            elif data := data.strip(_BLANK):
                yield Document(file, line, data, byte_fault(data))
    except (EOFError, OSError, zlib.error):
        yield Document(file, line + 1, b"", _CUT)


def from_array(stream: BinaryIO, file: str, limit: int = MAX_LINE) -> Iterator[Document]:
    """The items of a JSON array, each with the line it begins on; a text that is no array is one item itself."""
    splitter = _Splitter(file, limit)
    try:
        while chunk := stream.read(_CHUNK):
            yield from splitter.feed(chunk)
        yield from splitter.close()
    except (EOFError, OSError, zlib.error):
        yield Document(file, splitter.line, b"", _CUT)


def byte_fault(data: bytes) -> Fault | None:
    """What is wrong with the bytes of a text before it is JSON at all."""
    if b"\x00" in data:
        return Fault("source.nul", "", "a NUL byte stands in the text", "remove it; was the file cut or padded?")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return Fault("source.utf8", "", f"not UTF-8 at byte {error.start + 1}", "save the file as UTF-8")
    if b"\xef\xbb\xbf" in data[:3]:
        return Fault("source.bom", "", "a byte order mark stands inside the file", "remove it; were files joined?")
    return None


def _too_long(limit: int) -> Fault:
    return Fault("source.too_long", "", f"longer than {limit} bytes", "one record per line; is the file damaged?")


_CUT = Fault("source.cut", "", "the file ends in the middle or cannot be read on", "copy it again")


def _skip_line(stream: BinaryIO) -> None:
    while (data := stream.readline(_CHUNK)) and not data.endswith(b"\n"):
        pass


class _Splitter:
    """Finds the commas between the items of the outermost array, without understanding the items."""

    def __init__(self, file: str, limit: int) -> None:
        self._file = file
        self._limit = limit
        self._item = bytearray()
        self._too_long = False
        self._start = self.line = 1
        self._is_array: bool | None = None
        self._depth = 0
        self._in_string = self._escaped = False
        self._comma_before = False
        self._found: list[Document] = []

    def feed(self, chunk: bytes) -> list[Document]:
        """The items that end in this chunk."""
        position = 0
        if self._is_array is None:
            position = len(chunk) - len(chunk.lstrip(_BLANK))
            self.line += chunk.count(b"\n", 0, position)
            self._start = self.line
            if position == len(chunk):
                return []
            self._is_array = chunk.startswith(b"[", position)
            if self._is_array:
                self._depth, position = 1, position + 1
        if not self._is_array:
            self._take(chunk, position, len(chunk))
        else:
            while position < len(chunk):
                position = self._string(chunk, position) if self._in_string else self._plain(chunk, position)
        return self._handed_over()

    def close(self) -> list[Document]:
        """What is left at the end of the stream: a text that was no array, or the fault of one that was not closed."""
        if self._is_array and (self._depth or self._in_string):
            self._found.append(Document(self._file, self._start, bytes(self._item), _UNCLOSED))
        elif self._is_array and self._item.strip(_BLANK):
            self._found.append(Document(self._file, self._start, bytes(self._item), _AFTER))
        elif not self._is_array and (self._item or self._too_long):
            self._end_of_item()
        return self._handed_over()

    def _handed_over(self) -> list[Document]:
        found, self._found = self._found, []
        return found

    def _string(self, chunk: bytes, position: int) -> int:
        if self._escaped:
            self._escaped = False
            end = position + 1
        else:
            found = _STRING_END.search(chunk, position)
            end = found.end() if found else len(chunk)
            if found:
                self._escaped = found[0] == b"\\"
                self._in_string = self._escaped
        self._take(chunk, position, end)
        return end

    def _plain(self, chunk: bytes, position: int) -> int:
        found = _STRUCTURE.search(chunk, position)
        if not found:
            self._take(chunk, position, len(chunk))
            return len(chunk)
        mark = found[0]
        if self._depth == 1 and mark in b",]":
            self._take(chunk, position, found.start())
            closing = mark == b"]"
            if self._too_long or self._item.strip(_BLANK):
                self._end_of_item()
            elif not closing or self._comma_before:
                self._found.append(Document(self._file, self.line, b"", _EMPTY))
            self._start = self.line
            self._comma_before = not closing
            self._depth -= closing
        else:
            self._depth += (mark in b"[{") - (mark in b"]}")
            self._in_string = mark == b'"'
            self._take(chunk, position, found.end())
        return found.end()

    def _take(self, chunk: bytes, start: int, end: int) -> None:
        if not self._item:
            blank = end - start - len(chunk[start:end].lstrip(_BLANK))
            self.line += chunk.count(b"\n", start, start + blank)
            start += blank
            self._start = self.line
        self.line += chunk.count(b"\n", start, end)
        if self._too_long or len(self._item) + end - start > self._limit:
            self._too_long = True
            # One byte stays, for an item that has begun.
            del self._item[1:]
        else:
            self._item += chunk[start:end]

    def _end_of_item(self) -> None:
        data = bytes(self._item).strip(_BLANK)
        if self._too_long:
            self._found.append(Document(self._file, self._start, b"", _too_long(self._limit)))
        else:
            self._found.append(Document(self._file, self._start, data, byte_fault(data)))
        self._item.clear()
        self._too_long = False


_UNCLOSED = Fault("json.unclosed", "", "the array ends in the middle of an item or is not closed", "was the file cut?")
_AFTER = Fault("json.after", "", "text stands after the end of the array", "remove it")
_EMPTY = Fault("json.empty_item", "", "an item is missing between two commas", "remove the comma")
