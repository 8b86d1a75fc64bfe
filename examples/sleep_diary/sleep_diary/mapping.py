"""A night of a sleep diary ⇄ an Observation with components; the same in R4, R4B and R5."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fhirbridge.binding import Binding
from fhirbridge.codec.element import Element, Fixed, One, Rules, Single, Slots, Span, below
from fhirbridge.codec.extension import Simple
from fhirbridge.codec.leaf import Codec, Table, Term, an_object, at, concept_node, integer, keys_of, quantity, reference
from fhirbridge.errors import Refused
from fhirbridge.fhir.json import Json, Tree
from fhirbridge.mapping import BoundMapping, Kind, Part
from mappings.common import NOTES, Meta, identifiers
from sleep_diary.definitions import AFTER_SESSION, DIARY, QUALITY, SLEEP_AID, concepts
from sleep_diary.record import SleepNight

NAME = "sleep_diary"
SYSTEM = "sleep-diary"
STATUS = Table({"final": "final", "corrected": "corrected", "entered_in_error": "entered-in-error"})
# Not "survey": that category belongs to the kind "assessment", which is asked before this one.
ACTIVITY = concept_node([("http://terminology.hl7.org/CodeSystem/observation-category", "activity", "Activity")])
_NIGHT = "night"


class Component:
    """One value ⇄ one component of the Observation, told by its code."""

    def __init__(self, code: Tree, member: str, codec: Codec) -> None:
        self._code, self._member, self._codec = code, member, codec
        self._key = keys_of(code)[0]
        self.carries = below(member, codec.carries)

    def claims(self, item: Json) -> bool:
        return isinstance(item, dict) and self._key in keys_of(item.get("code"))

    def encode(self, value: Any) -> Json:
        return {"code": self._code, self._member: self._codec.encode(value)}

    def decode(self, node: Json) -> Any:
        tree = an_object(node)
        if self._member not in tree:
            raise Refused.at("resource.value", self._member, "the component has no value of its type")
        return at(self._member, self._codec.decode, tree[self._member])


def _components(binding: Binding) -> Slots:
    codes = concepts(binding, DIARY)
    quality = Term(concepts(binding, QUALITY), or_concept=True)
    asleep = Component(codes["time-asleep"], "valueQuantity", quantity)
    awakenings = Component(codes["awakenings"], "valueInteger", integer)
    rated = Component(codes["quality"], "valueCodeableConcept", quality)
    return Slots(
        "component",
        One("asleep", asleep, asleep.claims),
        One("awakenings", awakenings, awakenings.claims),
        One("quality", rated, rated.claims),
    )


class TimeAsleep:
    """The projection ``time-asleep``: the number alone, for readers that do not look into components."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding
        self._meta = Meta(binding)
        self._code = concepts(binding, DIARY)["time-asleep"]

    def __call__(self, record: SleepNight, resource: Tree) -> Iterable[Part]:
        role, key = "time-asleep", f"{record.id}-time-asleep"
        node: Tree = {
            "resourceType": "Observation",
            "id": self._binding.resource_id(NAME, record.id, role),
            "meta": self._meta.of(record, key, role),
            "identifier": [{"system": self._binding.sid(SYSTEM), "value": key}],
            "valueQuantity": quantity.encode(record.asleep),
            "code": self._code,
        }
        for name in ("status", "category", "subject", "effectivePeriod", "effectiveDateTime"):
            if name in resource:
                node[name] = resource[name]
        yield Part(role, "Observation", node["id"], node)


def bind(kind: Kind, binding: Binding) -> BoundMapping:
    """The mapping of nights for one site."""
    rules = Rules(
        Meta(binding),
        identifiers(binding, SYSTEM),
        Element("status", "status", STATUS, required=True),
        Fixed("category", [ACTIVITY]),
        Fixed("code", concepts(binding, DIARY)[_NIGHT]),
        Element("subject", "patient", reference, required=True),
        Element("encounter", "encounter", reference),
        Span("effective", "went_to_bed", "got_up"),
        Single("performer", "reported_by", reference),
        NOTES,
        _components(binding),
        Simple(binding, SLEEP_AID, "sleep_aid"),
        Simple(binding, AFTER_SESSION, "after_session"),
    )
    return BoundMapping(kind, binding, rules, projections=TimeAsleep(binding))


def claims(resource: Tree) -> bool:
    """Whether an Observation is a night of a diary: its code says so, under whatever canonical base."""
    return any(
        str(system).endswith(f"/CodeSystem/{DIARY.name}") and code == _NIGHT
        for system, code in keys_of(resource.get("code"))
    )


KIND = Kind(NAME, SleepNight, "Observation", bind, claims)
