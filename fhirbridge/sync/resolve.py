"""Where a lane's patient and the targets of its references are on the site.

A reference becomes literal only towards what is certainly there when the resource arrives: the patient's chart, what
goes in the same transaction or has been acknowledged, what the ledger or the site itself knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fhirbridge.fhir.bundle import Address, Copy
from fhirbridge.fhir.json import Json, Tree
from fhirbridge.ledger import Known, Ledger, Server
from fhirbridge.mapping import PRIMARY, Part
from fhirbridge.records import Identifier, Ref
from fhirbridge.site import Site
from fhirbridge.sync.held import read_copies
from fhirbridge.sync.plan import own_pointers
from fhirbridge.sync.references import Pointer, pointers, rank


def patient_of(resource: Tree) -> Ref | None:
    """Whose resource it is: the reference in ``subject`` or ``patient``, as far as it names somebody."""
    for name in ("subject", "patient"):
        node = resource.get(name)
        if not isinstance(node, dict):
            continue
        identifier, literal = node.get("identifier"), node.get("reference")
        if isinstance(identifier, dict) and isinstance(identifier.get("value"), str):
            system = identifier.get("system")
            named = Identifier(system=system if isinstance(system, str) else None, value=identifier["value"])
            return Ref(type="Patient", identifier=named)
        if isinstance(literal, str):
            return Ref(literal=literal)
    return None


def patient_pointer(patient: Ref) -> Pointer | None:
    """The logical reference that means this patient."""
    identifier = patient.identifier
    return None if identifier is None else ("Patient", identifier.system or "", identifier.value or "")


def named_by(resource: Tree, own: Mapping[Pointer, Address]) -> frozenset[Address]:
    """What of ``own`` a resource may name by address: only what comes before it in the order of delivery.

    Which of two records that name each other came first must not decide what either of them says.
    """
    here = rank(resource["resourceType"])
    found = {pointer: own[pointer] for pointer in pointers(resource) if pointer in own}
    return frozenset(address for pointer, address in found.items() if rank(pointer[0]) <= here)


def own_addresses(resources: Iterable[tuple[Tree, Address]]) -> dict[Pointer, Address]:
    """The logical references that mean these resources, with their addresses."""
    return {
        pointer: address
        for resource, address in resources
        for pointer in own_pointers(Part("", address.type, address.id, resource))
    }


class Elsewhere:
    """Targets that are not on their way: records of the clinic that the site has from before."""

    def __init__(self, site: Site, ledger: Ledger, most: int) -> None:
        self._site = site
        self._ledger = ledger
        self._most = most

    def find(self, wanted: Iterable[Pointer]) -> dict[Pointer, Address]:
        """The addresses of those that are there. Raises :class:`SiteError` and :class:`LedgerError`."""
        binding = self._site.mappings.binding
        ours = {one for one in wanted if one[1].startswith(binding.sid(""))}
        candidates = {
            (pointer, kind.name): (kind.name, pointer[2])
            for pointer in ours
            for kind in self._site.mappings.kinds.values()
            if kind.resource_type == pointer[0]
        }
        if not candidates:
            return {}
        known = self._known(candidates.values())
        found = {pointer: known[record] for (pointer, _), record in candidates.items() if known.get(record) is not None}
        unseen = {
            (pointer, name): Address(pointer[0], binding.resource_id(name, pointer[2]))
            for (pointer, name), record in candidates.items()
            if record not in known
        }
        copies = read_copies(self._site.client, unseen.values(), self._most) if unseen else {}
        for (pointer, _), address in unseen.items():
            if _means(copies[address], address, pointer):
                found[pointer] = address
        return {pointer: address for pointer, address in found.items() if address is not None}

    def _known(self, records: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Address | None]:
        """Where the ledger knows records' primaries to be; ``None`` for what it knows not to be there."""
        found: dict[tuple[str, str], Address | None] = {}
        for row in self._ledger.known(self._site.name, set(records)):
            if row.role == PRIMARY and row.server is not Server.UNSEEN:
                found[row.kind, row.record] = _place(row) or found.get((row.kind, row.record))
        return found


def _place(row: Known) -> Address | None:
    if row.withdrawn or row.server is not Server.PRESENT:
        return None
    return Address(row.resource_type, row.server_id or row.resource_id)


def _means(copy: Copy, address: Address, pointer: Pointer) -> bool:
    resource: Json = copy.resource
    return resource is not None and pointer in own_pointers(Part("", address.type, address.id, resource))
