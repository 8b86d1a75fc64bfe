"""From a FHIR Consent to what the decision takes: a record, or the fact that it cannot be read."""

from __future__ import annotations

from collections.abc import Callable

from fhirbridge.consent.evidence import Found, Unreadable
from fhirbridge.consent.shape import misshapen
from fhirbridge.errors import Refused
from fhirbridge.fhir.json import Tree
from fhirbridge.records import Record
from fhirbridge.records.consent import Consent


def evidence_of(
    resource: Tree, read: Callable[[Tree], Record], *, r5: bool, origin: str, may_permit: bool = False
) -> Found | Unreadable:
    """The evidence that a Consent found at ``origin`` is. ``read`` is the mapping's, and raises :class:`Refused`.

    Whatever is wrong with it makes it unreadable, with the code of the first fault and never a value.
    """
    own = resource.get("id")
    name = own if isinstance(own, str) else ""
    faults = misshapen(resource, r5=r5)
    if faults:
        return Unreadable(name, faults[0].code, origin)
    try:
        record = read(resource)
    except Refused as refused:
        return Unreadable(name, refused.faults[0].code, origin)
    if not isinstance(record, Consent):
        return Unreadable(name, "resource.type", origin)
    return Found(record, origin, may_permit)
