"""What the site holds already, read before anything is written over it and after a write that was not proven."""

from __future__ import annotations

import decimal
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeAlias

from jiter import LosslessFloat

from fhirbridge.client.rest import Client
from fhirbridge.errors import SiteRefused
from fhirbridge.fhir.bundle import Address, match_reads, reads
from fhirbridge.fhir.json import Json, Tree
from fhirbridge.records import Decimal

Held: TypeAlias = dict[Address, Tree | None]
_WRITTEN_BY_SERVERS = frozenset({"meta", "id"})


def read_held(client: Client, addresses: Iterable[Address], most: int) -> Held:
    """The resources at these addresses, ``None`` where there is none; ``most`` are asked for at a time.

    Reads, not searches: a search may be answered from a cache or an index that lags. Raises :class:`SiteError`.
    """
    held: Held = {}
    waiting = iter(dict.fromkeys(addresses))
    while some := list(islice(waiting, most)):
        held |= _read_some(client, some)
    return held


def _read_some(client: Client, some: Sequence[Address]) -> Held:
    try:
        found = match_reads(some, client.post_bundle(reads(some)))
    except SiteRefused as refused:
        # A server without batches answers with a client error; anything else is trouble, not an inability.
        if refused.status not in (400, 404, 405, 415, 422, 501):
            raise
        found = None
    return {address: client.read(address) for address in some} if found is None else found


def says_the_same(ours: Tree, theirs: Tree) -> bool:
    """Whether a server's copy says what we would write: all but ``meta`` alike, and ``meta`` has at least ours.

    Numbers count by their value: SEKMET makes 0.5 of 0.50, HAPI 100 of 1e2. Nothing is missed by that: a record that
    was corrected so has a new revision, which is a tag in ``meta``.
    """
    if not _alike(_content(ours), _content(theirs)):
        return False
    mine, other = ours.get("meta"), theirs.get("meta")
    return all(_has(other, name, item) for name in ("profile", "security", "tag") for item in _listed(mine, name))


def version_of(resource: Tree) -> str | None:
    """The version a server gave its copy."""
    meta = resource.get("meta")
    version = meta.get("versionId") if isinstance(meta, dict) else None
    return version if isinstance(version, str) else None


def _content(resource: Tree) -> Tree:
    return {name: member for name, member in resource.items() if name not in _WRITTEN_BY_SERVERS}


def _alike(one: Json, other: Json) -> bool:
    if isinstance(one, dict):
        return (
            isinstance(other, dict) and one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)
        )
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(_alike, one, other))
    if _is_number(one) and _is_number(other):
        return decimal.Decimal(str(one)) == decimal.Decimal(str(other))
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def _is_number(value: Json) -> bool:
    return isinstance(value, int | LosslessFloat | Decimal) and not isinstance(value, bool)


def _listed(meta: Json, name: str) -> Iterator[Json]:
    listed = meta.get(name) if isinstance(meta, dict) else None
    yield from listed if isinstance(listed, list) else ()


def _has(meta: Json, name: str, wanted: Json) -> bool:
    # A server may add a display to a label, or drop it.
    return any(_mark(item) == _mark(wanted) for item in _listed(meta, name))


def _mark(item: Json) -> Json:
    return (item.get("system"), item.get("code")) if isinstance(item, dict) else item
