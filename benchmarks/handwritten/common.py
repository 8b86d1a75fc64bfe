"""What the hand-written converters share: meta, references, concepts, quantities, notes and extensions.

Plain functions from a record's values to dictionaries, and from the attributes of ``fhir.resources`` models back to
what a record model validates. Codes come from the project's tables, for a converter would have the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fhirbridge.binding import MAPPING_VERSION, Binding
from fhirbridge.records import Amount, Coding, Concept, Identifier, Note, Period, Record, Ref
from mappings import terms
from mappings.local import LocalCodeSystem
from mappings.terms import Vocabulary

UCUM = "http://unitsofmeasure.org"
SECURITY = [
    {"system": terms.CONFIDENTIALITY, "code": terms.RESTRICTED.code, "display": terms.RESTRICTED.display},
    {"system": terms.ACT_CODE, "code": terms.PSYCHIATRY.code, "display": terms.PSYCHIATRY.display},
]
SENSITIVITIES = {coded.code: word for word, coded in terms.SENSITIVITY.table.items()}


class Words:
    """A vocabulary both ways: word to CodeableConcept, (system, code) to word."""

    def __init__(self, system: str, table: Mapping[str, terms.Coded], *, text: bool = True) -> None:
        self.concepts: dict[str, dict[str, Any]] = {}
        self.words: dict[tuple[str | None, str | None], str] = {}
        for word, coded in table.items():
            coding = {"system": system, "code": coded.code}
            if coded.display:
                coding["display"] = coded.display
            self.concepts[word] = {"coding": [coding], "text": terms.label(word)} if text else {"coding": [coding]}
            self.words[system, coded.code] = word

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> Words:
        """The words of a published code system."""
        return cls(vocabulary.system, vocabulary.table)

    @classmethod
    def local(cls, binding: Binding, system: LocalCodeSystem) -> Words:
        """The words of one of our own code systems."""
        return cls(binding.code_system(system.name), system.table)

    def coding(self, word: str) -> dict[str, Any]:
        """The first coding of a word."""
        coding: dict[str, Any] = self.concepts[word]["coding"][0]
        return coding

    def write(self, value: str | Concept) -> dict[str, Any]:
        """A word or a concept as CodeableConcept."""
        return self.concepts[value] if isinstance(value, str) else concept(value)

    def read(self, node: Any) -> Any:
        """The word of a CodeableConcept, or the concept itself."""
        for coding in node.coding or ():
            word = self.words.get((coding.system, coding.code))
            if word is not None:
                return word
        return read_concept(node)


def meta(binding: Binding, record: Record) -> dict[str, Any]:
    """``meta`` with source, labels and tags."""
    security = list(SECURITY)
    for word in record.sensitivity:
        coded = terms.SENSITIVITY.table[word]
        security.append({"system": terms.SENSITIVITY.system, "code": coded.code, "display": coded.display})
    return {
        "source": record.source or binding.source,
        "security": security,
        "tag": [
            {"system": binding.code_system("mapping-version"), "code": MAPPING_VERSION},
            {"system": binding.code_system("record-key"), "code": record.id},
            {"system": binding.code_system("revision"), "code": str(record.revision)},
        ],
    }


def read_meta(binding: Binding, node: Any, values: dict[str, Any]) -> None:
    """Source, sensitivity and revision from ``meta``."""
    if node.source and node.source != binding.source:
        values["source"] = node.source
    sensitivity = [SENSITIVITIES[one.code] for one in node.security or () if one.code in SENSITIVITIES]
    if sensitivity:
        values["sensitivity"] = sensitivity
    for tag in node.tag or ():
        if tag.system == binding.code_system("revision"):
            values["revision"] = int(tag.code) if tag.code.isdigit() else tag.code


def own_id(items: Iterable[Any], system: str) -> str | None:
    """The value of the identifier in ``system``."""
    for item in items:
        if item.system == system:
            return str(item.value)
    return None


def coding(value: Coding) -> dict[str, Any]:
    """A Coding."""
    node = {"system": value.system, "code": value.code, "display": value.display, "version": value.version}
    return {name: member for name, member in node.items() if member is not None}


def concept(value: Concept) -> dict[str, Any]:
    """A CodeableConcept."""
    node: dict[str, Any] = {}
    if value.codings:
        node["coding"] = [coding(one) for one in value.codings]
    if value.text is not None:
        node["text"] = value.text
    return node


def read_concept(node: Any) -> dict[str, Any]:
    """The values of a concept."""
    value: dict[str, Any] = {}
    if node.coding:
        value["codings"] = [
            {
                name: getattr(one, name)
                for name in ("system", "code", "display", "version")
                if getattr(one, name) is not None
            }
            for one in node.coding
        ]
    if node.text:
        value["text"] = node.text
    return value


def identifier(value: Identifier) -> dict[str, Any]:
    """An Identifier."""
    node: dict[str, Any] = {}
    if value.use is not None:
        node["use"] = value.use
    if value.type is not None:
        node["type"] = concept(value.type)
    if value.system is not None:
        node["system"] = value.system
    if value.value is not None:
        node["value"] = value.value
    return node


def read_identifier(node: Any) -> dict[str, Any]:
    """The values of an identifier."""
    value: dict[str, Any] = {}
    if node.use:
        value["use"] = node.use
    if node.type:
        value["type"] = read_concept(node.type)
    if node.system:
        value["system"] = node.system
    if node.value:
        value["value"] = node.value
    return value


def reference(value: Ref) -> dict[str, Any]:
    """A Reference."""
    node: dict[str, Any] = {}
    if value.literal is not None:
        node["reference"] = value.literal
    if value.type is not None:
        node["type"] = value.type
    if value.identifier is not None:
        node["identifier"] = identifier(value.identifier)
    if value.display is not None:
        node["display"] = value.display
    return node


def read_reference(node: Any) -> dict[str, Any]:
    """The values of a reference."""
    value: dict[str, Any] = {}
    if node.type:
        value["type"] = node.type
    if node.identifier:
        value["identifier"] = read_identifier(node.identifier)
    elif node.reference:
        value["literal"] = node.reference
    if node.display:
        value["display"] = node.display
    return value


def quantity(value: Amount) -> dict[str, Any]:
    """A Quantity in UCUM."""
    node = {"value": value.value.as_decimal(), "unit": value.unit, "system": UCUM, "code": value.unit}
    if value.comparator is not None:
        node["comparator"] = value.comparator
    return node


def read_quantity(node: Any) -> dict[str, Any]:
    """The values of an amount."""
    value = {"value": node.value, "unit": node.code}
    if node.comparator:
        value["comparator"] = node.comparator
    return value


def moment(value: Any) -> str:
    """A date or time that ``fhir.resources`` has parsed, as the text a record wants."""
    return value if isinstance(value, str) else str(value.isoformat())


def period(value: Period) -> dict[str, Any]:
    """A Period."""
    node = {"start": value.start, "end": value.end}
    return {name: str(time) for name, time in node.items() if time is not None}


def read_period(node: Any) -> dict[str, Any]:
    """The values of a period."""
    value = {"start": node.start, "end": node.end}
    return {name: moment(time) for name, time in value.items() if time is not None}


def note(value: Note) -> dict[str, Any]:
    """An Annotation."""
    node: dict[str, Any] = {"text": value.text}
    if value.author is not None:
        node["authorReference"] = reference(value.author)
    if value.author_name is not None:
        node["authorString"] = value.author_name
    if value.time is not None:
        node["time"] = str(value.time)
    return node


def read_note(node: Any) -> dict[str, Any]:
    """The values of a note."""
    value: dict[str, Any] = {"text": node.text}
    if node.authorReference:
        value["author"] = read_reference(node.authorReference)
    if node.authorString:
        value["author_name"] = node.authorString
    if node.time:
        value["time"] = moment(node.time)
    return value


def opt(write: Callable[[Any], Any], value: Any) -> Any:
    """``write(value)``, or nothing where there is nothing."""
    return None if value is None else write(value)


def put(node: dict[str, Any], **members: Any) -> None:
    """Put in those members that have a value."""
    node.update({name: member for name, member in members.items() if member is not None and member != []})


def simple(definition_url: str, type_: str, value: Any) -> list[dict[str, Any]]:
    """An extension with one value, if there is one."""
    return [] if value is None else [{"url": definition_url, type_: value}]


def parts(url: str, /, **members: tuple[str, Any]) -> dict[str, Any]:
    """A complex extension; each part is its value's type and the value, left out where there is none."""
    return {
        "url": url,
        "extension": [{"url": name, type_: value} for name, (type_, value) in members.items() if value is not None],
    }


def by_url(items: Iterable[Any] | None) -> dict[str, Any]:
    """Extensions, or parts of one, by URL, where each may stand once."""
    return {item.url: item for item in items or ()}
