"""Adverse events: what may have caused them ⇄ ``suspectEntity``.

R4 has many assessments per suspect and only references; R5 has one assessment and also codes. HL7's own map between
the two sends the assessment where the method belongs (trap T1): R4 ``assessment`` is R5 ``entityRelatedness``, R4
``method`` is R5 ``assessmentMethod``, and the words of R4 ``productRelatedness`` are the text of R5
``entityRelatedness``.
"""

from __future__ import annotations

from typing import Any

from fhirbridge.binding import Binding
from fhirbridge.codec.element import Extensions, below
from fhirbridge.codec.leaf import a_list, an_object, at, concept, identifier, reference
from fhirbridge.errors import Fault, Refused
from fhirbridge.fhir.json import Json, Tree
from fhirbridge.records.adverse_event import AdverseEvent, Causality
from mappings import published, terms
from mappings.adverse_event_items import each, parts_of
from mappings.adverse_event_words import Assessed, causality_method

# The local name of a contained drug: R4 has no room for a code (specification §3.5).
_DRUG = "drug-"


class CausalityR4:
    """One assessment ⇄ ``causality`` of R4."""

    carries = ("productRelatedness", *below("author", reference.carries))

    def __init__(self, binding: Binding) -> None:
        self._assessed, self._method = Assessed(binding), causality_method(binding)

    def encode(self, value: Causality) -> Tree:
        node: Tree = {}
        fields = value.__dict__
        assessment = fields["assessment"]
        if codings := self._assessed.codings(assessment, fields["relatedness"]):
            said: Tree = {"coding": codings}
            if isinstance(assessment, str):
                said["text"] = terms.label(assessment)
            node["assessment"] = said
        if (text := fields["relatedness_text"]) is not None:
            node["productRelatedness"] = text
        if (method := fields["method"]) is not None:
            node["method"] = self._method.encode(method)
        if (author := fields["author"]) is not None:
            node["author"] = reference.encode(author)
        return node

    def decode(self, node: Json) -> Tree:
        tree = an_object(node)
        value: Tree = {}
        if "assessment" in tree:
            assessment = at("assessment", an_object, tree["assessment"])
            value = _assessed(self._assessed, "assessment", assessment)
            if "coding" not in assessment and "text" in assessment:
                value["relatedness_text"] = assessment["text"]
        if "productRelatedness" in tree:
            value["relatedness_text"] = tree["productRelatedness"]
        return value | _method_and_author(tree, "method", self._method)


class CausalityR5:
    """One assessment ⇄ ``causality`` of R5. Its text is the relatedness in words, so D7's label gives way to it."""

    carries = ("entityRelatedness.text", *below("author", reference.carries))

    def __init__(self, binding: Binding) -> None:
        self._assessed, self._method = Assessed(binding), causality_method(binding)

    def encode(self, value: Causality) -> Tree:
        fields, node = value.__dict__, {}
        codings = self._assessed.codings(fields["assessment"], fields["relatedness"])
        related: Tree = {"coding": codings} if codings else {}
        if (text := fields["relatedness_text"]) is not None:
            related["text"] = text
        if related:
            node["entityRelatedness"] = related
        if (method := fields["method"]) is not None:
            node["assessmentMethod"] = self._method.encode(method)
        if (author := fields["author"]) is not None:
            node["author"] = reference.encode(author)
        return node

    def decode(self, node: Json) -> Tree:
        tree = an_object(node)
        value: Tree = {}
        if "entityRelatedness" in tree:
            related = at("entityRelatedness", an_object, tree["entityRelatedness"])
            value = _assessed(self._assessed, "entityRelatedness", related)
            if "text" in related:
                value["relatedness_text"] = related["text"]
        return value | _method_and_author(tree, "assessmentMethod", self._method)


def _assessed(assessed: Assessed, name: str, node: Tree) -> Tree:
    if "coding" not in node:
        return {}
    found: Tree = at(f"{name}.coding", lambda items: assessed.decode(a_list(items)), node["coding"])
    return found


def _method_and_author(tree: Tree, name: str, method: Any) -> Tree:
    value: Tree = {}
    if name in tree:
        value["method"] = at(name, method.decode, tree[name])
    if "author" in tree:
        value["author"] = at("author", reference.decode, tree["author"])
    return value


