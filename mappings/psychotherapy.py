"""Ketamine-assisted psychotherapy: the therapy as a Procedure of its own, part of the session (specification §3.1)."""

from __future__ import annotations

from collections.abc import Iterable

from fhirbridge.binding import Binding
from fhirbridge.codec.leaf import concept_node
from fhirbridge.fhir.json import Tree
from fhirbridge.mapping import Part
from fhirbridge.records import Session
from mappings import terms
from mappings.common import Meta

ROLE = "psychotherapy"
CODE = concept_node([(terms.SNOMED, *terms.PSYCHOTHERAPY)], "psychotherapy")


def psychotherapy(binding: Binding, record: Session, resource: Tree) -> Iterable[Part]:
    """The projection ``psychotherapy`` of a KAP session. The therapist's note is never part of it."""
    if record.modality != "kap":
        return
    key = f"{record.id}-psychotherapy"
    system = binding.sid("treatment-session")
    node: Tree = {
        "resourceType": "Procedure",
        "id": binding.resource_id("session", record.id, ROLE),
        "meta": Meta(binding).of(record, key, ROLE),
        "identifier": [{"system": system, "value": key}],
        "partOf": [{"type": "Procedure", "identifier": {"system": system, "value": record.id}}],
        "status": resource["status"],
        "category": resource["category"],
        "code": CODE,
        "subject": resource["subject"],
    }
    for name in (
        "encounter",
        "performedPeriod",
        "performedDateTime",
        "occurrencePeriod",
        "occurrenceDateTime",
        "performer",
    ):
        if name in resource:
            node[name] = resource[name]
    yield Part(ROLE, "Procedure", node["id"], node)
