"""Rating scales and monitoring scores ⇄ Observation (specification §3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fhirbridge.binding import Binding
from fhirbridge.codec.element import Extensions, Many, One, Rules, Slots, decode_each
from fhirbridge.codec.extension import Complex, Simple
from fhirbridge.codec.leaf import (
    Table,
    Term,
    a_list,
    an_object,
    at,
    concept,
    concept_node,
    keys_of,
    quantity,
    quantity_node,
)
from fhirbridge.errors import Refused
from fhirbridge.fhir.json import Json, Tree
from fhirbridge.mapping import BoundMapping, Kind, Part
from fhirbridge.records import Assessment
from fhirbridge.records.vitals import Item
from mappings import extensions, local, terms
from mappings.common import Meta, term
from mappings.observation import ABSENT_REASON, Category, Code, shared_rules

SCORE = "{score}"
_MODES = {
    "self_administered": "self-administered",
    "interview": "interview",
    "telephone": "telephone",
    "video": "video",
    "electronic": "electronic",
}
SURVEY = concept_node([(terms.OBSERVATION_CATEGORY.system, *terms.OBSERVATION_CATEGORY.table["survey"])])


def scale_nodes(binding: Binding) -> dict[str, Tree]:
    """The code of each scale: LOINC where verified, else our own; PCL-5's LOINC code only where a site wants secondary
    codes, for it was seen in secondary sources only (and 70221-7 is another scale, trap T15)."""
    own = local.SCALE.codings(binding)
    nodes: dict[str, Tree] = {}
    for scale, name in terms.SCALE_NAME.items():
        if scale in terms.SCALE_LOINC.table:
            codings = [terms.SCALE_LOINC.coding(scale)]
        elif scale in terms.SCALE_LOCAL:
            codings = [own[terms.SCALE_LOCAL[scale]]]
        else:
            codings = [terms.SECONDARY_SCALE.coding(scale)] if binding.overlay.secondary_codes else []
        nodes[scale] = {"coding": codings, "text": name} if codings else {"text": name}
    return nodes


class ScaleTerm(Term):
    """A scale word; one without any code is recognised by its name."""

    def __init__(self, nodes: Mapping[str, Tree], aliases: Mapping[tuple[str, str], str]) -> None:
        super().__init__(nodes, aliases)
        self._names = {node["text"]: word for word, node in nodes.items() if "coding" not in node}

    def word_of(self, node: Json) -> str | None:
        word = super().word_of(node)
        if word is None and isinstance(node, dict) and node.keys() == {"text"}:
            return self._names.get(node["text"])
        return word


class ItemCodec:
    """One item ⇄ one component: its code and points, a coded answer, or the reason why there is none."""

    carries = (
        "code.coding.system",
        "code.coding.code",
        *(f"valueQuantity.{path}" for path in ("value", "code", "system")),
        *(f"valueCodeableConcept.{path}" for path in concept.carries),
    )

    def __init__(self) -> None:
        self._nodes = {
            item: concept_node([(terms.LOINC, *coded)], item) for item, coded in terms.SCALE_ITEM.table.items()
        }

    def encode(self, item: Item) -> Json:
        node: Tree = {"code": self.code_of(item)}
        if item.value is not None:
            node["valueQuantity"] = quantity_node(item.value, SCORE)
        elif item.answer is not None:
            node["valueCodeableConcept"] = concept.encode(item.answer)
        else:
            node["dataAbsentReason"] = ABSENT_REASON.encode(item.absent_reason)  # type: ignore[arg-type]
        return node

    def code_of(self, item: Item) -> Tree:
        """The item's code: as others coded it, by LOINC, or, for want of a code, its id as text (decision D7)."""
        if item.code is not None:
            return dict(concept.encode(item.code))
        return self._nodes.get(item.item) or {"text": item.item}

    def decode(self, node: Json) -> Tree:
        tree = an_object(node)
        code = an_object(tree.get("code"))
        text = code.get("text")
        if "coding" not in code or (isinstance(text, str) and keys_of(self._nodes.get(text)) == keys_of(code)):
            value: Tree = {"item": text}
        else:
            keys = keys_of(code)
            value = {"item": keys[0][1] if keys else None, "code": at("code", concept.decode, code)}
        if "valueQuantity" in tree:
            value["value"] = _score(at("valueQuantity", quantity.decode, tree["valueQuantity"]))["value"]
        if "valueCodeableConcept" in tree:
            value["answer"] = at("valueCodeableConcept", concept.decode, tree["valueCodeableConcept"])
        if "dataAbsentReason" in tree:
            value["absent_reason"] = at("dataAbsentReason", ABSENT_REASON.decode, tree["dataAbsentReason"])
        return value


def _score(amount: Tree) -> Tree:
    if amount["unit"] != SCORE:
        raise Refused.at("resource.unit", "valueQuantity.code", "a score has no other unit", f"write {SCORE}")
    return amount


