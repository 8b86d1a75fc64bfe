"""What the site holds already: read before anything is written over it, and after a write that was not proven."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from fhirbridge.client.rest import Client, path_of
from fhirbridge.errors import SiteRefused, SiteUntrusted
from fhirbridge.fhir.bundle import ABSENT, GONE, Address, Copy, match_reads, reads
from fhirbridge.fhir.json import Json, Tree
from fhirbridge.sync.conflict import alike

_WRITTEN_BY_SERVERS = frozenset({"meta", "id"})


def read_copies(client: Client, addresses: Iterable[Address], most: int) -> dict[Address, Copy]:
    """What the site holds at these addresses; ``most`` are asked for at a time.

    Reads, not searches: a search may be answered from a cache or an index that lags. Raises :class:`SiteError`.
    """
    copies: dict[Address, Copy] = {}
    waiting = iter(dict.fromkeys(addresses))
    while some := list(islice(waiting, most)):
        copies |= _read_some(client, some)
    return copies


def _read_some(client: Client, some: Sequence[Address]) -> dict[Address, Copy]:
    if len(some) == 1:
        return {some[0]: read_copy(client, some[0])}
    try:
        found = match_reads(some, client.post_bundle(reads(some)))
    except SiteRefused as refused:
        # A server without batches answers with a client error; anything else is trouble, not an inability.
        if refused.status not in (400, 404, 405, 415, 422, 501):
            raise
        found = None
    return {address: read_copy(client, address) for address in some} if found is None else found


def read_copy(client: Client, address: Address, version: str | None = None) -> Copy:
    """What the site holds at one address, now or in an earlier ``version``. Raises :class:`SiteError`."""
    path = path_of(address) if version is None else f"{path_of(address)}/_history/{version}"
    answer = client.ask("GET", path)
    if answer.status in (404, 410):
        return GONE if answer.status == 410 else ABSENT
    if answer.status != 200:
        raise SiteRefused(
            f"the site answered GET with status {answer.status}",
            status=answer.status,
            retry_after=answer.headers.get("retry-after"),
        )
    tree = answer.tree
    if not isinstance(tree, dict) or (tree.get("resourceType"), tree.get("id")) != (address.type, address.id):
        raise SiteUntrusted("the answer to a read is another resource", code="site.wrong_resource")
    return Copy(tree)


def says_the_same(ours: Tree, theirs: Tree) -> bool:
    """Whether a server's copy says what we would write: all but ``meta`` alike, and ``meta`` has at least ours.

    Numbers count by their value: SEKMET makes 0.5 of 0.50, HAPI 100 of 1e2. Nothing is missed by that: a record that
    was corrected so has a new revision, which is a tag in ``meta``.
    """
    if not alike(_content(ours), _content(theirs)):
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


def _listed(meta: Json, name: str) -> Iterator[Json]:
    listed = meta.get(name) if isinstance(meta, dict) else None
    yield from listed if isinstance(listed, list) else ()


def _has(meta: Json, name: str, wanted: Json) -> bool:
    # A server may add a display to a label, or drop it.
    return any(_mark(item) == _mark(wanted) for item in _listed(meta, name))


def _mark(item: Json) -> Json:
    return (item.get("system"), item.get("code")) if isinstance(item, dict) else item
