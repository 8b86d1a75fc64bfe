"""Adverse events: what R5 says otherwise than R4 (specification §3.5, §4.1)."""

from __future__ import annotations

from collections.abc import Sequence

from fhirbridge.binding import Binding
from fhirbridge.codec.element import Element, Extensions, Many, Rules, Slots, decode_each, has_member
from fhirbridge.codec.leaf import Inside, at, concept, moment, period, reference
from fhirbridge.codec.writer import Draft
from fhirbridge.errors import Refused
from fhirbridge.fhir.json import Json, Tree
from fhirbridge.records.adverse_event import AdverseEvent, may_contribute
from mappings import extensions as own
from mappings.adverse_event_items import Item
from mappings.adverse_event_r4 import target_of_tree
from mappings.adverse_event_words import participant_function

_TIMES = {"start": "onset", "end": "resolved_at"}
_CHOICES = ("occurrencePeriod", "occurrenceDateTime", "occurrenceTiming")


class Occurrence:
    """Onset and end ⇄ ``occurrencePeriod``. A dateTime is read as the onset; a Timing stays with the resource."""

    name = "occurrencePeriod"
    fields = ("onset", "resolved_at")
    # Not the period: where a dateTime says it, the source has none, and that is residue.
    carries: tuple[str, ...] = ()

    def write(self, record: AdverseEvent, node: Tree, extensions: list[Tree]) -> None:
        span: Tree = {}
        if record.onset is not None:
            span["start"] = str(record.onset)
        if record.resolved_at is not None:
            span["end"] = str(record.resolved_at)
        if span:
            node["occurrencePeriod"] = span

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        given = [name for name in _CHOICES if name in node]
        if len(given) > 1:
            raise Refused.at("resource.contradiction", given[1], "the resource gives two times")
        if "occurrencePeriod" in node:
            span = at("occurrencePeriod", period.decode, node["occurrencePeriod"])
            values |= {_TIMES[name]: time for name, time in span.items()}
        elif "occurrenceDateTime" in node:
            values["onset"] = at("occurrenceDateTime", moment.decode, node["occurrenceDateTime"])


def participants() -> Slots:
    """Contributors and participants ⇄ ``participant``: staff or a device without a function is a contributor."""
    participant = Rules(
        Element("function", "function", participant_function()), Element("actor", "actor", reference, required=True)
    )
    return Slots(
        "participant",
        Many("contributors", Inside("actor", reference), _is_contributor),
        Many("participants", participant),
    )


def _is_contributor(item: Json) -> bool:
    if not isinstance(item, dict) or "function" in item or not isinstance(item.get("actor"), dict):
        return False
    return may_contribute(_target(item["actor"]))


def _target(node: Tree) -> str | None:
    # The literal address of a target that has an identifier is no part of the record, so it cannot tell either.
    literal = None if "identifier" in node else node.get("reference")
    return target_of_tree({"type": node.get("type"), "literal": literal})


def results() -> Slots:
    """Diagnoses and findings ⇄ ``resultingEffect``, told apart by the type of the target."""
    return Slots(
        "resultingEffect",
        Many("resulting_conditions", reference, lambda item: not _is_observation(item)),
        Many("resulting_findings", reference),
    )


def _is_observation(item: Json) -> bool:
    return isinstance(item, dict) and _target(item) == "Observation"


class SupportingRole:
    """A slot of ``supportingInfo`` for what R4 has an element for; our extension says which."""

    def __init__(self, binding: Binding, field: str, role: str) -> None:
        self.field, self._role = field, role
        self._extension = {"url": own.SUPPORTING_INFO_ROLE.written_url(binding), "valueCode": role}
        self._urls = (own.SUPPORTING_INFO_ROLE.written_url(binding),)
        self._codec = Inside("itemReference", reference)
        self.fields: tuple[str, ...] = (field,)
        self.carries: tuple[str, ...] = self._codec.carries

    def claims(self, item: Json) -> bool:
        if not isinstance(item, dict) or "itemReference" not in item or not isinstance(item.get("extension"), list):
            return False
        return any(
            isinstance(one, dict) and one.get("url") in self._urls and one.get("valueCode") == self._role
            for one in item["extension"]
        )

    def draft(self, to: Draft) -> None:
        item = f"{{'extension': [{to.name(self._extension)}], **{to.encoded(self._codec)}}}"
        to.given(self.field, f"items.append({item})", many=True)

    def take(self, name: str, items: Sequence[tuple[int, Json]], values: Tree) -> None:
        values[self.field] = decode_each(name, self._codec, items)


def supporting_info(binding: Binding) -> Slots:
    """History, documents and whatever else bears on the event ⇄ ``supportingInfo``."""
    return Slots(
        "supportingInfo",
        SupportingRole(binding, "medical_history", "history"),
        SupportingRole(binding, "documents", "document"),
        Many("supporting_info", Item("item")),
    )


def preventive_actions() -> Slots:
    """What was done to prevent the next ⇄ ``preventiveAction``; one that is a reference stays with the resource."""
    codec = Inside("itemCodeableConcept", concept)
    return Slots("preventiveAction", Many("preventive_actions", codec, has_member("itemCodeableConcept")))
