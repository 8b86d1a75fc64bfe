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
from fhirbridge.sync.before import is_before, is_ours_of_before
from fhirbridge.sync.held import read_copies, says_the_same, version_of
from fhirbridge.sync.plan import newest_revision
from fhirbridge.sync.references import without_literals
from fhirbridge.sync.retraction import is_retracted
from fhirbridge.sync.ways import Ways

Finding: TypeAlias = Literal["intact", "missing", "older", "changed", "deleted", "duplicated", "resurrected"]
FINDINGS: tuple[Finding, ...] = ("intact", "missing", "older", "changed", "deleted", "duplicated", "resurrected")
# What the site lost can be given to it once more; what somebody changed or deleted there is theirs to explain.
MENDABLE = frozenset({"missing", "older"})
_LEARNT: dict[Finding, Server] = {"missing": Server.ABSENT, "deleted": Server.GONE, "older": Server.PRESENT}


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found of one resource that the site had acknowledged, and the version that the site gives it now."""

    known: Known
    finding: Finding
    version: str | None = None

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
        doubtful = [row for row in some if _needs_body(row, copies[places[row.resource]], systems)]
        bodies = ledger.bodies([row.acked for row in doubtful if row.acked is not None])
        for row in some:
            copy, body = copies[places[row.resource]], bodies.get(row.acked or 0)
            finding = _found(row, copy, body, systems)
            theirs = copy.resource
            if finding == "older" and theirs is not None:
                ours = is_ours_of_before(site.name, ledger, row, theirs, systems)
                finding = "older" if ours else "changed"
            yield Verified(row, finding, None if theirs is None else version_of(theirs))
    if duplicates:
        yield from _duplicates(site, ledger, types)


def mend(ledger: Ledger, found: Sequence[Verified], run: str) -> int:
    """Queue what the site lost once more, and write down what was found; how many were queued."""
    for one in found:
        server = _LEARNT.get(one.finding)
        if server is not None:
            # Over an earlier version of ours that came back, it is an update of that one; what was acknowledged since
            # is no version of this server any more, and a merge with it would take our own past for a change of theirs.
            version = one.version if one.finding == "older" else None
            ledger.learn(one.known.resource, server=server, version=version, reason=f"verify.{one.finding}")
    return ledger.resend([one.known.resource for one in found if one.finding in MENDABLE], run=run)


def _is_acknowledged(row: Known) -> bool:
    return row.acked is not None and row.server in (Server.PRESENT, Server.RETRACTED)


def _needs_body(row: Known, copy: Copy, systems: frozenset[str]) -> bool:
    return copy.resource is not None and not _is_untouched(row, copy.resource, systems)


def _is_untouched(row: Known, theirs: Tree, systems: frozenset[str]) -> bool:
    """Whether the copy has the version that was acknowledged; one of an earlier revision has it by chance.

    A site that went back to older data gives the same versions once more.
    """
    if row.version is None or version_of(theirs) != row.version:
        return False
    return not is_before(row, theirs, systems)


def _found(row: Known, copy: Copy, body: bytes | None, systems: frozenset[str]) -> Finding:
    theirs = copy.resource
    if row.withdrawn and row.action is Action.RETRACT:
        if theirs is None:
            return "intact"
        return "intact" if is_retracted(theirs) else "resurrected"
    if theirs is None:
        return "deleted" if copy.gone else "missing"
    if _is_untouched(row, theirs, systems):
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
