"""The three forms of a consent: the record, and what comes back of it after it was written as FHIR R4 and as R5."""

from __future__ import annotations

from fhirbridge.binding import Binding, Clinic, Release
from fhirbridge.consent import Evidence, Found, Unreadable
from fhirbridge.fhir import json
from fhirbridge.fhir.json import Tree
from fhirbridge.mapping import Mappings
from fhirbridge.records import Consent
from mappings.consent import KIND

MAPPINGS = {
    release: Mappings(Binding(Clinic("clinic.example", b"k" * 32), release), {"consent": KIND})
    for release in (Release.R4, Release.R5)
}


def resource(release: Release, consent: Consent) -> Tree:
    """The Consent as it goes over the wire. Raises :class:`~fhirbridge.errors.NotExpressible`."""
    return json.parse_object(json.dump(MAPPINGS[release].to_fhir(consent).parts[0].resource))


def read(release: Release, tree: Tree) -> Consent:
    """The record of a Consent. Raises :class:`~fhirbridge.errors.ResourceRefused`."""
    record = MAPPINGS[release].from_fhir(tree).record
    assert isinstance(record, Consent)
    return record


def through(release: Release, one: Evidence) -> Evidence:
    """The same consent after it was written and read."""
    if isinstance(one, Unreadable):
        return one
    if isinstance(one, Found):
        return Found(read(release, resource(release, one.consent)), one.origin, one.may_permit)
    return read(release, resource(release, one))
