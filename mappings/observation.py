"""What vital signs and assessments share as Observations (specification §3.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fhirbridge.binding import Binding
from fhirbridge.codec.element import Element, Elements, Extensions, Rule, Rules, Slots, decode_each
from fhirbridge.codec.extension import Simple
from fhirbridge.codec.leaf import (
    Table,
    Term,
    a_list,
    at,
    concept,
    keys_of,
    moment,
    quantity,
    reference,
    string,
)
from fhirbridge.codec.writer import Draft
from fhirbridge.errors import Refused
from fhirbridge.fhir.json import Json, Tree
from mappings import extensions, local, terms
from mappings.common import NOTES, Meta, identifiers, term

STATUS = Table({
    "registered": "registered",
    "preliminary": "preliminary",
    "final": "final",
    "amended": "amended",
    "corrected": "corrected",
    "cancelled": "cancelled",
    "entered_in_error": "entered-in-error",
    "unknown": "unknown",
})  # fmt: skip

ABSENT_REASON = term(terms.ABSENT_REASON)
REFERENCE_RANGE = Rules(
    Element("low", "low", quantity), Element("high", "high", quantity), Element("text", "text", string)
)


class Code:
    """What was observed: a word of the record, and the CodeableConcept as others coded it where that says more.

    ``key`` is the field with the word, ``nodes`` the concept of each word, ``term`` how a word is recognised when more
    than its codings tell. A concept that means no word is given to ``unknown``, or refused.
    """

    name = "code"
    carries = ("code.coding.system", "code.coding.code")

    def __init__(
        self,
        key: str,
        nodes: Mapping[str, Tree],
        *,
        unknown: Callable[[Json], Any] | None = None,
        term: Term | None = None,
    ) -> None:
        self.key, self.nodes, self._unknown = key, nodes, unknown
        self.fields = (key, "code")
        self._term = term or Term(nodes)

    def write(self, record: Any, node: Tree, extensions: list[Tree]) -> None:
        fields = record.__dict__
        word = fields[self.key]
        if (code := fields["code"]) is not None:
            node["code"] = concept.encode(code)
            if isinstance(word, str) and self._term.word_of(node["code"]) != word:
                raise Refused.at("record.code", "code", f"the code does not say {word}", "leave the code out")
        else:
            node["code"] = self.nodes[word] if isinstance(word, str) else concept.encode(word)

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        if "code" not in node:
            raise Refused.at("resource.missing", "code", "a required element is missing")
        code = node["code"]
        word = at("code", self._term.word_of, code)
        if word is None:
            if self._unknown is None:
                raise Refused.at("resource.unknown_code", "code", "not an observation the record knows")
            values[self.key] = at("code", self._unknown, code)
            return
        values[self.key] = word
        if set(keys_of(code)) != set(keys_of(self.nodes[word])):
            values["code"] = at("code", concept.decode, code)


class Category:
    """``category``: the one that belongs to what was observed, then those that others gave."""

    name = "category"
    fields = ("categories",)
    carries = ("category.coding.system", "category.coding.code")

    def __init__(self, key: str, expected: Callable[[Any], Tree]) -> None:
        self.key, self._expected = key, expected

    def write(self, record: Any, node: Tree, extensions: list[Tree]) -> None:
        fields = record.__dict__
        node["category"] = items = [self._expected(fields[self.key])]
        if others := fields["categories"]:
            items += map(concept.encode, others)

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        if "category" not in node or self.key not in values:
            return
        expected = keys_of(self._expected(values[self.key]))
        items = list(enumerate(at("category", a_list, node["category"])))
        own = next((item for item in items if keys_of(item[1])[:1] == expected), None)
        others = [item for item in items if item is not own]
        if others:
            values["categories"] = decode_each("category", concept, others)


class SessionSlot:
    """The slot of ``partOf`` for the treatment session: the first Procedure."""

    fields = ("session", "part_of")
    carries = reference.carries

    def claims(self, item: Json) -> bool:
        return True

    def draft(self, to: Draft) -> None:
        item = f"items.append({to.encoded(reference)})"
        to.given("session", item)
        to.given("part_of", item, many=True)

    def take(self, name: str, items: Sequence[tuple[int, Json]], values: Tree) -> None:
        refs = decode_each(name, reference, items)
        session = next((ref for ref in refs if _is_procedure(ref)), None)
        if session is not None:
            values["session"] = session
        others = [ref for ref in refs if ref is not session]
        if others:
            values["part_of"] = others


def _is_procedure(ref: Tree) -> bool:
    if "type" in ref:
        return bool(ref["type"] == "Procedure")
    return isinstance(ref.get("literal"), str) and ref["literal"].split("/")[-2:-1] == ["Procedure"]


def shared_rules(binding: Binding, identifier_name: str, code: Code, category: Category) -> tuple[Rule, ...]:
    """The rules for the fields of :class:`~fhirbridge.records.vitals.Observed`, in the order FHIR lists them."""
    timepoint = Term(local.NOMINAL_TIMEPOINT.concepts(binding), or_concept=True)
    return (
        Meta(binding),
        Simple(binding, extensions.NOMINAL_TIMEPOINT, "timepoint", timepoint),
        Simple(binding, extensions.OFFSET_FROM_DOSE, "offset_from_dose"),
        Simple(binding, extensions.REPLICATE_NUMBER, "replicate_number"),
        Simple(binding, extensions.DERIVATION, "derivation", Table(local.DERIVATION.codes())),
        identifiers(binding, identifier_name),
        Slots("partOf", SessionSlot()),
        Element("status", "status", STATUS, required=True),
        code,
        category,
        Element("subject", "patient", reference, required=True),
        Element("encounter", "encounter", reference),
        Element("effectiveDateTime", "measured_at", moment, required=True),
        Element("issued", "recorded_at", moment),
        Elements("performer", "performers", reference),
        Element("bodySite", "body_site", concept),
        Element("method", "method", concept),
        Element("device", "device", reference),
        Elements("referenceRange", "reference_ranges", REFERENCE_RANGE),
        Elements("derivedFrom", "derived_from", reference),
        NOTES,
    )
