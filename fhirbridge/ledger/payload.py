"""Bodies as blobs: what one call brings for one lane is packed together, so patients are never mixed.

The codec is the one seam between bodies and the database; a blob remembers the name of the codec that packed it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from fhirbridge.errors import LedgerError

# Whoever wants one body unpacks its whole blob.
MOST_BYTES = 1 << 18


class Codec(Protocol):
    """How a blob is packed. ``lane`` is the key of the lane that it belongs to, for codecs that bind it to the blob."""

    @property
    def name(self) -> str:
        """What the blob is marked with."""

    def pack(self, data: bytes, lane: str) -> bytes:
        """What is stored."""

    def unpack(self, data: bytes, lane: str) -> bytes:
        """What was packed. Raises ``ValueError`` where that cannot be had."""


class Zlib:
    """Compressed at the level that costs least."""

    name = "zlib"

    def pack(self, data: bytes, lane: str) -> bytes:
        """See :class:`Codec`."""
        return zlib.compress(data, 1)

    def unpack(self, data: bytes, lane: str) -> bytes:
        """See :class:`Codec`."""
        try:
            return zlib.decompress(data)
        except zlib.error:
            raise ValueError("not zlib") from None


ZLIB = Zlib()


class Blob(NamedTuple):
    """Bodies to be packed together, and where each begins and how long it is."""

    data: bytes
    places: tuple[tuple[int, int], ...]


def blobs(bodies: Iterable[bytes]) -> Iterator[Blob]:
    """The bodies in order, in blobs of at most :data:`MOST_BYTES`, or of one body that is larger."""
    parts: list[bytes] = []
    places: list[tuple[int, int]] = []
    size = 0
    for body in bodies:
        if parts and size + len(body) > MOST_BYTES:
            yield Blob(b"".join(parts), tuple(places))
            parts, places, size = [], [], 0
        parts.append(body)
        places.append((size, len(body)))
        size += len(body)
    if parts:
        yield Blob(b"".join(parts), tuple(places))


def unpacked(codec: Codec, name: str, data: bytes, lane: str) -> bytes:
    """The blob's bodies. Raises :class:`LedgerError` (``ledger.payload``) where it is damaged or of another codec."""
    if name != codec.name:
        raise _unreadable("it was packed by another codec")
    try:
        return codec.unpack(data, lane)
    except ValueError:
        raise _unreadable("it is damaged; restore the ledger from its backup") from None


def _unreadable(hint: str) -> LedgerError:
    return LedgerError("a stored body cannot be read", code="ledger.payload", hint=hint)
