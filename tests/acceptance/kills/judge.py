"""The server as its own judge: each resource searched for by its identifier, all of a type counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from fhirbridge.client.paging import pages
from fhirbridge.errors import ResourceRefused
from fhirbridge.fhir.bundle import Address, address_of, resources, search_token
from fhirbridge.fhir.json import Tree
from fhirbridge.site import Site
from fhirbridge.sync.held import says_the_same, version_of
from fhirbridge.sync.plan import newest_revision
from fhirbridge.sync.references import without_literals
from tests.acceptance.kills.clinic import Clinic, Wanted, digest

# Identifiers in one search. No server here gives fewer on a page.
_TOGETHER = 40


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a server holds of ``wanted`` resources, by its own word.

    ``missing``: not found by identifier; ``older``: of an earlier revision; ``other``: of this revision and saying
    something else; ``twice``: found more than once, or at another address; ``surplus``: resources beyond what the
    clinic has, by the totals of the types; ``again``: versions beyond the writes that it takes, which are harmless;
    ``unproven``: resources that no Provenance names; what a server refused in a bundle and took alone has none.
    """

    wanted: int
    missing: frozenset[Address]
    older: frozenset[Address]
    other: frozenset[Address]
    twice: frozenset[Address]
    surplus: int
    again: int
    unproven: int

    @property
    def is_good(self) -> bool:
        """Whether exactly what was wanted is there, each once and in its newest revision."""
        wrong = self.missing | self.older | self.other | self.twice
        return not wrong and not self.surplus


def judge(clinic: Clinic, release: str) -> Verdict:
    """Search the server. Raises :class:`SiteError`."""
    with clinic.open() as site:
        found = _found(site, clinic.wanted, release)
        systems = site.mappings.binding.code_systems("revision")
        held = {address: several[0] for address, several in found.items() if several}
        newest = {address: newest_revision(one, systems) for address, one in held.items()}
        wanted = clinic.wanted
        same = [address for address, revision in newest.items() if revision == wanted[address].revision]
        proven = set(_named_by_provenance(site))
        return Verdict(
            wanted=len(wanted),
            missing=frozenset(wanted.keys() - held.keys()),
            older=frozenset(held.keys() - set(same)),
            other=frozenset(one for one in same if not _says(site, wanted[one], held[one])),
            twice=frozenset(one for one, several in found.items() if {address_of(it) for it in several} - {one}),
            surplus=_surplus(site, clinic),
            again=sum(max(0, int(version_of(one) or 1) - wanted[at].writes) for at, one in held.items()),
            unproven=len([one for one in held if str(one) not in proven]),
        )


def _found(site: Site, wanted: dict[Address, Wanted], release: str) -> dict[Address, list[Tree]]:
    """Everything that carries the identifier of a wanted resource, the one at its own address first."""
    found: dict[Address, list[Tree]] = {address: [] for address in wanted}
    for kind in dict.fromkeys(one.type for one in wanted):
        # R4 has no search for adverse events by identifier.
        parameter = "_tag" if (kind, release) == ("AdverseEvent", "r4") else "identifier"
        system = site.mappings.binding.code_system("record-key")
        tokens = {
            search_token(system, one.key) if parameter == "_tag" else search_token(*one.pointer[1:]): one
            for one in wanted.values()
            if one.address.type == kind
        }
        waiting = iter(tokens)
        while some := list(islice(waiting, _TOGETHER)):
            first = site.client.search_by_post(kind, {parameter: ",".join(some), "_count": "50"})
            by_pointer = {tokens[one].pointer: tokens[one].address for one in some}
            for resource in (one for page in pages(site.client, first) for one in resources(page)):
                found[by_pointer[_pointer(resource)]].append(resource)
    for address, several in found.items():
        several.sort(key=lambda one, own=address: address_of(one) != own)  # type: ignore[misc]
    return found


def _pointer(resource: Tree) -> tuple[str, str, str]:
    identifier = resource["identifier"]
    one = identifier[0] if isinstance(identifier, list) else identifier
    return resource["resourceType"], one["system"], one["value"]


def _says(site: Site, wanted: Wanted, theirs: Tree) -> bool:
    """Whether the server's copy reads as the record, or says what the projection of it says."""
    bare = without_literals(theirs)
    if wanted.says is None:
        return says_the_same(wanted.resource, bare)
    try:
        return digest(site.mappings.from_fhir(bare).record) == wanted.says
    except ResourceRefused:
        return False


def _surplus(site: Site, clinic: Clinic) -> int:
    """How many resources there are beyond the clinic's, of its types and of its patients."""
    surplus = 0
    for kind in clinic.types():
        if kind == "Provenance":
            continue
        total = site.client.search(kind, {"_summary": "count", "_total": "accurate"})["total"]
        own = clinic.patients if kind == "Patient" else sum(one.type == kind for one in clinic.wanted)
        surplus += max(0, total - own)
    return surplus


def _named_by_provenance(site: Site) -> Iterator[str]:
    for page in pages(site.client, site.client.search("Provenance", {"_count": "50"})):
        for one in resources(page):
            for target in one["target"]:
                yield "/".join(target["reference"].split("/")[-2:])
