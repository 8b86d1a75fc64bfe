"""Bodies as blobs: what one call brings for one lane is packed together, so patients are never mixed.

A blob is compressed, then sealed for its patient. Compressing tells something of the content by its length, which
matters where an attacker can have text of his own packed beside a secret and watch: a blob holds one patient's
resources as the clinic wrote them, and nobody else's words.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from fhirbridge.vault import Vault

# Whoever wants one body unpacks its whole blob.
MOST_BYTES = 1 << 18


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


def pack(vault: Vault, owner: str, place: tuple[Any, ...], data: bytes) -> bytes:
    """Compressed at the level that costs least, and sealed for the owner and the place."""
    return vault.seal(owner, place, zlib.compress(data, 1))


def unpack(vault: Vault, owner: str, place: tuple[Any, ...], sealed: bytes) -> bytes:
    """What was packed. Raises :class:`VaultError`, as :meth:`Vault.open`."""
    return zlib.decompress(vault.open(owner, place, sealed))


def blank(data: bytes, kept: Iterable[tuple[int, int]]) -> bytes:
    """The same with zeros in place of all but what is kept, each from where on and how long."""
    found = bytearray(len(data))
    for start, length in kept:
        found[start : start + length] = data[start : start + length]
    return bytes(found)
