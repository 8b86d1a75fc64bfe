"""Pull: pages of resources from a site → records with residue. One bad resource never stops a page.

The site's consents are read first. Then each resource is decided by all consents of its patient, the clinic's and
those of the site: what they do not permit is left out, and only counted.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from fhirbridge.audit import Denied
from fhirbridge.client.paging import pages
from fhirbridge.consent import Decider, Decision, subject_of
from fhirbridge.errors import Fault, ResourceRefused
from fhirbridge.fhir.bundle import Address, resources
from fhirbridge.fhir.json import Tree
from fhirbridge.ledger import Ledger
from fhirbridge.mapping import Reading
from fhirbridge.records import Consent, Record
from fhirbridge.residue import Entry
from fhirbridge.site import Site
from fhirbridge.sync.evidence import read
from fhirbridge.sync.gate import UNFULFILLED, fulfils
from fhirbridge.sync.hearsay import hear_consents
from fhirbridge.sync.identity import lane_of
from fhirbridge.sync.plan import NOTICE
from fhirbridge.sync.references import without_literals
from fhirbridge.sync.resolve import patient_of
from fhirbridge.sync.whose import Whose

# What one server says of its own copy, which no other copy has.
_THE_SERVERS = frozenset({"meta.versionId", "meta.lastUpdated"})
# Patients whose consents are kept ready.
_MOST_PATIENTS = 1_000
_NO_PATIENT = Decision("deny", "no-consent")
_STORE = "store"


@dataclass(frozen=True, slots=True)
class Pulled:
    """One resource of a site: its reading, or the faults that keep it from being a record.

    ``left_out`` is the reason why consents do not permit to read it; then nothing of it is here.
    """

    resource_type: str
    id: str
    resource: Tree = field(repr=False)
    reading: Reading | None = None
    faults: tuple[Fault, ...] = ()
    left_out: str = ""

    @property
    def address(self) -> str:
        """``Type/id``, as far as the server said."""
        return f"{self.resource_type}/{self.id}"


def pull(
    site: Site, ledger: Ledger, types: Iterable[str] = (), *, clock: Callable[[], float] = time.time
) -> Iterator[Pulled]:
    """Read every resource of ``types`` (else of the site's types) and map each one back.

    ``clock`` gives the epoch seconds at which the consents are asked. Our own projections are skipped: they say nothing
    that their record does not. Raises :class:`SiteError` when the site does not answer properly,
    :class:`ConfigError` when it speaks another release, :class:`LedgerError`, :class:`AuditUnavailable`. Nothing of a
    page is handed out before all of it is decided and in the audit trail.
    """
    site.check()
    whose = Whose(site)
    hear_consents(site, ledger, whose)
    deciding = _Deciding(site, ledger, whose, clock())
    parameters = {"_count": str(site.settings.page_size)}
    for resource_type in dict.fromkeys(types or site.types):
        for page in pages(site.client, site.client.search(resource_type, parameters)):
            there = [one for one in resources(page) if not site.mappings.is_projection(one)]
            found = [_pulled(one, site, deciding) for one in there]
            # Before anything of it is handed out.
            _tell(site, found)
            yield from (pulled for pulled, _ in found)


def _tell(site: Site, page: Iterable[tuple[Pulled, _Said]]) -> None:
    """Tell the audit trail what of a page is handed out, and what is kept back. Raises :class:`AuditUnavailable`."""
    out: dict[str, list[Address]] = {}
    kept_back: dict[_Said, list[Address]] = {}
    for one, said in page:
        if one.left_out:
            kept_back.setdefault(said, []).append(Address(one.resource_type, one.id))
        else:
            out.setdefault(said.patient, []).append(Address(one.resource_type, one.id))
    act = site.reading.name
    site.audit.denies(
        [Denied(one.patient, act, one.reason, one.version, one.consents, places) for one, places in kept_back.items()]
    )
    site.audit.hands_out(list(out.items()))


def _pulled(resource: Tree, site: Site, deciding: _Deciding) -> tuple[Pulled, _Said]:
    named, own = resource.get("resourceType"), resource.get("id")
    place = (named if isinstance(named, str) else "", own if isinstance(own, str) else "")
    reading: Reading | None = None
    faults: tuple[Fault, ...] = ()
    try:
        reading = site.mappings.from_fhir(without_literals(resource))
    except ResourceRefused as refused:
        faults = refused.faults
    said = deciding.said(resource, None if reading is None else reading.record)
    if said.reason:
        return Pulled(*place, {}, left_out=said.reason), said
    if reading is None:
        return Pulled(*place, resource, faults=faults), said
    residue = tuple(entry for entry in reading.residue if not _is_added(entry))
    return Pulled(*place, resource, Reading(reading.record, residue)), said


def _is_added(entry: Entry) -> bool:
    """Whether it is no part of what the resource says: a server's stamp, or the notice that delivery added."""
    if entry.path.startswith("meta.security[") and isinstance(entry.value, dict):
        return bool(entry.value.get("code") == NOTICE["code"])
    return entry.path in _THE_SERVERS


class _Said(NamedTuple):
    """What was decided about a resource: whose it is (a key; empty: nobody knows), why it may not be read (empty: it
    may), and by which consents, in which version."""

    patient: str
    reason: str = ""
    version: int = 0
    consents: tuple[Address, ...] = ()


class _Deciding:
    """The decisions of one pull."""

    def __init__(self, site: Site, ledger: Ledger, whose: Whose, now: float) -> None:
        self._site, self._ledger, self._whose = site, ledger, whose
        self._at = dt.datetime.fromtimestamp(now, dt.UTC)
        self._deciders: dict[str, tuple[Decider, int]] = {}

    def said(self, resource: Tree, record: Record | None) -> _Said:
        """Whether a resource may be read. Raises :class:`SiteError` and :class:`LedgerError`."""
        patient = record.patient if record is not None else patient_of(resource)
        binding = self._site.mappings.binding
        if self._site.reading.name == _STORE:
            return _Said("" if patient is None else lane_of(patient, binding.clinic.id_key))
        if patient is None:
            return _Said("", _NO_PATIENT.reason)
        kind = record.kind if record is not None else ""
        state = record.state if isinstance(record, Consent) else None
        subject = subject_of(resource, kind, self._site.policies, state=state)
        key = self._whose.key_of(patient)
        decider, version = self._decider(key)
        found = decider.decide(self._site.reading, subject, self._at)
        reason = found.reason if not found.permitted else "" if fulfils(found) else UNFULFILLED
        named = dict.fromkeys(step.consent for step in found.trail) if reason else ()
        consents = tuple(Address("Consent", binding.resource_id(Consent.kind, one)) for one in named)
        return _Said(key, reason, version, consents)

    def _decider(self, patient: str) -> tuple[Decider, int]:
        found = self._deciders.get(patient)
        if found is None:
            if len(self._deciders) >= _MOST_PATIENTS:
                self._deciders.clear()
            trusted = self._site.name if self._site.settings.consent.trust else None
            known = self._ledger.consents(patient)
            found = Decider(read(known, trusted), self._site.policies), known.version
            self._deciders[patient] = found
        return found
