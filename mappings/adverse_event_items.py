"""Adverse events: items that are a concept or a reference, R5's ``item[x]`` and the guide's ``item`` part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fhirbridge.binding import Binding
from fhirbridge.codec.element import Extensions, below
from fhirbridge.codec.extension import read_each
from fhirbridge.codec.leaf import Codec, a_list, an_object, at, concept, concept_node, keys_of, reference
from fhirbridge.codec.writer import Draft, Drafted
from fhirbridge.errors import Refused
from fhirbridge.fhir.json import Json, Tree
from fhirbridge.records.adverse_event import Action
from fhirbridge.records.base import Concept, Ref
from mappings import local, terms


def each(name: str, node: Tree) -> Iterator[tuple[str, Json]]:
    """The items of a repeated element, if it is there, with their places."""
    if name in node:
        for position, item in enumerate(at(name, a_list, node[name])):
            yield f"{name}[{position}]", item


def parts_of(extension: Tree) -> dict[str, Tree]:
    """The parts of a complex extension by URL. Raises where one stands twice."""
    parts: dict[str, Tree] = {}
    for where, part in each("extension", extension):
        url = at(where, an_object, part).get("url")
        if isinstance(url, str):
            if url in parts:
                raise Refused.at("resource.too_many", where, "this part may stand once only")
            parts[url] = part
    return parts


class Item:
    """A concept or a reference ⇄ the two members of one ``[x]`` element; ``stem`` is ``item`` or ``value``."""

    def __init__(self, stem: str) -> None:
        self.concept, self.reference = f"{stem}CodeableConcept", f"{stem}Reference"
        self.carries: tuple[str, ...] = (
            *below(self.concept, concept.carries),
            *below(self.reference, reference.carries),
        )

    def encode(self, value: Concept | Ref) -> Tree:
        if isinstance(value, Ref):
            return {self.reference: reference.encode(value)}
        return {self.concept: concept.encode(value)}

    def decode(self, node: Json) -> Tree:
        tree = an_object(node)
        if (self.concept in tree) == (self.reference in tree):
            raise Refused.at("resource.missing", self.concept, "an item is either a concept or a reference")
        if self.concept in tree:
            return at(self.concept, concept.decode, tree[self.concept])  # type: ignore[no-any-return]
        return at(self.reference, reference.decode, tree[self.reference])  # type: ignore[no-any-return]


class ActionItem:
    """What was done ⇄ the two members of one ``[x]`` element.

    What was done with the drug is known by our own codes. NCIt's code for a withdrawn drug is written beside ours but
    not trusted alone: public tables give it to other actions (specification §7).
    """

    def __init__(self, binding: Binding, stem: str) -> None:
        self._item = Item(stem)
        self.carries: tuple[str, ...] = below(self._item.reference, reference.carries)
        self._nodes = local.ACTION_TAKEN.concepts(binding)
        withdrawn = concept_node([(terms.NCIT, *terms.ACTION_WITHDRAWN_NCIT)])["coding"]
        self._nodes["drug_withdrawn"]["coding"] += withdrawn
        self._words: Mapping[tuple[str, str], str] = local.ACTION_TAKEN.words(binding)

    def encode(self, value: Action) -> Tree:
        fields = value.__dict__
        if (taken := fields["taken"]) is not None:
            node, text = self._nodes[taken], fields["text"]
            return {self._item.concept: node if text is None else {**node, "text": text}}
        if value.given is not None:
            return self._item.encode(value.given)
        assert value.treatment is not None
        for key in keys_of(concept.encode(value.treatment)):
            if key in self._words:
                hint = f"one of {', '.join(self._nodes)} as taken"
                raise Refused.at("record.word", "actions.treatment", "the concept is one of the record's words", hint)
        return self._item.encode(value.treatment)

    def decode(self, node: Json) -> Tree:
        item = self._item.decode(node)
        if self._item.reference in node:
            return {"given": item}
        words = {self._words[key] for key in keys_of(node[self._item.concept]) if key in self._words}
        if len(words) > 1:
            raise Refused.at("resource.contradiction", self._item.concept, "the codings mean different things")
        if not words:
            return {"treatment": item}
        action: Tree = {"taken": words.pop()}
        return action | ({"text": item["text"]} if "text" in item else {})


class ItemExtensions(Drafted):
    """A tuple field ⇄ extensions of the guide that hold one part, ``item``."""

    def __init__(self, url: str, field: str, codec: Codec) -> None:
        self.name, self.url, self.field, self._codec = f"extension({url})", url, field, codec
        self.fields = (field,)
        self.carries = below(f"extension({url}).extension(item)", codec.carries)

    def draft(self, to: Draft) -> None:
        item = f"{{'url': {self.url!r}, 'extension': [{{'url': 'item', **{to.encoded(self._codec)}}}]}}"
        to.given(self.field, f"extensions.append({item})", many=True)

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        found = read_each(extensions, (self.url,), self._decode)
        if found:
            values[self.field] = found

    def _decode(self, extension: Tree) -> Json:
        parts = parts_of(extension)
        if "item" not in parts:
            raise Refused.at("resource.missing", "extension", "the part item is missing")
        return at("extension(item)", self._codec.decode, parts["item"])
