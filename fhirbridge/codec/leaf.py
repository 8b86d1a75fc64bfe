"""Leaf codecs: one value of a record, one JSON node of a resource.

``encode`` takes what the record holds and gives a node; ``decode`` takes a node and gives what ``records.parse`` takes.
A node that does not fit raises :class:`~fhirbridge.errors.Refused` with a path relative to the node. Nodes given out
may be shared between resources: nobody changes them in place. ``carries`` lists the elements below the node that the
value keeps whole (``""`` for the node itself); anything else found there is residue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from jiter import LosslessFloat

from fhirbridge.errors import Refused
from fhirbridge.fhir.json import Json, Tree
from fhirbridge.records.base import Amount, Coding, Concept, Identifier, Note, Period, Ref
from fhirbridge.records.text import Decimal

UCUM = "http://unitsofmeasure.org"


class Codec(Protocol):
    """Both directions of one value.

    A codec whose ``encode`` is one expression of ``{}`` may have that as ``inline`` (see ``writer``).
    """

    @property
    def carries(self) -> tuple[str, ...]: ...
    def encode(self, value: Any) -> Json: ...
    def decode(self, node: Json) -> Any: ...


def wrong_type(wanted: str) -> Refused:
    """A refusal of a node of another JSON type."""
    return Refused.at("resource.type", "", f"{wanted} is wanted here")


def an_object(node: Json) -> Tree:
    """The node, if it is a JSON object without an unknown modifier (promise 23)."""
    if not isinstance(node, dict):
        raise wrong_type("an object")
    return node


def a_list(node: Json) -> list[Json]:
    """The node, if it is a JSON array with something in it."""
    if not isinstance(node, list) or not node:
        raise wrong_type("an array that is not empty")
    return node


# JSON member → record field, for members that are the same on both sides; the record checks them.
_CODING_MEMBERS = {name: name for name in ("system", "code", "display", "version")} | {"userSelected": "user_selected"}
_IDENTIFIER_MEMBERS = {name: name for name in ("use", "system", "value")}
_REFERENCE_MEMBERS = {name: name for name in ("type", "display")}
_PERIOD_MEMBERS = {name: name for name in ("start", "end")}
_ANNOTATION_MEMBERS = {"text": "text", "time": "time", "authorString": "author_name"}


def _picked(tree: Tree, members: Mapping[str, str]) -> Tree:
    return {members[name]: member for name, member in tree.items() if name in members}


class Plain:
    """A primitive that is the same on both sides: a string, a boolean, an integer, a number, a time."""

    carries = ("",)
    inline = "{}"

    def __init__(self, wanted: str, *types: type) -> None:
        self._wanted = wanted
        self._types = frozenset(types)

    def encode(self, value: Any) -> Json:
        return value

    def decode(self, node: Json) -> Any:
        if type(node) not in self._types:
            raise wrong_type(self._wanted)
        return node


class Moment(Plain):
    """A date or time: checked text in the record, a string in JSON."""

    inline = "str({})"

    def __init__(self) -> None:
        super().__init__("a string with a date or a time", str)

    def encode(self, value: Any) -> Json:
        return str(value)


string = Plain("a string", str)
boolean = Plain("true or false", bool)
integer = Plain("a whole number", int)
number = Plain("a number", int, LosslessFloat, Decimal)
moment = Moment()


class Table:
    """The clinic's word ⇄ a FHIR code. Several words may share a code; ``decode`` then gives the first of them."""

    carries = ("",)

    def __init__(self, codes: Mapping[str, str]) -> None:
        self._codes = dict(codes)
        self._words: dict[str, str] = {}
        for word, code in codes.items():
            self._words.setdefault(code, word)

    @property
    def encode(self) -> Callable[[str], Json]:
        return self._codes.__getitem__

    def decode(self, node: Json) -> str:
        word = self._words.get(node) if isinstance(node, str) else None
        if word is None:
            raise Refused.at(
                "resource.unknown_code", "", "not a code the record knows", f"one of {', '.join(self._words)}"
            )
        return word


class CodingCodec:
    """A :class:`~fhirbridge.records.Coding` ⇄ Coding."""

    carries = ("system", "code", "display", "version", "userSelected")

    def encode(self, value: Coding) -> Json:
        fields, node = value.__dict__, {}
        if (system := fields["system"]) is not None:
            node["system"] = system
        if (version := fields["version"]) is not None:
            node["version"] = version
        if (code := fields["code"]) is not None:
            node["code"] = code
        if (display := fields["display"]) is not None:
            node["display"] = display
        if (user_selected := fields["user_selected"]) is not None:
            node["userSelected"] = user_selected
        return node

    def decode(self, node: Json) -> Tree:
        return _picked(an_object(node), _CODING_MEMBERS)


coding = CodingCodec()


