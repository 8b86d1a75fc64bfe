"""Bodies: unpacked block by block, and never more of them in memory than was allowed.

Counted are the bytes that come and those that they unpack to. A kilobyte that unpacks to a megabyte is refused long
before the cap: text that people or programs write does not.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from jiter import LosslessFloat

from fhirbridge.client.incoming import Allowance
from fhirbridge.errors import JsonError, SiteUnreachable, SiteUntrusted
from fhirbridge.fhir.json import Json, parse

JSON_TYPE = re.compile(r"application/(?:[a-z0-9.+-]+\+)?json(?:\s*;.*)?", re.IGNORECASE)
LINES_TYPE = re.compile(r"application/(?:fhir\+|x-)?ndjson(?:\s*;.*)?", re.IGNORECASE)
_READ = 1 << 16
# Resources of one kind pack some fifty times; a bomb a thousand times.
_DENSEST, _FREE = 300, 1 << 20
# A gzip member costs a new decoder; files that are joined or packed in blocks have them every few kilobytes.
_SMALLEST_MEMBER, _FREE_MEMBERS = 1 << 10, 64
_FOLD = re.compile(r"\r?\n[ \t]+")
# More than 400 digits, or an exponent of more than three: beyond what a record can hold (records.text.Decimal). As text
# it costs nothing, but who computes with it computes for hours. Right but for text within quotes that looks so.
_LONG_NUMBER = re.compile(rb"[:,\[\s]-?[0-9](?:[0-9.]{400}|[0-9.]*[eE][+-]?0*[0-9]{4})")


class Packed(Protocol):
    """A body as it comes: how many bytes are still to come, as far as the head says, and the next of them."""

    @property
    def length(self) -> int | None: ...

    def read(self, amt: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Caps:
    """The most bytes of a body: as they come, unpacked, and of one line of it."""

    packed: int
    unpacked: int
    line: int = 16 * 2**20


def headers_of(items: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The headers of an answer by their names in lower case; what came several times stands with commas between."""
    found: dict[str, str] = {}
    for name, value in items:
        text, key = _FOLD.sub(" ", value), name.lower()
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def blocks(body: Packed, headers: Mapping[str, str], caps: Caps, allowance: Allowance) -> Iterator[bytes]:
    """The body of an answer, unpacked, in blocks of at most 64 KiB.

    Raises :class:`SiteUntrusted` (packed otherwise than asked for, or too large), :class:`SiteUnreachable` for a body
    that ends early, and what reading raises.
    """
    length = body.length
    if length is not None and length > caps.packed:
        raise too_large()
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        packed = _read(body, min(caps.packed, caps.unpacked), allowance)
    elif encoding == "gzip":
        packed = _unzipped(_read(body, caps.packed, allowance), caps.unpacked)
    else:
        raise SiteUntrusted("the answer is packed in a way nobody asked for", code="site.encoding")
    yield from packed


def _read(body: Packed, most: int, allowance: Allowance) -> Iterator[bytes]:
    # As much framing may come as there is body, and a little more: chunks of a byte, their extensions and trailers
    # without end are no body.
    allowance.left = 4 * _READ
    count = 0
    while block := body.read(_READ):
        allowance.left += 2 * len(block)
        count += len(block)
        if count > most:
            raise too_large()
        yield block
    if body.length:
        raise cut_off()


def _unzipped(packed: Iterator[bytes], most: int) -> Iterator[bytes]:
    decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
    came = given = members = 0
    begun = False
    for block in packed:
        rest, came = block, came + len(block)
        while rest:
            if decoder.eof:
                members += 1
                if members > came // _SMALLEST_MEMBER + _FREE_MEMBERS:
                    raise too_large()
                decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
            begun = True
            try:
                plain = decoder.decompress(rest, _READ)
            except zlib.error:
                raise SiteUntrusted("the answer cannot be unpacked", code="site.encoding") from None
            rest = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
            given += len(plain)
            if given > most or given > _FREE + _DENSEST * (came - len(rest)):
                raise too_large()
            if plain:
                yield plain
    # What is left in a decoder that has taken everything comes without further bytes.
    while begun and not decoder.eof:
        plain = decoder.decompress(b"", _READ)
        given += len(plain)
        if not plain:
            raise SiteUntrusted("the answer cannot be unpacked", code="site.encoding")
        if given > most:
            raise too_large()
        yield plain


def lines(unpacked: Iterator[bytes], longest: int) -> Iterator[bytes]:
    """The lines of a body without their ends; empty ones are left out. Raises :class:`SiteUntrusted` for one longer
    than ``longest`` bytes, before all of it is there."""
    held = bytearray()
    for block in unpacked:
        *whole, rest = block.split(b"\n")
        for one in whole:
            held += one
            if len(held) > longest:
                raise too_long()
            if line := bytes(held).strip():
                yield line
            held.clear()
        held += rest
        if len(held) > longest:
            raise too_long()
    if line := bytes(held).strip():
        yield line


def believed(body: bytes) -> Json:
    """The JSON of an answer. Raises :class:`JsonError`, for numbers of an unreasonable size too."""
    tree = parse(body)
    if _LONG_NUMBER.search(body) and _holds_long_number(tree):
        raise JsonError("a number of unreasonable size", code="json.number")
    return tree


def _holds_long_number(tree: Json) -> bool:
    waiting: list[Any] = [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, int | LosslessFloat) and _LONG_NUMBER.match(f":{one}".encode()):
            return True
    return False


def cut_off() -> SiteUnreachable:
    """An answer of which less came than its head said."""
    return SiteUnreachable("the connection broke off in the middle of the answer", sent=True)


def too_large() -> SiteUntrusted:
    """An answer over a cap."""
    hint = "ask for smaller pages, or raise max_body"
    return SiteUntrusted("the answer is larger than max_body", code="site.too_large", hint=hint)


def too_long() -> SiteUntrusted:
    """A line over its cap."""
    return SiteUntrusted("a line of the answer is too long", code="site.too_large", hint="tell the site")
