"""Read a site back against the ledger: what is missing, what was changed, what is there twice; mend what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, TypeAlias

from fhirbridge.client.paging import pages
from fhirbridge.errors import SiteRefused
from fhirbridge.fhir.bundle import Address, Copy, resources
from fhirbridge.fhir.json import Tree, parse_object
from fhirbridge.ledger import Action, Known, Ledger, Server
from fhirbridge.site import Site
from fhirbridge.sync.held import read_copies, says_the_same, version_of
from fhirbridge.sync.plan import newest_revision
from fhirbridge.sync.references import without_literals
from fhirbridge.sync.retraction import is_retracted
from fhirbridge.sync.ways import Ways

Finding: TypeAlias = Literal["intact", "missing", "older", "changed", "deleted", "duplicated", "resurrected"]
FINDINGS: tuple[Finding, ...] = ("intact", "missing", "older", "changed", "deleted", "duplicated", "resurrected")
# What the site lost can be given to it once more; what somebody changed or deleted there is theirs to explain.
MENDABLE = frozenset({"missing", "older"})
_LEARNT: dict[Finding, Server] = {"missing": Server.ABSENT, "deleted": Server.GONE}


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found of one resource that the site had acknowledged."""

    known: Known
    finding: Finding

    def as_json(self) -> Tree:
        """The finding as one line."""
        one = self.known
        place = f"{one.resource_type}/{one.server_id or one.resource_id}"
        return {"kind": one.kind, "id": one.record, "role": one.role, "resource": place, "finding": self.finding}


def verify(site: Site, ledger: Ledger, *, duplicates: bool = False) -> Iterator[Verified]:
    """Look at everything that was acknowledged. Raises :class:`SiteError` and :class:`LedgerError`.

    ``duplicates`` pages through the clinic's resources at the site as well.
    """
    ways = Ways(site, ledger)
    binding = site.mappings.binding
    systems = binding.code_systems("revision")
    waiting = (row for row in ledger.each_known(site.name) if _is_acknowledged(row))
    types: Counter[str] = Counter()
    while some := list(islice(waiting, ways.limit.entries)):
        types.update(row.resource_type for row in some)
        places = {row.resource: Address(row.resource_type, row.server_id or row.resource_id) for row in some}
        copies = read_copies(site.client, places.values(), ways.limit.entries)
        doubtful = [row for row in some if _needs_body(row, copies[places[row.resource]])]
        bodies = ledger.bodies([row.acked for row in doubtful if row.acked is not None])
        for row in some:
            body = bodies.get(row.acked or 0)
            yield Verified(row, _found(row, copies[places[row.resource]], body, systems))
    if duplicates:
        yield from _duplicates(site, ledger, types)


def mend(ledger: Ledger, found: Sequence[Verified], run: str) -> int:
    """Queue what the site lost once more, and write down what was found; how many were queued."""
    for one in found:
        server = _LEARNT.get(one.finding)
        if server is not None:
            ledger.learn(one.known.resource, server=server, reason=f"verify.{one.finding}")
    return ledger.resend([one.known.resource for one in found if one.finding in MENDABLE], run=run)


def _is_acknowledged(row: Known) -> bool:
    return row.acked is not None and row.server in (Server.PRESENT, Server.RETRACTED)


def _needs_body(row: Known, copy: Copy) -> bool:
    return copy.resource is not None and version_of(copy.resource) != row.version


def _found(row: Known, copy: Copy, body: bytes | None, systems: frozenset[str]) -> Finding:
    theirs = copy.resource
    if row.withdrawn and row.action is Action.RETRACT:
        if theirs is None:
            return "intact"
        return "intact" if is_retracted(theirs) else "resurrected"
    if theirs is None:
        return "deleted" if copy.gone else "missing"
    if row.version is not None and version_of(theirs) == row.version:
        return "intact"
    if body is None:
        return "changed"
    ours = parse_object(body)
    if says_the_same(ours, without_literals(theirs)):
        return "intact"
    newest, sent = newest_revision(theirs, systems), newest_revision(ours, systems)
    return "older" if newest is not None and sent is not None and newest < sent else "changed"


def _duplicates(site: Site, ledger: Ledger, types: Iterable[str]) -> Iterator[Verified]:
    """Resources with an identifier of ours that are not where the ledger knows them to be."""
    own = site.mappings.binding.sid("")
    for resource_type in types:
        elsewhere: dict[tuple[str, str], list[str]] = {}
        try:
            first = site.client.search(resource_type, {"_count": str(site.settings.page_size)})
        except SiteRefused:
            continue
        for page in pages(site.client, first):
            for resource in resources(page):
                for key in _identifiers(resource, own):
                    elsewhere.setdefault(key, []).append(str(resource.get("id")))
        several = {place for places in elsewhere.values() if len(set(places)) > 1 for place in places}
        for row in ledger.at_address(site.name, [(resource_type, place) for place in several]):
            if not row.withdrawn:
                yield Verified(row, "duplicated")


def _identifiers(resource: Tree, own: str) -> Iterator[tuple[str, str]]:
    listed = resource.get("identifier")
    for one in listed if isinstance(listed, list) else [listed]:
        if isinstance(one, dict) and isinstance(one.get("value"), str) and str(one.get("system", "")).startswith(own):
            yield str(one["system"]), one["value"]
