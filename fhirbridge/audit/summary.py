"""An AuditEvent in a few words, whichever release it is written in: for people, and for finding events again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fhirbridge.fhir.json import Json, Tree

# The ends of the identifier systems under which a patient, and a resource that has no id of ours, stand keyed.
_PATIENT, _ADDRESS = "/sid/patient-key", "/sid/address-key"
OUTCOMES = {"0": "well", "4": "refused", "8": "failed", "": "unknown"}


@dataclass(frozen=True, slots=True)
class Summary:
    """What happened. ``site`` is its name, empty for the clinic's own keeping; ``patient`` a key; ``words`` say how it
    ended; ``resources`` counts what it was about."""

    recorded: str
    what: str
    site: str
    outcome: str
    words: str
    patient: str
    resources: int
    id: str

    def as_json(self) -> Tree:
        """The summary as one line."""
        return {
            "recorded": self.recorded, "what": self.what, "site": self.site, "outcome": self.outcome,
            "words": self.words, "patient": self.patient, "resources": self.resources, "id": self.id,
        }  # fmt: skip


def summary(event: Tree) -> Summary:
    """The summary of an event as the trail holds it, together with how it ended."""
    outcome, words = _outcome(event)
    entities = [one for one in _listed(event, "entity") if isinstance(one, dict)]
    patient = next((_value(one) for one in entities if _system(one).endswith(_PATIENT)), "")
    resources = sum("reference" in _member(one, "what") or _system(one).endswith(_ADDRESS) for one in entities)
    what = " ".join(_codes(event))
    return Summary(
        str(event.get("recorded", "")), what, _site(event), OUTCOMES.get(outcome, outcome), words, patient, resources,
        str(event.get("id", "")),
    )  # fmt: skip


def _outcome(event: Tree) -> tuple[str, str]:
    found = event.get("outcome")
    if isinstance(found, dict):
        details = [str(one.get("text", "")) for one in _listed(found, "detail") if isinstance(one, dict)]
        return str(_member(found, "code").get("code", "")), " ".join(details)
    return str(found or ""), str(event.get("outcomeDesc", ""))


def _codes(event: Tree) -> Iterator[str]:
    several = [*_listed(event, "subtype"), *_listed(_member(event, "code"), "coding")]
    yield from (str(one.get("code", "")) for one in several or [_member(event, "type")] if isinstance(one, dict))


def _site(event: Tree) -> str:
    names = (
        str(who["display"])
        for one in _listed(event, "agent")
        if isinstance(one, dict)
        and isinstance(who := one.get("who"), dict)
        and "type" not in who
        and "identifier" in who
        and "display" in who
    )
    return next(names, "")


def _system(entity: Tree) -> str:
    return str(_member(_member(entity, "what"), "identifier").get("system", ""))


def _value(entity: Tree) -> str:
    return str(_member(_member(entity, "what"), "identifier").get("value", ""))


def _member(node: Tree, name: str) -> Tree:
    found = node.get(name)
    return found if isinstance(found, dict) else {}


def _listed(node: Tree, name: str) -> list[Json]:
    found = node.get(name)
    return found if isinstance(found, list) else []
