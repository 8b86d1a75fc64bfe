"""Keyed hashes: whose a record is, and what a resource says. From neither can anybody guess the patient."""

from __future__ import annotations

import hmac

from fhirbridge.fhir.json import Tree, canonical
from fhirbridge.records import Identifier, Ref, to_json


def lane_of(patient: Ref, key: bytes) -> str:
    """The lane of a patient: a keyed hash of the identifier, from which nobody can guess the patient."""
    # What the reference displays, or what kind of identifier it is, must not part one patient's records.
    named = patient.identifier
    same = to_json(patient) if named is None else {"system": named.system or "", "value": named.value or ""}
    return hmac.new(key, b"lane|" + canonical(same), "sha256").hexdigest()[:32]


def lane_named(system: str, value: str, key: bytes) -> str:
    """The same of the patient with this identifier; an empty system is none."""
    return lane_of(Ref(type="Patient", identifier=Identifier(system=system or None, value=value)), key)


def content_of(resource: Tree, key: bytes) -> str:
    """The keyed hash of what a resource says: without its address, its tags and the versions that servers give.

    A literal reference is no part of it: resources are hashed before delivery adds any.
    """
    meta = resource.get("meta")
    said = {name: member for name, member in resource.items() if name not in ("id", "meta")}
    if isinstance(meta, dict):
        said["meta"] = {name: meta[name] for name in meta if name not in ("tag", "versionId", "lastUpdated")}
    return hmac.new(key, canonical(said), "sha256").hexdigest()
