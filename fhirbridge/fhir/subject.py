"""Whose a resource is, as it says itself, before anything is believed of it."""

from __future__ import annotations

from fhirbridge.fhir.json import Tree


def named_patient(resource: Tree) -> tuple[str, str] | str | None:
    """The patient in ``subject`` or ``patient``: system (may be empty) and value of the identifier, else the literal
    reference, both as they stand there; ``None`` where neither names anybody."""
    for name in ("subject", "patient"):
        node = resource.get(name)
        if not isinstance(node, dict):
            continue
        identifier, literal = node.get("identifier"), node.get("reference")
        if isinstance(identifier, dict) and isinstance(identifier.get("value"), str):
            system = identifier.get("system")
            return system if isinstance(system, str) else "", identifier["value"]
        if isinstance(literal, str):
            return literal
    return None
