"""Where a lane's patient and the targets of its references are on the site.

A reference becomes literal only towards what is certainly there when the resource arrives: the patient's chart, what
goes in the same transaction or has been acknowledged, what the ledger or the site itself knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from pydantic import ValidationError

from fhirbridge.fhir.bundle import Address, Copy
from fhirbridge.fhir.json import Tree
from fhirbridge.fhir.subject import named_patient
from fhirbridge.ledger import Known, Ledger, Server
from fhirbridge.mapping import PRIMARY
from fhirbridge.records import Identifier, Ref
from fhirbridge.site import Site
from fhirbridge.sync.held import read_copies
from fhirbridge.sync.plan import own_pointers
from fhirbridge.sync.references import Pointer, pointers, rank


def patient_of(resource: Tree) -> Ref | None:
    """Whose resource it is: the reference in ``subject`` or ``patient``, as far as it names somebody."""
    named = named_patient(resource)
    if named is None:
        return None
    try:
        if isinstance(named, str):
            return Ref(literal=named)
        system, value = named
        return Ref(type="Patient", identifier=Identifier(system=system or None, value=value))
    except ValidationError:
        # A blank, a control character: that is nobody's name.
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
    return {pointer: address for resource, address in resources for pointer in own_pointers(resource)}


class Elsewhere:
    """Targets that are not on their way: records of the clinic that the site has from before, and its directory.

    ``clock`` gives epoch seconds.
    """

    def __init__(self, site: Site, ledger: Ledger, most: int, clock: Callable[[], float]) -> None:
        self._site = site
        self._ledger = ledger
        self._most = most
        self._clock = clock

    def strangers(self, wanted: Iterable[Pointer], lane: str) -> frozenset[Pointer]:
        """Those that mean a record which the ledger knows to be another patient's. Raises :class:`LedgerError`."""
        candidates = self._candidates(wanted)
        lanes: dict[tuple[str, str], set[str]] = {}
        for row in self._ledger.known(self._site.name, set(candidates.values())) if candidates else ():
            if row.role == PRIMARY and not row.withdrawn:
                lanes.setdefault((row.kind, row.record), set()).add(row.lane)
        of_others = {record for record, several in lanes.items() if lane not in several}
        return frozenset(pointer for (pointer, _), record in candidates.items() if record in of_others)

    def find(self, wanted: Iterable[Pointer]) -> dict[Pointer, Address]:
        """The addresses of those that are there. Raises :class:`SiteError` and :class:`LedgerError`.

        What a lane wants at once names its patient, whose records alone may be meant.
        """
        wanted = frozenset(wanted)
        whose = frozenset(one for one in wanted if one[0] == "Patient")
        # An encounter is somebody's, everything else in a directory is nobody's.
        chart = self._chart(whose) if any(one[0] == "Encounter" for one in wanted) else None
        return self._of_ours(wanted, whose) | self._site.directory.find(wanted, chart, self._clock())

    def _chart(self, whose: frozenset[Pointer]) -> Address | None:
        if len(whose) != 1:
            return None
        ((_, system, value),) = whose
        patient = Ref(type="Patient", identifier=Identifier(system=system or None, value=value))
        found = self._site.patients.find(patient, self._clock())
        return found if isinstance(found, Address) else None

    def _candidates(self, wanted: Iterable[Pointer]) -> dict[tuple[Pointer, str], tuple[str, str]]:
        """The records that each may mean, by pointer and kind: those of the clinic's own identifier systems."""
        ours = {one for one in wanted if one[1].startswith(self._site.mappings.binding.sid(""))}
        return {
            (pointer, kind.name): (kind.name, pointer[2])
            for pointer in ours
            for kind in self._site.mappings.kinds.values()
            if kind.resource_type == pointer[0]
        }

    def _of_ours(self, wanted: Iterable[Pointer], whose: frozenset[Pointer]) -> dict[Pointer, Address]:
        binding = self._site.mappings.binding
        candidates = self._candidates(wanted)
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
            if _means(copies[address], pointer) and _is_of(copies[address], whose):
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


def _means(copy: Copy, pointer: Pointer) -> bool:
    return copy.resource is not None and pointer in own_pointers(copy.resource)


def _is_of(copy: Copy, whose: frozenset[Pointer]) -> bool:
    """Whether a copy is one of these patients', as far as both say."""
    patient = patient_of(copy.resource) if copy.resource is not None else None
    theirs = patient_pointer(patient) if patient is not None else None
    return theirs is None or not whose or theirs in whose