class ConceptCodec:
    """A :class:`~fhirbridge.records.Concept` ⇄ CodeableConcept."""

    carries = ("text", *(f"coding.{name}" for name in CodingCodec.carries))

    def encode(self, value: Concept) -> Json:
        fields, node = value.__dict__, {}
        if codings := fields["codings"]:
            node["coding"] = [coding.encode(one) for one in codings]
        if (text := fields["text"]) is not None:
            node["text"] = text
        return node

    def decode(self, node: Json) -> Tree:
        tree = an_object(node)
        value: Tree = {"text": tree["text"]} if "text" in tree else {}
        if "coding" in tree:
            value["codings"] = [coding.decode(one) for one in at("coding", a_list, tree["coding"])]
        return value


concept = ConceptCodec()


def concept_node(codings: Iterable[tuple[str, str, str]], text: str | None = None) -> Tree:
    """A CodeableConcept of ``(system, code, display)``; a display may be empty (trap T17)."""
    node: Tree = {"coding": [coding_node(*one) for one in codings]}
    if text:
        node["text"] = text
    return node


def coding_node(system: str, code: str, display: str = "") -> Tree:
    """A Coding; an empty display is left out."""
    node = {"system": system, "code": code}
    return node | {"display": display} if display else node


def keys_of(node: Json) -> list[tuple[str, str]]:
    """The ``(system, code)`` of each coding of a CodeableConcept; empty for anything else."""
    codings = node.get("coding") if isinstance(node, dict) else None
    if not isinstance(codings, list):
        return []
    pairs = ((one.get("system"), one.get("code")) for one in codings if isinstance(one, dict))
    # A key is looked up in tables: a member that is an object or an array would not even hash.
    return [pair for pair in pairs if all(part is None or isinstance(part, str) for part in pair)]  # type: ignore[misc]


class Term:
    """One of the clinic's words ⇄ a CodeableConcept with the word's codings and its label (decision D7).

    ``aliases`` are further ``(system, code)`` that mean a word when read. With ``or_concept`` a concept that holds no
    known coding is kept whole as a :class:`~fhirbridge.records.Concept`; otherwise it is refused.
    """

    def __init__(
        self,
        nodes: Mapping[str, Tree],
        aliases: Mapping[tuple[str, str], str] | None = None,
        *,
        or_concept: bool = False,
    ) -> None:
        self.nodes = dict(nodes)
        self.or_concept = or_concept
        self.carries = ConceptCodec.carries if or_concept else ()
        self._words = {(key): word for word, node in self.nodes.items() for key in keys_of(node)[:1]}
        self._words.update(
            {key: word for word, node in self.nodes.items() for key in keys_of(node) if key not in self._words}
        )
        self._words.update(aliases or {})

    def word_of(self, node: Json) -> str | None:
        """The word a CodeableConcept means, or ``None``. Two codings that mean different words are refused."""
        found: str | None = None
        for key in keys_of(node):
            word = self._words.get(key)
            if word is not None and word != found:
                if found is not None:
                    raise Refused.at("resource.contradiction", "coding", "the codings mean different things")
                found = word
        return found

    def encode(self, value: str | Concept) -> Json:
        return self.nodes[value] if isinstance(value, str) else concept.encode(value)

    def decode(self, node: Json) -> Any:
        word = self.word_of(an_object(node))
        if word is not None:
            return word
        if self.or_concept:
            return concept.decode(node)
        raise Refused.at(
            "resource.unknown_code", "coding", "no coding the record knows", f"one of {', '.join(self.nodes)}"
        )


class CodedTerm:
    """One of the clinic's words ⇄ a Coding; another coding is kept whole."""

    carries = CodingCodec.carries

    def __init__(self, nodes: Mapping[str, Tree]) -> None:
        self.nodes = dict(nodes)
        self._words = {(node["system"], node["code"]): word for word, node in self.nodes.items()}

    def encode(self, value: str | Coding) -> Json:
        return self.nodes[value] if isinstance(value, str) else coding.encode(value)

    def decode(self, node: Json) -> Any:
        tree = an_object(node)
        system, code = tree.get("system"), tree.get("code")
        word = self._words.get((system, code)) if isinstance(system, str) and isinstance(code, str) else None
        return coding.decode(tree) if word is None or "version" in tree else word


class QuantityCodec:
    """An :class:`~fhirbridge.records.Amount` ⇄ a Quantity in UCUM; other units systems are refused."""

    carries = ("value", "code", "system", "comparator")

    def encode(self, value: Amount) -> Json:
        fields = value.__dict__
        return quantity_node(fields["value"], fields["unit"], fields["comparator"])

    def decode(self, node: Json) -> Tree:
        tree = an_object(node)
        if "value" not in tree:
            raise Refused.at("resource.missing", "value", "a quantity without a value says nothing")
        value = {"value": number.decode(tree["value"]), "unit": unit_of(tree)}
        if "comparator" in tree:
            value["comparator"] = tree["comparator"]
        return value


