"""Which record a resource speaks for: read from what was sent, by the server's log and by the judge alike."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from fhirbridge.fhir.json import canonical

Tree: TypeAlias = dict[str, Any]
# 42 CFR 2.32: goes with substance use content that a consent lets go.
_NOTICE = "NORDSCLCD"


@dataclass(frozen=True, slots=True)
class Marks:
    """``identity`` names record and role; ``patient`` is the identifier of the chart's owner, ``chart`` its address.

    ``retracts`` is true when the resource says that it should never have been.
    """

    identity: str
    identifier: str
    revision: str
    patient: str
    chart: str
    retracts: bool
    hash: str


def marks(resource: Tree) -> Marks:
    """Read the marks of a resource. One without tags is known by its identifier, one without that by its id."""
    tags = {str(one.get("system", "")).rpartition("/")[2]: str(one.get("code", "")) for one in _tags(resource)}
    identifiers = [f"{one.get('system', '')}|{one.get('value', '')}" for one in identifiers_of(resource)]
    own = tags.get("record-key") or (identifiers[0] if identifiers else str(resource.get("id", "")))
    subject: Tree = next(
        (resource[name] for name in ("subject", "patient") if isinstance(resource.get(name), dict)), {}
    )
    about = subject.get("identifier", {})
    return Marks(
        identity=f"{resource['resourceType']}|{own}|{tags.get('role', 'primary')}",
        identifier=identifiers[0] if identifiers else "",
        revision=tags.get("revision", ""),
        patient=f"{about.get('system', '')}|{about['value']}" if "value" in about else "",
        chart=str(subject.get("reference", "")),
        retracts=_retracts(resource),
        hash=content_hash(resource),
    )


def identifiers_of(resource: Tree) -> list[Tree]:
    """The identifiers, whether the type has one (AdverseEvent before R5) or several."""
    held = resource.get("identifier", [])
    return [one for one in ([held] if isinstance(held, dict) else held) if isinstance(one, dict)]


def content_hash(resource: Tree) -> str:
    """A hash over what the resource says: without its id, its tags, the versions that servers give, and without what is
    found at delivery: the literal addresses of references that have an identifier, the notice on what may be shared
    but not passed on.
    """
    told = {name: _without_literals(value) for name, value in resource.items() if name not in ("id", "meta")}
    meta = resource.get("meta", {})
    told["meta"] = {name: meta[name] for name in meta if name not in ("tag", "versionId", "lastUpdated")}
    if "security" in meta:
        told["meta"]["security"] = [label for label in meta["security"] if label.get("code") != _NOTICE]
    return hashlib.sha256(canonical(told)).hexdigest()[:16]


def _without_literals(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_literals(one) for one in node]
    if not isinstance(node, dict):
        return node
    found = isinstance(node.get("identifier"), dict)
    return {name: _without_literals(value) for name, value in node.items() if not (found and name == "reference")}


def _tags(resource: Tree) -> Iterator[Tree]:
    meta = resource.get("meta")
    yield from (one for one in (meta or {}).get("tag", ()) if isinstance(one, dict))


def _retracts(resource: Tree) -> bool:
    said = [resource.get("status"), *(one.get("valueCode") for one in resource.get("modifierExtension", ()))]
    return "entered-in-error" in said
