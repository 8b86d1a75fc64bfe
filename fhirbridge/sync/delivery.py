"""Deliver one round of one patient's records: choose what must be sent, send it bundle by bundle, and prove it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from fhirbridge.errors import Fault, FhirbridgeError, SiteError, SiteRefused, SiteUnreachable, SiteUntrusted
from fhirbridge.fhir.bundle import Address, BundleType, EntryOutcome, State, match, puts
from fhirbridge.fhir.json import Tree
from fhirbridge.mapping import Part
from fhirbridge.records import Ref
from fhirbridge.site import Site
from fhirbridge.sync.held import Held, read_held, says_the_same, version_of
from fhirbridge.sync.outcomes import DELIVERED, RecordOutcome, combine
from fhirbridge.sync.plan import Planned, addresses, newest_revision, ordered, own_pointers, packed, revision_key
from fhirbridge.sync.references import Pointer, pointers, rank, with_literals

# Refusals that speak of the moment or of who is asking; trying smaller bundles would not help.
_NOT_NOW = frozenset({401, 403, 408, 423, 425, 429, 502, 503, 504})


class _Own(NamedTuple):
    """A resource of this round: where it goes, whose it is, and how deep it stands in the order of delivery."""

    address: Address
    owner: tuple[str, str]
    level: int


class Delivery:
    """One round. ``chart`` is the patient on the server; no record comes twice in ``records``."""

    def __init__(self, site: Site, patient: Ref, chart: Address, records: Sequence[Planned]) -> None:
        self._site = site
        self._client = site.client
        self._chart = chart
        self._patient = patient.identifier
        self._kind: BundleType = site.bundle_type
        self._levels = ordered(records)
        self._level = {one.key: depth for depth, level in enumerate(self._levels) for one in level}
        self._own = {
            pointer: _Own(Address(part.resource_type, part.id), one.key, self._level[one.key])
            for one in records
            for part in one.parts
            for pointer in own_pointers(part)
        }
        self._elsewhere = self._candidates(records)
        self._results: dict[Address, EntryOutcome] = {}
        self._faults: dict[Address, tuple[Fault, ...]] = {}
        self._held: Held = {}
        base = site.mappings.binding
        self._revision_tags = frozenset(f"{one}/CodeSystem/revision" for one in base.bases)

    def run(self) -> Iterator[tuple[Planned, RecordOutcome]]:
        """Deliver, and yield each record's outcome after its bundle. Raises :class:`SiteUnreachable`."""
        records = [one for level in self._levels for one in level]
        wanted = [*addresses(records), *(one for several in self._elsewhere.values() for one in several)]
        limit = self._site.settings.bundle_entries
        try:
            self._held = read_held(self._client, wanted, limit)
        except (SiteRefused, SiteUntrusted) as error:
            for one in records:
                yield one, RecordOutcome(one.line, "failed", faults=(as_fault(error),), dropped=one.dropped)
            return
        for chunk in packed(self._levels, limit, self._kind):
            try:
                self._deliver(chunk)
            except (SiteUnreachable, KeyboardInterrupt):
                begun = [one for one in chunk if any(address in self._results for address in addresses([one]))]
                yield from ((one, self._outcome(one)) for one in begun)
                raise
            yield from ((one, self._outcome(one)) for one in chunk)

    def _candidates(self, records: Sequence[Planned]) -> dict[Pointer, tuple[Address, ...]]:
        """Where records of the clinic would be that these point to and that are not among them."""
        binding, kinds = self._site.mappings.binding, self._site.mappings.kinds.values()
        found: dict[Pointer, tuple[Address, ...]] = {}
        for pointer in (pointer for one in records for part in one.parts for pointer in pointers(part.resource)):
            target, system, value = pointer
            if pointer not in self._own and system.startswith(binding.sid("")):
                named = [kind.name for kind in kinds if kind.resource_type == target]
                found[pointer] = tuple(Address(target, binding.resource_id(name, value)) for name in named)
        return found

    def _deliver(self, chunk: Sequence[Planned]) -> None:
        """Send a bundle. Where the site refuses it whole its halves are tried, so that the good ones get through."""
        try:
            for wave in self._waves(chunk):
                self._send(self._chosen(wave, chunk))
        except SiteRefused as refused:
            divisible = len(chunk) > 1 and refused.status not in _NOT_NOW
            if divisible:
                middle = len(chunk) // 2
                self._deliver(chunk[:middle])
                self._deliver(chunk[middle:])
            else:
                self._refused(chunk, refused)

    def _waves(self, chunk: Sequence[Planned]) -> Iterator[list[tuple[Planned, Part]]]:
        """What goes together. In a batch no entry may point to another, so projections follow their primaries."""
        pairs = [(one, part) for one in chunk for part in one.parts]
        if self._kind == "transaction":
            yield pairs
        else:
            yield [pair for pair in pairs if pair[1] is pair[0].parts[0]]
            yield [pair for pair in pairs if pair[1] is not pair[0].parts[0]]

    def _chosen(self, wave: Sequence[tuple[Planned, Part]], chunk: Sequence[Planned]) -> dict[Address, Tree]:
        """The resources that must be sent, references resolved; what the site holds already is settled here."""
        together = frozenset(addresses(chunk)) if self._kind == "transaction" else frozenset()
        sending: dict[Address, Tree] = {}
        for one, part in wave:
            address = Address(part.resource_type, part.id)
            resource = with_literals(
                part.resource,
                lambda pointer, one=one, part=part: self._resolve(  # type: ignore[misc]
                    pointer, one, part, together
                ),
            )
            theirs = self._held.get(address)
            newest = newest_revision(theirs, self._revision_tags) if theirs is not None else None
            newer = newest is not None and newest > revision_key(one.record.revision)
            if theirs is not None and (newer or says_the_same(resource, theirs)):
                self._results[address] = EntryOutcome("unchanged", version=version_of(theirs))
            elif self._results.get(address, _NOTHING).state not in DELIVERED:
                sending[address] = resource
        return sending

    def _resolve(self, pointer: Pointer, one: Planned, part: Part, together: frozenset[Address]) -> Address | None:
        target, system, value = pointer
        if target == "Patient":
            mine = self._patient
            same = mine is not None and (mine.system or "", mine.value) == (system, value)
            return self._chart if same else None
        own = self._own.get(pointer)
        if rank(target) > rank(part.resource_type):
            return None
        if own is None:
            found = [address for address in self._elsewhere.get(pointer, ()) if self._is_held(address, pointer)]
            return found[0] if len(found) == 1 else None
        if own.owner != one.key and own.level >= self._level[one.key]:
            return None
        delivered = self._results.get(own.address, _NOTHING).state in DELIVERED
        return own.address if delivered or own.address in together or self._held.get(own.address) else None

    def _is_held(self, address: Address, pointer: Pointer) -> bool:
        resource = self._held.get(address)
        part = Part("", address.type, address.id, resource) if resource else None
        return part is not None and pointer in own_pointers(part)

    def _send(self, sending: dict[Address, Tree]) -> None:
        """Send resources in as few bundles as allowed. Raises :class:`SiteRefused` if one is refused as a whole."""
        limit = self._site.settings.bundle_entries
        waiting = list(sending)
        for start in range(0, len(waiting), limit):
            some = waiting[start : start + limit]
            # Until the answer is there, what has left may have arrived.
            self._results |= dict.fromkeys(some, EntryOutcome("unknown"))
            try:
                response = self._client.post_bundle(puts(self._kind, self._client.base, [sending[one] for one in some]))
            except SiteUnreachable as error:
                if not error.sent:
                    self._results |= dict.fromkeys(some, _UNSENT)
                    raise
                self._settle(some, EntryOutcome("unknown"), error)
            except SiteUntrusted as error:
                self._settle(some, EntryOutcome("unknown"), error)
            except SiteRefused as error:
                if error.status < 500:
                    raise
                # Some servers have done the work when they say 500; look before judging.
                self._settle(some, EntryOutcome("unknown", error.status), error)
                self._prove(some, sending, "failed")
                if error.status not in _NOT_NOW and any(self._results[one].state == "failed" for one in some):
                    raise
                continue
            else:
                for address, outcome in zip(some, match(some, response), strict=True):
                    self._client.hear(outcome.issues)
                    self._results[address] = outcome
                    self._faults.pop(address, None)
            self._prove(some, sending, "unknown")

    def _settle(self, some: Iterable[Address], outcome: EntryOutcome, error: SiteError) -> None:
        for address in some:
            self._results[address] = outcome
            self._faults[address] = faults_of(error)

    def _prove(self, some: Sequence[Address], sending: dict[Address, Tree], otherwise: State) -> None:
        """Read back what is unknown: if the site now says what was sent, it was delivered; else it is ``otherwise``."""
        open_ones = [address for address in some if self._results[address].state == "unknown"]
        # When even reading fails, what is unknown stays unknown.
        with contextlib.suppress(SiteError):
            found = read_held(self._client, open_ones, self._site.settings.bundle_entries)
            for address in open_ones:
                theirs, result = found.get(address), self._results[address]
                if theirs is not None and says_the_same(sending[address], theirs):
                    state: State = "updated" if self._held.get(address) else "created"
                    self._results[address] = replace(result, state=state, version=version_of(theirs))
                else:
                    self._results[address] = replace(result, state=otherwise)

    def _refused(self, chunk: Sequence[Planned], error: SiteRefused) -> None:
        state: State = "failed" if error.status in _NOT_NOW or error.status >= 500 else "refused"
        undelivered = [one for one in addresses(chunk) if self._results.get(one, _NOTHING).state not in DELIVERED]
        self._settle(undelivered, EntryOutcome(state, error.status), error)

    def _outcome(self, one: Planned) -> RecordOutcome:
        pairs = [(part, self._results.get(Address(part.resource_type, part.id), _UNSENT)) for part in one.parts]
        said = (fault for address in addresses([one]) for fault in self._faults.get(address, ()))
        return combine(one.line, pairs, tuple(dict.fromkeys(said)), one.dropped)


_NOTHING = EntryOutcome("unknown")
_UNSENT = EntryOutcome("failed")


def as_fault(error: FhirbridgeError) -> Fault:
    """An error as one fault, without its issues."""
    return Fault(error.code, "", error.message, error.hint)


def faults_of(error: SiteError) -> tuple[Fault, ...]:
    """An error as faults: the server's issues where it gave any."""
    issues = error.issues if isinstance(error, SiteRefused) else ()
    return issues or (as_fault(error),)