def quantity_node(value: Decimal, unit: str, comparator: str | None = None) -> Tree:
    """A Quantity in UCUM; the unit's text is its code, which never misleads."""
    if comparator is None:
        return {"value": value, "unit": unit, "system": UCUM, "code": unit}
    return {"value": value, "comparator": comparator, "unit": unit, "system": UCUM, "code": unit}


def unit_of(quantity: Tree) -> str:
    """The UCUM code of a Quantity. Raises when it has none: a bare ``unit`` is text for people (reliability §3)."""
    code = quantity.get("code")
    if quantity.get("system") != UCUM or not isinstance(code, str):
        raise Refused.at("resource.unit", "code", "a UCUM code is wanted", f"system {UCUM} with a code")
    return code


quantity = QuantityCodec()


class IdentifierCodec:
    """An :class:`~fhirbridge.records.Identifier` ⇄ Identifier."""

    carries = ("use", "system", "value", *(f"type.{name}" for name in ConceptCodec.carries))

    def encode(self, value: Identifier) -> Json:
        fields, node = value.__dict__, {}
        if (use := fields["use"]) is not None:
            node["use"] = use
        if (type_ := fields["type"]) is not None:
            node["type"] = concept.encode(type_)
        if (system := fields["system"]) is not None:
            node["system"] = system
        if (name := fields["value"]) is not None:
            node["value"] = name
        return node

    def decode(self, node: Json) -> Tree:
        tree = an_object(node)
        value = _picked(tree, _IDENTIFIER_MEMBERS)
        if "type" in tree:
            value["type"] = at("type", concept.decode, tree["type"])
        return value


identifier = IdentifierCodec()


class ReferenceCodec:
    """A :class:`~fhirbridge.records.Ref` ⇄ Reference (specification §9.4).

    The literal address of a target that has an identifier belongs to the server: it is never part of the record.
    """

    carries = ("type", "display", *(f"identifier.{name}" for name in IdentifierCodec.carries))

    def encode(self, value: Ref) -> Json:
        fields, node = value.__dict__, {}
        if (literal := fields["literal"]) is not None:
            node["reference"] = literal
        if (type_ := fields["type"]) is not None:
            node["type"] = type_
        if (named := fields["identifier"]) is not None:
            node["identifier"] = identifier.encode(named)
        if (display := fields["display"]) is not None:
            node["display"] = display
        return node

    def decode(self, node: Json) -> Tree:
        tree = an_object(node)
        value = _picked(tree, _REFERENCE_MEMBERS)
        if "identifier" in tree:
            value["identifier"] = at("identifier", identifier.decode, tree["identifier"])
        elif "reference" in tree:
            value["literal"] = tree["reference"]
        return value


reference = ReferenceCodec()


class PeriodCodec:
    """A :class:`~fhirbridge.records.Period` ⇄ Period."""

    carries = ("start", "end")

    def encode(self, value: Period) -> Json:
        fields, node = value.__dict__, {}
        if (start := fields["start"]) is not None:
            node["start"] = str(start)
        if (end := fields["end"]) is not None:
            node["end"] = str(end)
        return node

    def decode(self, node: Json) -> Tree:
        return _picked(an_object(node), _PERIOD_MEMBERS)


period = PeriodCodec()


class AnnotationCodec:
    """A :class:`~fhirbridge.records.Note` ⇄ Annotation."""

    carries = ("text", "time", "authorString", *(f"authorReference.{name}" for name in ReferenceCodec.carries))

    def encode(self, value: Note) -> Json:
        node: Tree = {}
        if value.author is not None:
            node["authorReference"] = reference.encode(value.author)
        if value.author_name is not None:
            node["authorString"] = value.author_name
        if value.time is not None:
            node["time"] = str(value.time)
        node["text"] = value.text
        return node

    def decode(self, node: Json) -> Tree:
        tree = an_object(node)
        value = _picked(tree, _ANNOTATION_MEMBERS)
        if "authorReference" in tree:
            value["author"] = at("authorReference", reference.decode, tree["authorReference"])
        return value


annotation = AnnotationCodec()


class Inside:
    """A codec one member deeper: ``Inside("concept", term)`` for the concept of an R5 CodeableReference."""

    def __init__(self, member: str, codec: Codec) -> None:
        self._member = member
        self._codec = codec
        self.carries = tuple(f"{member}.{path}" if path else member for path in codec.carries)

    def encode(self, value: Any) -> Json:
        return {self._member: self._codec.encode(value)}

    def decode(self, node: Json) -> Any:
        tree = an_object(node)
        if self._member not in tree:
            raise Refused.at("resource.missing", self._member, "a required element is missing")
        return at(self._member, self._codec.decode, tree[self._member])


def at(path: str, decode: Callable[[Json], Any], node: Json) -> Any:
    """``decode(node)``, its faults seen from one level up."""
    try:
        return decode(node)
    except Refused as refused:
        raise Refused(refused.under(path)) from None