class Result:
    """``value[x]``, ``dataAbsentReason`` and ``component``: the score or answer, and the items (decision D2)."""

    name = "value"
    fields = ("score", "comparator", "answer", "absent_reason", "items")

    def __init__(self, items: ItemCodec) -> None:
        self._items = items
        self.carries = (
            *(f"valueQuantity.{path}" for path in quantity.carries),
            *(f"valueCodeableConcept.{path}" for path in concept.carries),
            *(f"component.{path}" for path in items.carries),
        )

    def write(self, record: Assessment, node: Tree, extensions: list[Tree]) -> None:
        fields = record.__dict__
        if (score := fields["score"]) is not None:
            node["valueQuantity"] = quantity_node(score, SCORE, fields["comparator"])
        elif (answer := fields["answer"]) is not None:
            node["valueCodeableConcept"] = concept.encode(answer)
        elif (absent := fields["absent_reason"]) is not None:
            node["dataAbsentReason"] = ABSENT_REASON.encode(absent)
        if items := fields["items"]:
            node["component"] = [self._items.encode(item) for item in items]

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        if "valueQuantity" in node:
            amount = _score(at("valueQuantity", quantity.decode, node["valueQuantity"]))
            values["score"] = amount["value"]
            if "comparator" in amount:
                values["comparator"] = amount["comparator"]
        if "valueCodeableConcept" in node:
            values["answer"] = at("valueCodeableConcept", concept.decode, node["valueCodeableConcept"])
        if "dataAbsentReason" in node:
            values["absent_reason"] = at("dataAbsentReason", ABSENT_REASON.decode, node["dataAbsentReason"])
        if "component" in node:
            components = at("component", a_list, node["component"])
            values["items"] = decode_each("component", self._items, enumerate(components))


class Band:
    """A severity band ⇄ an interpretation that is words only."""

    carries = ("text",)

    def encode(self, value: str) -> Json:
        return {"text": value}

    def decode(self, node: Json) -> Any:
        return node["text"]


def _words_only(item: Json) -> bool:
    return isinstance(item, dict) and "coding" not in item and "text" in item


class Panel:
    """For a US server, PHQ-9, GAD-7 and C-SSRS also as a panel whose members are the total and one Observation an
    item.
    """

    def __init__(self, binding: Binding, items: ItemCodec) -> None:
        self._binding, self._items = binding, items
        self._meta = Meta(binding)
        self._system = binding.sid("scale")

    def __call__(self, record: Assessment, resource: Tree) -> Iterable[Part]:
        scale = record.scale if isinstance(record.scale, str) else ""
        if not self._binding.overlay.us_core or scale not in terms.SCALE_PANEL.table or not record.items:
            return
        members = [self._member(record.id)]
        for item in record.items:
            if item.item in terms.SCALE_ITEM.table:
                part = self._part(
                    record, resource, f"item/{item.item}", f"{record.id}-{item.item}", self._items.encode(item)
                )
                members.append(self._member(f"{record.id}-{item.item}"))
                yield part
        panel = {"code": concept_node([(terms.LOINC, *terms.SCALE_PANEL.table[scale])], terms.SCALE_NAME[scale])}
        yield self._part(record, resource, "panel", f"{record.id}-panel", panel | {"hasMember": members})

    def _member(self, key: str) -> Tree:
        return {"type": "Observation", "identifier": {"system": self._system, "value": key}}

    def _part(self, record: Assessment, resource: Tree, role: str, key: str, content: Tree) -> Part:
        node: Tree = {
            "resourceType": "Observation",
            "id": self._binding.resource_id("assessment", record.id, role),
            "meta": self._meta.of(record, key, role),
            "identifier": [{"system": self._system, "value": key}],
        }
        for name in (
            "partOf",
            "status",
            "category",
            "subject",
            "encounter",
            "effectiveDateTime",
            "issued",
            "performer",
        ):
            if name in resource:
                node[name] = resource[name]
        return Part(role, "Observation", node["id"], node | content)


def bind(kind: Kind, binding: Binding) -> BoundMapping:
    """The mapping of assessments for one site; the same in every release."""
    nodes = scale_nodes(binding)
    code = Code("scale", nodes, unknown=concept.decode, term=ScaleTerm(nodes, _aliases(binding)))
    items = ItemCodec()
    rules = Rules(
        *shared_rules(binding, "scale", code, Category("scale", lambda scale: SURVEY)),
        Complex(binding, extensions.INSTRUMENT, "instrument"),
        Simple(binding, extensions.ADMINISTRATION_MODE, "administration_mode", Table(_MODES)),
        Slots(
            "interpretation",
            One("severity_band", Band(), _words_only),
            Many("interpretation", term(terms.INTERPRETATION)),
        ),
        Result(items),
    )
    return BoundMapping(kind, binding, rules, projections=Panel(binding, items))


def _aliases(binding: Binding) -> dict[tuple[str, str], str]:
    words = {word: scale for scale, word in terms.SCALE_LOCAL.items()}
    own = {key: words[word] for key, word in local.SCALE.words(binding).items()}
    return own | {terms.SECONDARY_SCALE.key(scale): scale for scale in terms.SECONDARY_SCALE.table}


_LOINC_KEYS = frozenset(
    vocabulary.key(word) for vocabulary in (terms.SCALE_LOINC, terms.SECONDARY_SCALE) for word in vocabulary.table
)


def claims(resource: Tree) -> bool:
    """Whether an Observation is a scale: its code is one, or its category says survey."""
    categories = resource.get("category")
    surveys = [keys_of(item) for item in categories] if isinstance(categories, list) else []
    return any(keys_of(SURVEY)[0] in keys for keys in surveys) or any(
        key in _LOINC_KEYS for key in keys_of(resource.get("code"))
    )


KIND = Kind("assessment", Assessment, "Observation", bind, claims)
