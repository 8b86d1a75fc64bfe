"""What the clinic's mappings publish, found through the entry-point group ``fhirbridge.conformance``."""

from __future__ import annotations

from fhirbridge.conformance import CodeSystem, Publication, ValueSet
from mappings.extensions import AE_STATUS, EXTENSIONS
from mappings.local import CODE_SYSTEMS

PUBLICATION = Publication(
    publisher="fhirbridge",
    date="2026-11-22",
    extensions=EXTENSIONS,
    code_systems=tuple(
        CodeSystem(system.name, system.title, {coded.code: coded.display for coded in system.table.values()})
        for system in CODE_SYSTEMS
    ),
    value_sets=(
        ValueSet(
            AE_STATUS.name,
            "Statuses of adverse event records",
            "http://hl7.org/fhir/event-status",
            ("in-progress", "completed", "entered-in-error", "unknown"),
        ),
    ),
)