class SuspectsR4:
    """Suspects ⇄ ``suspectEntity`` of R4; a drug known by its code alone is a contained Medication.

    Also reads the guide's ``suspect-entity``, which its profile has in place of the native element (trap T11).
    """

    name = "suspectEntity"
    fields = ("suspects",)

    def __init__(self, binding: Binding) -> None:
        self._causality = CausalityR4(binding)
        self._backport = SuspectsR5(binding)
        # Of a contained drug the code is read; type and display beside the local name are residue.
        self.carries = (
            *below("suspectEntity.instance.identifier", identifier.carries),
            *below("suspectEntity.causality", self._causality.carries),
        )

    def write(self, record: AdverseEvent, node: Tree, extensions: list[Tree]) -> None:
        contained: list[Tree] = []
        items: list[Tree] = []
        for position, suspect in enumerate(record.suspects):
            if suspect.drug is not None:
                name = f"{_DRUG}{len(contained) + 1}"
                contained.append({"resourceType": "Medication", "id": name, "code": concept.encode(suspect.drug)})
                item: Tree = {"instance": {"reference": f"#{name}", "type": "Medication"}}
            else:
                assert suspect.instance is not None
                if (suspect.instance.literal or "").startswith(f"#{_DRUG}"):
                    where = f"suspects[{position}].instance.literal"
                    raise Refused.at("record.literal", where, "a local name that drugs are given", "give the drug")
                item = {"instance": reference.encode(suspect.instance)}
            if suspect.causality:
                item["causality"] = [self._causality.encode(one) for one in suspect.causality]
            items.append(item)
        if contained:
            node["contained"] = contained
        if items:
            node["suspectEntity"] = items

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        found: list[Tree] = []
        faults: list[Fault] = []
        for where, item in each("suspectEntity", node):
            try:
                found.append(self._decode(an_object(item), node))
            except Refused as refused:
                faults += refused.under(where)
        for position, extension in extensions.get(published.SUSPECT_ENTITY, ()):
            try:
                self._backport.add(found, _unfolded(extension))
            except Refused as refused:
                faults += refused.under(f"extension[{position}]")
        if faults:
            raise Refused(faults)
        if found:
            values["suspects"] = found

    def _decode(self, item: Tree, resource: Tree) -> Tree:
        if "instance" not in item:
            raise Refused.at("resource.missing", "instance", "a required element is missing")
        suspect: Tree = {"instance": at("instance", reference.decode, item["instance"])}
        drug = _contained_drug(suspect["instance"].get("literal"), resource)
        if drug is not None:
            suspect = {"drug": at("instance", concept.decode, drug)}
        causality = [at(where, self._causality.decode, one) for where, one in each("causality", item)]
        # What has nothing but members that no field knows is no assessment; it stays with the resource.
        causality = [one for one in causality if one]
        return suspect | ({"causality": causality} if causality else {})


class SuspectsR5:
    """Suspects ⇄ ``suspectEntity`` of R5. A further assessment repeats the entity, for R5 has room for one in each."""

    name = "suspectEntity"
    fields = ("suspects",)

    def __init__(self, binding: Binding) -> None:
        self._causality = CausalityR5(binding)
        self.carries = (
            *below("suspectEntity.instanceReference", reference.carries),
            *below("suspectEntity.instanceCodeableConcept", concept.carries),
            *below("suspectEntity.causality", self._causality.carries),
        )

    def write(self, record: AdverseEvent, node: Tree, extensions: list[Tree]) -> None:
        items: list[Tree] = []
        for suspect in record.suspects:
            if suspect.drug is not None:
                instance = {"instanceCodeableConcept": concept.encode(suspect.drug)}
            else:
                assert suspect.instance is not None
                instance = {"instanceReference": reference.encode(suspect.instance)}
            items += [instance | {"causality": self._causality.encode(one)} for one in suspect.causality] or [instance]
        if items:
            node["suspectEntity"] = items

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        found: list[Tree] = []
        faults: list[Fault] = []
        for where, item in each("suspectEntity", node):
            try:
                self.add(found, an_object(item))
            except Refused as refused:
                faults += refused.under(where)
        if faults:
            raise Refused(faults)
        if found:
            values["suspects"] = found

    def add(self, suspects: list[Tree], item: Tree) -> None:
        """Read one entity into ``suspects``; the assessment of one that is there already goes to it."""
        if ("instanceReference" in item) == ("instanceCodeableConcept" in item):
            raise Refused.at("resource.missing", "instance", "a suspect is either a reference or a concept")
        if "instanceReference" in item:
            suspect = {"instance": at("instanceReference", reference.decode, item["instanceReference"])}
        else:
            suspect = {"drug": at("instanceCodeableConcept", concept.decode, item["instanceCodeableConcept"])}
        causality = at("causality", self._causality.decode, item["causality"]) if "causality" in item else {}
        same = next((one for one in suspects if {**one, "causality": None} == {**suspect, "causality": None}), None)
        if same is None:
            suspects.append(same := suspect)
        if causality:
            same.setdefault("causality", []).append(causality)


def _contained_drug(literal: Json, resource: Tree) -> Json:
    """The code of the contained Medication that a local reference names, if there is one."""
    if not isinstance(literal, str) or not literal.startswith("#"):
        return None
    for _, item in each("contained", resource):
        if isinstance(item, dict) and item.get("resourceType") == "Medication" and item.get("id") == literal[1:]:
            return item.get("code")
    return None


def _unfolded(extension: Tree) -> Tree:
    """``suspect-entity`` as the element of R5 that it says part by part."""
    parts = parts_of(extension)
    item: Tree = {}
    if "instance" in parts:
        item = {name.replace("value", "instance"): node for name, node in _values(parts["instance"])}
    if "causality" in parts:
        item["causality"] = {
            url: node for url, part in parts_of(parts["causality"]).items() for _, node in _values(part)
        }
    return item


def _values(part: Tree) -> list[tuple[str, Json]]:
    return [(name, part[name]) for name in ("valueReference", "valueCodeableConcept") if name in part]
