"""Pull: pages of resources from a site → records with residue. One bad resource never stops a page.

The site's consents are read first. Then each resource is decided by all consents of its patient, the clinic's and
those of the site: what they do not permit is left out, and only counted.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from fhirbridge.client.paging import pages
from fhirbridge.consent import Decider, Decision, subject_of
from fhirbridge.errors import Fault, ResourceRefused
from fhirbridge.fhir.bundle import resources
from fhirbridge.fhir.json import Tree
from fhirbridge.ledger import Ledger
from fhirbridge.mapping import Reading
from fhirbridge.records import Consent, Record
from fhirbridge.residue import Entry
from fhirbridge.site import Site
from fhirbridge.sync.evidence import read
from fhirbridge.sync.gate import UNFULFILLED, fulfils
from fhirbridge.sync.hearsay import hear_consents
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
    :class:`ConfigError` when it speaks another release, :class:`LedgerError`.
    """
    site.check()
    whose = Whose(site)
    hear_consents(site, ledger, whose)
    deciding = _Deciding(site, ledger, whose, clock())
    parameters = {"_count": str(site.settings.page_size)}
    for resource_type in dict.fromkeys(types or site.types):
        for page in pages(site.client, site.client.search(resource_type, parameters)):
            for resource in resources(page):
                if not site.mappings.is_projection(resource):
                    yield _pulled(resource, site, deciding)


def _pulled(resource: Tree, site: Site, deciding: _Deciding) -> Pulled:
    named, own = resource.get("resourceType"), resource.get("id")
    place = (named if isinstance(named, str) else "", own if isinstance(own, str) else "")
    reading: Reading | None = None
    faults: tuple[Fault, ...] = ()
    try:
        reading = site.mappings.from_fhir(without_literals(resource))
    except ResourceRefused as refused:
        faults = refused.faults
    reason = deciding.reason(resource, None if reading is None else reading.record)
    if reason:
        return Pulled(*place, {}, left_out=reason)
    if reading is None:
        return Pulled(*place, resource, faults=faults)
    residue = tuple(entry for entry in reading.residue if not _is_added(entry))
    return Pulled(*place, resource, Reading(reading.record, residue))


def _is_added(entry: Entry) -> bool:
    """Whether it is no part of what the resource says: a server's stamp, or the notice that delivery added."""
    if entry.path.startswith("meta.security[") and isinstance(entry.value, dict):
        return bool(entry.value.get("code") == NOTICE["code"])
    return entry.path in _THE_SERVERS


class _Deciding:
    """The decisions of one pull."""

    def __init__(self, site: Site, ledger: Ledger, whose: Whose, now: float) -> None:
        self._site, self._ledger, self._whose = site, ledger, whose
        self._at = dt.datetime.fromtimestamp(now, dt.UTC)
        self._deciders: dict[str, Decider] = {}

    def reason(self, resource: Tree, record: Record | None) -> str:
        """Why a resource may not be read; empty where it may. Raises :class:`SiteError` and :class:`LedgerError`."""
        if self._site.reading.name == _STORE:
            return ""
        found = self._decision(resource, record)
        if not found.permitted:
            return found.reason
        return "" if fulfils(found) else UNFULFILLED

    def _decision(self, resource: Tree, record: Record | None) -> Decision:
        patient = record.patient if record is not None else patient_of(resource)
        if patient is None:
            return _NO_PATIENT
        kind = record.kind if record is not None else ""
        state = record.state if isinstance(record, Consent) else None
        subject = subject_of(resource, kind, self._site.policies, state=state)
        return self._decider(self._whose.key_of(patient)).decide(self._site.reading, subject, self._at)

    def _decider(self, patient: str) -> Decider:
        found = self._deciders.get(patient)
        if found is None:
            if len(self._deciders) >= _MOST_PATIENTS:
                self._deciders.clear()
            trusted = self._site.name if self._site.settings.consent.trust else None
            found = Decider(read(self._ledger.consents(patient), trusted), self._site.policies)
            self._deciders[patient] = found
        return found
