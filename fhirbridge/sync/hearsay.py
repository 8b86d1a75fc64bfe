"""Consents that a hospital holds: kept as evidence, where they may forbid, and never permit, what the clinic's do not.

The clinic's own consents come back from there, too. They say nothing new, unless somebody changed them.
"""

from __future__ import annotations

from collections.abc import Iterator

from fhirbridge.binding import Release
from fhirbridge.client.paging import pages
from fhirbridge.consent import Unreadable, evidence_of
from fhirbridge.fhir.bundle import resources
from fhirbridge.fhir.json import Tree, canonical, parse_object
from fhirbridge.ledger import Evidence, Ledger
from fhirbridge.records import to_json
from fhirbridge.site import Site
from fhirbridge.sync.evidence import CLINIC
from fhirbridge.sync.plan import revision_key, revision_of
from fhirbridge.sync.references import without_literals
from fhirbridge.sync.resolve import patient_of
from fhirbridge.sync.whose import Whose

CONSENT = "Consent"
# Evidence kept in one transaction.
_PAGE = 100
# What a site, or a label rule of the clinic, may add without changing what a consent says.
_ASIDE = frozenset({"sensitivity", "source", "notes", "additional_identifiers"})


def hear_consents(site: Site, ledger: Ledger, whose: Whose) -> int:
    """Keep the consents that a site holds; how many of them could not be read.

    Raises :class:`SiteError` when it does not answer properly: what may be forbidden there is not known then.
    """
    if site.capabilities.types and CONSENT not in site.capabilities.types:
        return 0
    unread = 0
    waiting: list[Evidence] = []
    for resource in _there(site):
        found = _evidence(resource, site, ledger, whose)
        if found is not None:
            unread += found.body is None
            waiting.append(found)
        if len(waiting) >= _PAGE:
            ledger.keep_evidence(waiting)
            waiting = []
    ledger.keep_evidence(waiting)
    return unread


def _there(site: Site) -> Iterator[Tree]:
    parameters = {"_count": str(site.settings.page_size)}
    for page in pages(site.client, site.client.search(CONSENT, parameters)):
        yield from (one for one in resources(page) if one.get("resourceType") == CONSENT)


def _evidence(resource: Tree, site: Site, ledger: Ledger, whose: Whose) -> Evidence | None:
    """A consent of the site as evidence; nothing where it names no patient, or says what the clinic's own says."""
    patient = patient_of(resource)
    if patient is None:
        return None
    key = whose.key_of(patient)
    r5 = site.mappings.binding.release is Release.R5
    said = evidence_of(
        resource, lambda tree: site.mappings.from_fhir(without_literals(tree)).record, r5=r5, origin=site.name
    )
    if isinstance(said, Unreadable):
        return Evidence(key, site.name, f"{CONSENT}/{said.id}", _version(resource), None, said.reason)
    found = Evidence(key, site.name, said.consent.id, said.consent.revision, canonical(to_json(said.consent)))
    return None if _is_known(found, ledger) else found


def _is_known(found: Evidence, ledger: Ledger) -> bool:
    """Whether it is the clinic's own consent, as it was sent or older, and never was anything else there."""
    held = ledger.consents(found.patient).evidence
    if any((one.source, one.record) == (found.source, found.record) for one in held):
        return False
    own = next((one for one in held if (one.source, one.record) == (CLINIC, found.record)), None)
    if own is None:
        return False
    ours, theirs = revision_key(revision_of(str(own.revision))), revision_key(found.revision)
    return theirs < ours or (theirs == ours and _said(own) == _said(found))


def _said(one: Evidence) -> bytes:
    tree = {} if one.body is None else parse_object(one.body)
    return canonical({name: member for name, member in tree.items() if name not in _ASIDE})


def _version(resource: Tree) -> int:
    meta = resource.get("meta")
    version = meta.get("versionId") if isinstance(meta, dict) else None
    return int(version) if isinstance(version, str) and version.isdecimal() and len(version) < 19 else 0
