"""Extensions: their definitions, said once, and the rules that read and write them.

A :class:`Definition` is what the conformance resources are generated from and what a rule takes its URL and its value
types from, so a written extension is always one that a receiver can look up (trap T21).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fhirbridge.binding import Binding
from fhirbridge.codec import leaf
from fhirbridge.codec.element import Extensions, below
from fhirbridge.codec.leaf import Codec, an_object, at
from fhirbridge.codec.writer import Draft, Drafted
from fhirbridge.errors import Fault, Refused
from fhirbridge.fhir.json import Json, Tree


@dataclass(frozen=True, slots=True)
class Type:
    """A value type: its FHIR name, the targets of a Reference, and the value set a code is bound to."""

    code: str
    targets: tuple[str, ...] = ()
    value_set: str = ""
    strength: str = "required"

    @property
    def element(self) -> str:
        """``valueCodeableConcept`` for ``CodeableConcept``."""
        return f"value{self.code[0].upper()}{self.code[1:]}"


@dataclass(frozen=True, slots=True)
class PartDefinition:
    """One named part of a complex extension."""

    type: Type
    text: str


@dataclass(frozen=True, slots=True)
class Definition:
    """An extension: where it may stand, what it holds, and how often.

    ``types`` has one entry for a simple extension, several where the value may be one of several types; ``parts`` is
    for a complex one. ``url`` is set for extensions that others published.
    """

    name: str
    contexts: tuple[str, ...]
    text: str
    types: tuple[Type, ...] = ()
    parts: Mapping[str, PartDefinition] | None = None
    many: bool = False
    url: str = ""

    def written_url(self, binding: Binding) -> str:
        """The URL that is written."""
        return self.url or f"{binding.clinic.base}/StructureDefinition/{self.name}"


CODECS: Mapping[str, Codec] = {
    "Annotation": leaf.annotation,
    "CodeableConcept": leaf.concept,
    "Coding": leaf.coding,
    "Duration": leaf.quantity,
    "Identifier": leaf.identifier,
    "Period": leaf.period,
    "Quantity": leaf.quantity,
    "Reference": leaf.reference,
    "boolean": leaf.boolean,
    "code": leaf.string,
    "date": leaf.moment,
    "dateTime": leaf.moment,
    "positiveInt": leaf.integer,
    "string": leaf.string,
    "uri": leaf.string,
}


class Simple(Drafted):
    """A field ⇄ an extension with one value; a tuple field ⇄ as many extensions.

    ``aliases`` are URLs under which others publish the same; the mapping reads them as ours (see ``spelling``).
    """

    def __init__(
        self,
        binding: Binding,
        definition: Definition,
        field: str,
        codec: Codec | None = None,
        *,
        aliases: tuple[str, ...] = (),
    ) -> None:
        (type_,) = definition.types
        self.definition = definition
        self.field = field
        self.codec = codec or CODECS[type_.code]
        self.member = type_.element
        self.url = definition.written_url(binding)
        self.aliases = aliases
        self.fields = (field,)
        self.triggers = (self.url,)
        self.carries = below(f"extension({self.url}).{self.member}", self.codec.carries)

    def draft(self, to: Draft) -> None:
        item = f"{{'url': {self.url!r}, {self.member!r}: {to.encoded(self.codec)}}}"
        to.given(self.field, f"extensions.append({item})", many=self.definition.many)

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        found = read_each(extensions, self.triggers, self._decode)
        if self.definition.many and found:
            values[self.field] = found
        elif found:
            only(found, self.definition.name)
            values[self.field] = found[0]

    def _decode(self, item: Tree) -> Any:
        if self.member not in item:
            raise Refused.at("resource.extension", self.member, "the extension has no value of its defined type")
        return at(self.member, self.codec.decode, item[self.member])


class Complex(Drafted):
    """A nested model ⇄ an extension with named parts; a tuple of models ⇄ as many extensions.

    A part belongs to the field of the same name in snake case, unless ``fields`` says otherwise; ``codecs`` replaces
    the codec that follows from a part's type.
    """

    def __init__(
        self,
        binding: Binding,
        definition: Definition,
        field: str,
        *,
        codecs: Mapping[str, Codec] | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        assert definition.parts is not None
        self.definition = definition
        self.field = field
        self.url = definition.written_url(binding)
        self.parts = {
            part: (
                (fields or {}).get(part, snake(part)),
                said.type.element,
                (codecs or {}).get(part, CODECS[said.type.code]),
            )
            for part, said in definition.parts.items()
        }
        self.fields = (field,)
        self.triggers = (self.url,)
        self.carries = tuple(
            path
            for part, (_, member, codec) in self.parts.items()
            for path in below(f"extension({self.url}).extension({part}).{member}", codec.carries)
        )

    def draft(self, to: Draft) -> None:
        to.given(self.field, f"extensions.append({to.encoded(self)})", many=self.definition.many)

    @cached_property
    def encode(self) -> Callable[[Any], Tree]:
        """``encode(value)``: one extension with its parts."""
        parts = Draft()
        for part, (field, member, codec) in self.parts.items():
            item = f"{{'url': {part!r}, {member!r}: {parts.encoded(codec)}}}"
            parts.given(field, f"extensions.append({item})")
        return parts.encode(f"{{'url': {self.url!r}, 'extension': extensions}}")

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        found = read_each(extensions, self.triggers, self.decode)
        if self.definition.many and found:
            values[self.field] = found
        elif found:
            only(found, self.definition.name)
            values[self.field] = found[0]

    def decode(self, item: Tree) -> Tree:
        """The parts of one extension, by field."""
        value: Tree = {}
        faults: list[Fault] = []
        for position, node in enumerate(at("extension", leaf.a_list, item.get("extension"))):
            where = f"extension[{position}]"
            part = at(where, an_object, node).get("url")
            if not isinstance(part, str):
                raise Refused.at("resource.extension", where, "an extension needs a url")
            if part not in self.parts:
                continue
            field, member, codec = self.parts[part]
            if field in value:
                faults.append(Fault("resource.too_many", where, "this part may stand once only"))
            elif member not in node:
                faults.append(Fault("resource.extension", f"{where}.{member}", "the part has no value of its type"))
            else:
                try:
                    value[field] = codec.decode(node[member])
                except Refused as refused:
                    faults += refused.under(f"{where}.{member}")
        if faults:
            raise Refused(faults)
        return value


def read_each(extensions: Extensions, urls: tuple[str, ...], decode: Any) -> list[Json]:
    """Decode every extension that has one of the URLs, in the order in which they stand."""
    found: list[tuple[int, Tree]] = []
    for url in urls:
        if url in extensions:
            found += extensions[url]
    if len(found) > 1:
        found.sort(key=lambda pair: pair[0])
    return [at(f"extension[{position}]", decode, item) for position, item in found]


def only(found: list[Json], name: str) -> None:
    """Refuse a second extension where one is allowed."""
    if len(found) > 1:
        raise Refused.at("resource.too_many", "extension", f"the extension {name} may stand once only")


def snake(part: str) -> str:
    """``dosePerWeight`` → ``dose_per_weight``."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in part)
