"""The events of a trail, each together with how it ended: what people read, and what a repository is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fhirbridge.audit import files, line
from fhirbridge.audit.acts import BUNDLES, DENIAL, EXPORT, PROFILES, REQUESTS, Act
from fhirbridge.audit.keys import Keys
from fhirbridge.audit.shape import outcome
from fhirbridge.fhir.json import Tree

_WELL = "0"


def events(folder: Path, keys: Keys) -> Iterator[Tree]:
    """Every AuditEvent, when it is known how it ended; those of which that is not known come last, without an outcome.

    Only lines with a right MAC are taken: whether all are there is :func:`fhirbridge.audit.verify.verify`'s. Raises
    :class:`OSError`.
    """
    waiting: dict[str, Tree] = {}
    names, _ = files.names_in(folder)
    for name in names:
        with files.reading(folder / name) as descriptor, open(descriptor, "rb", closefd=False) as file:
            for raw in iter(lambda: file.readline(line.LONGEST), b""):
                found = line.read(raw.rstrip(b"\n"), keys)
                if found is None:
                    continue
                if found.says == "event":
                    event = found.tree
                    if "outcome" in event:
                        yield _profiled(event)
                    else:
                        waiting[str(event.get("id"))] = event
                elif found.says == "outcome":
                    said = found.tree
                    event = waiting.pop(str(said.get("of")), {})
                    if event:
                        yield _profiled(_with(event, said))
    yield from waiting.values()


def _with(event: Tree, said: Mapping[str, Any]) -> Tree:
    """An event with how it ended; parts that ended otherwise are told at their entities."""
    code, words = str(said.get("code")), str(said.get("words", ""))
    ended = outcome(code, words, r5=_is_r5(event))
    parts = dict(said.get("parts", ()))
    return event | ended | ({"entity": _marked(event, parts)} if parts else {})


def _marked(event: Tree, parts: Mapping[int, str]) -> list[Tree]:
    """The entities, those of a bundle's entries with their states where they did not end well."""
    r5, place, marked = _is_r5(event), -1, []
    for one in event.get("entity", ()):
        member = one.keys() == {"what"}
        place += member
        state = parts.get(place) if member else None
        detail = {"type": {"text": "outcome"} if r5 else "outcome", "valueString": state}
        marked.append(one | ({"detail": [detail]} if state else {}))
    return marked


def _is_r5(event: Tree) -> bool:
    return "code" in event


def _profiled(event: Tree) -> Tree:
    """With the BALP profile that it follows. BALP 1.1.3 is written for R4, and for what ended well, or was denied."""
    act = None if _is_r5(event) else _BY_CODES.get(_codes(event))
    if act is None or (event.get("outcome") != _WELL and act is not DENIAL):
        return event
    # A denial of somebody without any consent has nothing for the profile's mandatory consent.
    if act is DENIAL and not any(_entity_code(one) == "Consent" for one in event.get("entity", ())):
        return event
    has_patient = any(_entity_code(one) == "1" for one in event.get("entity", ()))
    name = act.of_patient if has_patient else act.profile
    head = {"resourceType": event["resourceType"], "id": event["id"], "meta": {"profile": [PROFILES + name]}}
    return head | event if name else event


def _entity_code(entity: Tree) -> str:
    kind = entity.get("type")
    return str(kind.get("code", "")) if isinstance(kind, dict) else ""


def _codes(event: Tree) -> tuple[str, ...]:
    return str(event["type"]["code"]), *(str(one["code"]) for one in event.get("subtype", ()))


_BY_CODES: dict[tuple[str, ...], Act] = {
    (act.type[1], *(code for _, code in act.subtypes)): act
    for act in (*REQUESTS.values(), *BUNDLES.values(), DENIAL, EXPORT)
}
