"""What to do when nobody knows whether a write was done: look, as its strategy has it, and never send blindly. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from fhirbridge.binding import Release
from fhirbridge.config import WriteName
from fhirbridge.fhir.bundle import Address
from fhirbridge.fhir.json import Tree
from fhirbridge.sync.plan import own_pointers
from fhirbridge.sync.strategy import CONTENT_SEARCH, CONTENT_SEARCH_R5, Strategy
from fhirbridge.sync.writing import Target, token

Verdict: TypeAlias = Literal["adopt", "resend", "look", "park"]


@dataclass(frozen=True, slots=True)
class Rule:
    """How often to find nothing before it counts as not done, and the fewest seconds before and between the looks.

    Where the server remembers the key of the first try, trying again is safe after one look, or without any.
    """

    looks: int
    apart: float = 0.0


# A read sees what was written; a search sees it when the index does, so nothing found once proves nothing. With no
# guard at all on the server the second look is a minute later.
RULES: dict[WriteName, Rule] = {
    "client-id": Rule(1),
    "idempotency-key": Rule(1, 10.0),
    "conditional-update": Rule(2, 10.0),
    "conditional-create": Rule(2, 10.0),
    "conditional-create-tag": Rule(2, 10.0),
    "search-then-create": Rule(2, 60.0),
}
# As often as a server error is met (:mod:`fhirbridge.sync.retry`): an update that a site takes each time, without ever
# saying so, and never as it was sent.
MOST_ATTEMPTS = 3
# Of a server whose index was never measured.
_PRESUMED_LAG = 30.0


@dataclass(frozen=True, slots=True)
class Look:
    """What to ask: read ``address``, search with ``parameters`` (by POST: they name the patient's data), or nothing.

    ``wait`` is the seconds since the write, or since the look before, to let pass first. ``known``: the server has
    acknowledged the resource before.
    """

    by: Literal["read", "search", "key"]
    address: Address | None = None
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)
    wait: float = 0.0
    known: bool = False


def look(strategy: Strategy, target: Target, resource: Tree) -> Look | None:
    """How to find out what became of a write; ``None`` where there is no way, which needs a person."""
    rule = RULES[strategy.name]
    if target.server_id is not None or strategy.rung.key == "id":
        known = target.server_id is not None or target.version is not None
        return Look("read", Address(target.type, target.server_id or target.id), known=known)
    lag = strategy.index_lag if strategy.index_lag is not None else _PRESUMED_LAG
    parameters = _parameters(strategy, target, resource)
    if parameters:
        return Look("search", parameters=parameters, wait=max(rule.apart, 2 * lag))
    return Look("key") if strategy.name == "idempotency-key" else None


def verdict(asked: Look | None, strategy: Strategy, found: int | None, looks: int, *, gone: bool = False) -> Verdict:
    """What follows from what was found.

    ``found`` counts the resources with our identity, ``None`` if the server refused to say; ``looks`` is how often
    nothing was found, this look included; ``gone`` that the server says it was deleted.
    """
    # A key is remembered also where nobody may search.
    keyed = strategy.name == "idempotency-key"
    if asked is not None and (asked.by == "key" or (keyed and asked.by == "search" and found is None)):
        return "resend"
    if asked is None or found is None or found > 1 or gone:
        return "park"
    if found == 1:
        return "adopt"
    if asked.known:
        # It was there: somebody deleted it, and some servers say 404 for that. It is not brought back.
        return "park"
    needed = 1 if asked.by == "read" else RULES[strategy.name].looks
    return "resend" if looks >= needed else "look"


def carries(target: Target, resource: Tree) -> bool:
    """Whether a resource that was found is the target: another clinic may use the same tag, and some servers answer a
    search that they do not understand with everything."""
    if resource.get("resourceType") != target.type or target.identifier is None:
        return False
    return (target.type, *target.identifier) in own_pointers(resource)


def _parameters(strategy: Strategy, target: Target, resource: Tree) -> dict[str, str]:
    match strategy.rung.key:
        case "identifier" if target.identifier is not None:
            return {"identifier": token(target, "identifier")}
        case "_tag" if target.tag is not None:
            return {"_tag": token(target, "_tag")}
        case "content":
            return _content(strategy, resource)
        case _:
            return {}


def _content(strategy: Strategy, resource: Tree) -> dict[str, str]:
    """One event of one patient; nothing where the resource lacks a part of that."""
    table = CONTENT_SEARCH_R5 if strategy.release is Release.R5 else CONTENT_SEARCH
    found = {name: _value(name, resource) for name in table.get(strategy.resource_type, ())}
    return {name: value for name, value in found.items() if value} if all(found.values()) else {}


def _value(parameter: str, resource: Tree) -> str | None:
    if parameter in ("patient", "subject"):
        reference = resource.get("subject") or resource.get("patient")
        literal = reference.get("reference") if isinstance(reference, dict) else None
        return literal if isinstance(literal, str) else None
    if parameter == "code":
        codings = resource.get("code", {}).get("coding") or [{}]
        return f"{codings[0].get('system', '')}|{codings[0]['code']}" if codings[0].get("code") else None
    for name in _TIMES:
        time = resource.get(name)
        start = time.get("start") if isinstance(time, dict) else time
        if isinstance(start, str):
            return start
    return None


# T9: R5 spells MedicationAdministration's time with one r.
_TIMES = (
    "date",
    "occurrenceDateTime",
    "occurrencePeriod",
    "occurenceDateTime",
    "occurencePeriod",
    "effectiveDateTime",
    "effectivePeriod",
    "performedDateTime",
    "performedPeriod",
)
