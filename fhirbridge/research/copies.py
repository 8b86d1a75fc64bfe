"""Which copy of a resource counts: of one address the newest version, also where pages overlap or a file came twice."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from fhirbridge.errors import JsonError
from fhirbridge.fhir.json import parse_object
from fhirbridge.records import Instant

# A resource that begins as nearly all do; whatever begins otherwise is parsed.
_HEAD = re.compile(
    rb'\{\s*"resourceType"\s*:\s*"([A-Za-z]{1,64})"\s*,\s*"id"\s*:\s*"([A-Za-z0-9\-.]{1,64})"\s*,'
    rb'(?:\s*"meta"\s*:\s*\{\s*"versionId"\s*:\s*"([^"\\]{1,64})"\s*,\s*"lastUpdated"\s*:\s*"([^"\\]{10,40})")?'
)
_MICROSECONDS = 1_000_000
_EVER = 2**62
_LARGEST = 2**62


@dataclass(slots=True)
class Copies:
    """The copies in one piece, in its order: who they are, how new they are. 24 bytes each."""

    who: array[int] = field(default_factory=lambda: array("Q"))
    time: array[int] = field(default_factory=lambda: array("q"))
    version: array[int] = field(default_factory=lambda: array("q"))

    def add(self, origin: str, body: bytes, place: tuple[int, int]) -> None:
        """Note a resource; ``place`` tells one without an address from all others."""
        found = _HEAD.match(body)
        if found is not None:
            type_, own, version, updated = found.groups()
            if version is not None or (b'"versionId"' not in body and b'"lastUpdated"' not in body):
                self._add(_who(origin, type_, own), (version or b"").decode(), (updated or b"").decode())
                return
        self._add(*_parsed(origin, body, place))

    def add_deleted(self, origin: str, type_: str, own: str, at: str | None) -> None:
        """Note that a resource was deleted: for good, where nobody says when."""
        who = _who(origin, type_.encode(), own.encode("utf-8", "surrogatepass"))
        if at is None:
            self.who.append(who)
            self.time.append(_EVER)
            self.version.append(_EVER)
        else:
            self._add(who, "", at)

    def skip(self, place: tuple[int, int]) -> None:
        """Note an item that is no resource: it is nobody's copy."""
        self._add(_nobody(place), "", "")

    def _add(self, who: int, version: str, updated: str) -> None:
        self.who.append(who)
        self.time.append(_micros(updated))
        self.version.append(min(int(version), _LARGEST) if version.isascii() and version.isdigit() else -1)


def outdated(pieces: Sequence[Copies]) -> list[set[int]]:
    """For each piece the places (from 0) of the copies that do not count, because there is a newer one.

    Of two equally new ones the later counts.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    left: list[set[int]] = [set() for _ in pieces]
    every = pa.chunked_array([_column(one.who, pa.uint64()) for one in pieces], pa.uint64())
    counts = pc.value_counts(every)
    repeated = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    if not len(repeated):
        return left
    newest: dict[int, tuple[tuple[int, int], int, int]] = {}
    for number, one in enumerate(pieces):
        mask = pc.is_in(_column(one.who, pa.uint64()), repeated)
        for place in pc.indices_nonzero(mask).to_pylist():
            rank, who = (one.time[place], one.version[place]), one.who[place]
            held = newest.get(who)
            if held is None or held[0] <= rank:
                newest[who] = rank, number, place
                if held is not None:
                    left[held[1]].add(held[2])
            else:
                left[number].add(place)
    return left


def _column(values: array[int], type_: Any) -> Any:
    import pyarrow as pa

    return pa.Array.from_buffers(type_, len(values), [None, pa.py_buffer(values)])


def _who(origin: str, type_: bytes, own: bytes) -> int:
    return int.from_bytes(blake2b(b"%b|%b/%b" % (origin.encode(), type_, own), digest_size=8).digest(), "big")


def _nobody(place: tuple[int, int]) -> int:
    return int.from_bytes(blake2b(b"|%d|%d" % place, digest_size=8).digest(), "big")


def _parsed(origin: str, body: bytes, place: tuple[int, int]) -> tuple[int, str, str]:
    try:
        tree = parse_object(body)
    except JsonError:
        return _nobody(place), "", ""
    type_, own, meta = tree.get("resourceType"), tree.get("id"), tree.get("meta")
    said = meta if isinstance(meta, dict) else {}
    version, updated = said.get("versionId"), said.get("lastUpdated")
    if not isinstance(type_, str) or not isinstance(own, str):
        return _nobody(place), "", ""
    return (
        _who(origin, type_.encode("utf-8", "surrogatepass"), own.encode("utf-8", "surrogatepass")),
        version if isinstance(version, str) else "",
        updated if isinstance(updated, str) else "",
    )


def _micros(updated: str) -> int:
    if not updated:
        return -1
    try:
        return round(Instant(updated).as_datetime().timestamp() * _MICROSECONDS)
    except (ValueError, OverflowError):
        return -1
