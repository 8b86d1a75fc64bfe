"""The resources of a source, one after another: NDJSON (also gzipped), bundles, folders of either, a harvest.

A source is cut into pieces, which several processes can read at the same time: a range of the lines of a large file, or
a file as a whole. A piece always gives the same items in the same order, so an item is known by its place.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from fhirbridge.errors import Fault, JsonError, SourceError
from fhirbridge.fhir.json import Json, Tree, dump, parse_object
from fhirbridge.sources.documents import Document, from_array, from_lines
from fhirbridge.sources.opening import open_bytes

# Bytes of one piece of a large file.
PIECE = 16 * 2**20
# A bundle is one JSON text, however many entries it has.
_MAX_BUNDLE = 512 * 2**20
_LINES, _TREES = (".ndjson", ".jsonl"), (".json",)
# What a harvest keeps beside its resources.
_NOT_RESOURCES = frozenset({"state.json", "manifest.json", "set-aside.ndjson"})
_TYPE = re.compile(rb'\s*\{\s*"resourceType"\s*:\s*"([A-Za-z]{1,64})"')


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a source: a file, or the lines of it that begin from ``start`` to before ``end``.

    ``origin`` tells servers apart: a relative address means something only at its own.
    """

    file: str
    origin: str
    start: int = 0
    end: int | None = None
    lines: bool = True


class Item(NamedTuple):
    """One resource as it came; or the address of one that was deleted; or a fault.

    ``line`` counts from 1 within the piece.
    """

    line: int
    body: bytes
    fault: Fault | None = None
    deleted: tuple[str, str] | None = None
    deleted_at: str | None = None


def pieces(sources: Sequence[str], *, size: int = PIECE) -> tuple[Piece, ...]:
    """The pieces of all sources, in a fixed order. Raises :class:`SourceError` where there is nothing to read.

    The files in a subfolder are of one server, named by the subfolder. Two folders are two servers as well.
    """
    folders = [one for one in sources if Path(one).is_dir()]
    found: list[Piece] = []
    for one in dict.fromkeys(sources):
        path = Path(one)
        if path.is_dir():
            root = "" if len(folders) < 2 else f"{folders.index(one)}:"
            for file in sorted(path.rglob("*")):
                inside = file.relative_to(path).parts
                if _holds_resources(file, inside):
                    origin = root + (inside[0] if len(inside) > 1 else "")
                    found += _cut(file, origin, size)
        elif path.is_file():
            found += _cut(path, "", size)
        else:
            raise SourceError(f"{one}: no such file or folder", code="source.open")
    if not found:
        raise SourceError("there is no file of resources in the source", code="source.empty",
                          hint="files of resources end in .ndjson, .ndjson.gz or .json")  # fmt: skip
    return tuple(found)


def items(piece: Piece) -> Iterator[Item]:
    """What stands in a piece, in order. Raises :class:`SourceError` where the file cannot be read at all."""
    if piece.end is None:
        with open_bytes(piece.file) as stream:
            documents = from_lines(stream, piece.file) if piece.lines else from_array(stream, piece.file, _MAX_BUNDLE)
            yield from _opened(documents)
        return
    try:
        file = Path(piece.file).open("rb")  # noqa: SIM115
    except OSError as error:
        raise SourceError(f"{piece.file}: {error.strerror or 'cannot be read'}", code="source.open") from None
    with file:
        yield from _opened(from_lines(cast(BinaryIO, _Range(file, piece.start, piece.end)), piece.file))


def resource_type(body: bytes) -> str:
    """The type that a resource says it has at its beginning; empty where it says so elsewhere or not at all."""
    found = _TYPE.match(body)
    return found[1].decode() if found else ""


class _Range:
    """The lines of a file that begin within a range, as a stream of lines."""

    def __init__(self, file: io.BufferedReader, start: int, end: int) -> None:
        self._file, self._end = file, end
        self._inside = False
        if start:
            # The line that is cut here begins in the piece before; one that begins exactly here is ours.
            file.seek(start - 1)
            while (rest := file.readline(1 << 16)) and not rest.endswith(b"\n"):
                pass
        self._at = file.tell()

    def readline(self, limit: int) -> bytes:
        """The next line, or what is left of one that is longer than ``limit``."""
        if self._at >= self._end and not self._inside:
            return b""
        data = self._file.readline(limit)
        self._at += len(data)
        self._inside = not data.endswith(b"\n")
        return data


def _holds_resources(file: Path, inside: Sequence[str]) -> bool:
    hidden = any(part.startswith((".", "_")) for part in inside)
    return not hidden and file.is_file() and file.name not in _NOT_RESOURCES and _suffix(file) in (*_LINES, *_TREES)


def _suffix(file: Path) -> str:
    suffixes = [one.lower() for one in file.suffixes if one.lower() != ".gz"]
    return suffixes[-1] if suffixes else ""


def _cut(file: Path, origin: str, size: int) -> Iterator[Piece]:
    lines = _suffix(file) not in _TREES
    whole = file.stat().st_size
    if not lines or whole <= size or _is_zipped(file):
        yield Piece(str(file), origin, lines=lines)
        return
    for start in range(0, whole, size):
        yield Piece(str(file), origin, start, min(start + size, whole))


def _is_zipped(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def _opened(documents: Iterator[Document]) -> Iterator[Item]:
    for document in documents:
        if document.fault is not None:
            yield Item(document.line, document.data, document.fault)
            continue
        type_ = resource_type(document.data)
        if type_ and type_ != "Bundle":
            yield Item(document.line, document.data)
            continue
        try:
            tree = parse_object(document.data)
        except JsonError as error:
            yield Item(document.line, document.data, Fault(error.code, "", error.message, error.hint))
            continue
        if tree.get("resourceType") == "Bundle":
            yield from _entries(tree, document)
        else:
            yield Item(document.line, document.data)


def _entries(bundle: Tree, document: Document) -> Iterator[Item]:
    entries = bundle.get("entry", [])
    if not isinstance(entries, list):
        yield Item(document.line, document.data, Fault("source.bundle", "Bundle.entry", "the entries are no list"))
        return
    for position, entry in enumerate(entries):
        node = entry if isinstance(entry, dict) else {}
        resource, deleted = node.get("resource"), _deleted(node.get("request"))
        if deleted is not None:
            said = node.get("response")
            at = said.get("lastModified") if isinstance(said, dict) else None
            yield Item(document.line, b"", deleted=deleted, deleted_at=at if isinstance(at, str) else None)
        elif isinstance(resource, dict):
            if resource.get("resourceType") != "OperationOutcome":
                yield Item(document.line, dump(resource))
        else:
            fault = Fault("source.bundle", f"Bundle.entry[{position}]", "the entry holds no resource")
            yield Item(document.line, dump(entry), fault)


def _deleted(request: Json) -> tuple[str, str] | None:
    if not isinstance(request, dict) or request.get("method") != "DELETE" or not isinstance(request.get("url"), str):
        return None
    type_, _, own = request["url"].partition("?")[0].rpartition("/")
    return (type_.rpartition("/")[2], own) if type_ and own else None
