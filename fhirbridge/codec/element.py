"""Rules: which field of a record is which element of a resource, both ways.

A rule has ``fields`` (the record fields it serves), ``carries`` (the element paths it keeps whole) and two directions:
``write(record, node, extensions)`` puts elements into ``node``, ``read(node, values)`` puts field values into
``values``. A :class:`Rules` value is a codec for the object that its rules describe together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

from fhirbridge.codec.leaf import Codec, a_list, an_object, at, keys_of, moment
from fhirbridge.codec.writer import Draft, Drafted
from fhirbridge.errors import Fault, Refused
from fhirbridge.fhir.json import Json, Tree


class Extensions(dict[str, list[tuple[int, Tree]]]):
    """The extensions of one node by URL, each with its position."""


class Rule(Protocol):
    """Both directions of one or a few fields.

    A rule may have ``triggers``: the element names and extension URLs without which there is nothing for it to read;
    and ``only_with``: the tuple and model fields without any of which there is nothing for it to write. The general
    rules have a draft of what they write (see ``writer``).
    """

    @property
    def fields(self) -> tuple[str, ...]: ...
    @property
    def carries(self) -> tuple[str, ...]: ...
    def write(self, record: Any, node: Tree, extensions: list[Tree]) -> None: ...
    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None: ...


def below(element: str, carries: Iterable[str]) -> tuple[str, ...]:
    """Carried paths of a codec, seen from the element's parent."""
    return tuple(f"{element}.{path}" if path else element for path in carries)


class Rules:
    """An object made of several elements: the codec of a nested model, or the whole of a resource.

    ``encode`` gives a new node, ``write_into(node, record)`` writes into one that is there. ``decode`` gives the values
    of all fields, or raises every fault at once.
    """

    def __init__(self, *rules: Rule | None) -> None:
        self.rules = tuple(rule for rule in rules if rule is not None)
        self.fields = tuple(field for rule in self.rules for field in rule.fields)
        self.carries = tuple(path for rule in self.rules for path in rule.carries)
        self._readers = tuple((frozenset(getattr(rule, "triggers", ())), rule.read) for rule in self.rules)

    @cached_property
    def encode(self) -> Callable[[Any], Tree]:
        return Draft(self.rules).encode()

    @cached_property
    def write_into(self) -> Callable[[Tree, Any], None]:
        return Draft(self.rules).write_into()

    def decode(self, node: Json) -> Tree:
        tree = an_object(node)
        values: Tree = {}
        faults: list[Fault] = []
        extensions = by_url(tree)
        present = set(tree)
        present.update(extensions)
        for triggers, read in self._readers:
            if not triggers or not triggers.isdisjoint(present):
                try:
                    read(tree, extensions, values)
                except Refused as refused:
                    faults += refused.faults
        if faults:
            raise Refused(faults)
        return values


def by_url(node: Tree) -> Extensions:
    """The extensions of a node by URL."""
    found = Extensions()
    if "extension" in node:
        for position, item in enumerate(a_list(node["extension"])):
            if not isinstance(item, dict) or not isinstance(item.get("url"), str):
                raise Refused.at("resource.extension", f"extension[{position}]", "an extension needs a url")
            found.setdefault(item["url"], []).append((position, item))
    return found


class Element(Drafted):
    """One field ⇄ one element."""

    def __init__(self, name: str, field: str, codec: Codec, *, required: bool = False) -> None:
        self.name, self.field, self.codec, self.required = name, field, codec, required
        self.fields = (field,)
        self.carries = below(name, codec.carries)
        self.triggers = () if required else (name,)
        self._decode = codec.decode

    def draft(self, to: Draft) -> None:
        to.given(self.field, f"node[{self.name!r}] = {to.encoded(self.codec)}")

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        if self.name in node:
            try:
                values[self.field] = self._decode(node[self.name])
            except Refused as refused:
                raise Refused(refused.under(self.name)) from None
        elif self.required:
            raise Refused.at("resource.missing", self.name, "a required element is missing")


class Elements(Drafted):
    """A tuple field ⇄ a repeated element, in order."""

    def __init__(self, name: str, field: str, codec: Codec) -> None:
        self.name, self.field, self.codec = name, field, codec
        self.fields = (field,)
        self.carries = below(name, codec.carries)
        self.triggers = (name,)

    def draft(self, to: Draft) -> None:
        to.add(
            f"values = fields[{self.field!r}]",
            "if values:",
            f"    node[{self.name!r}] = items = []",
            f"    for value in values: items.append({to.encoded(self.codec)})",
        )

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        if self.name in node:
            items = at(self.name, a_list, node[self.name])
            values[self.field] = decode_each(self.name, self.codec, enumerate(items))


def decode_each(name: str, codec: Codec, items: Iterable[tuple[int, Json]]) -> list[Any]:
    """Decode items of a list; every fault with its position."""
    values, faults = [], []
    decode = codec.decode
    for position, item in items:
        try:
            values.append(decode(item))
        except Refused as refused:
            faults += refused.under(f"{name}[{position}]")
    if faults:
        raise Refused(faults)
    return values


class Single(Drafted):
    """An optional field ⇄ a repeated element that may hold one item only; a second is refused, not forgotten."""

    def __init__(self, name: str, field: str, codec: Codec) -> None:
        self.name, self.field, self.codec = name, field, codec
        self.fields = (field,)
        self.carries = below(name, codec.carries)
        self.triggers = (name,)

    def draft(self, to: Draft) -> None:
        to.given(self.field, f"node[{self.name!r}] = [{to.encoded(self.codec)}]")

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        if self.name in node:
            items = at(self.name, a_list, node[self.name])
            if len(items) > 1:
                raise Refused.at("resource.too_many", self.name, "the record holds one, the resource has more")
            values[self.field] = at(f"{self.name}[0]", self.codec.decode, items[0])


class Fixed:
    """An element that is always the same; another value in a foreign resource is residue."""

    fields: tuple[str, ...] = ()
    carries: tuple[str, ...] = ()

    def __init__(self, name: str, node: Json) -> None:
        self.name, self._node = name, node

    def write(self, record: Any, node: Tree, extensions: list[Tree]) -> None:
        node[self.name] = self._node

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        """Nothing to read."""


class Forbidden:
    """An element that the specification maps but no field of the record can hold: its presence refuses the resource."""

    fields: tuple[str, ...] = ()

    def __init__(self, name: str, reason: str) -> None:
        self.name, self._reason = name, reason
        self.carries = self.triggers = (name,)

    def write(self, record: Any, node: Tree, extensions: list[Tree]) -> None:
        """Never written."""

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        if self.name in node:
            raise Refused.at("resource.not_carried", self.name, self._reason)


class Span(Drafted):
    """Two time fields ⇄ a period, or ⇄ one dateTime where start and end are the same text."""

    def __init__(self, stem: str, start: str, end: str, *, required: bool = True) -> None:
        self.period, self.moment = f"{stem}Period", f"{stem}DateTime"
        self.start, self.end, self.required = start, end, required
        self.fields = (start, end)
        self.carries = (f"{self.period}.start", f"{self.period}.end", self.moment)

    def draft(self, to: Draft) -> None:
        to.add(
            f"start, end = fields[{self.start!r}], fields[{self.end!r}]",
            "if start is not None and start == end:",
            f"    node[{self.moment!r}] = str(start)",
            "elif start is not None or end is not None:",
            f"    node[{self.period!r}] = span = {{}}",
            "    if start is not None: span['start'] = str(start)",
            "    if end is not None: span['end'] = str(end)",
        )

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        if self.moment in node:
            values[self.start] = values[self.end] = at(self.moment, moment.decode, node[self.moment])
        elif self.period in node:
            period = at(self.period, an_object, node[self.period])
            for name, field in (("start", self.start), ("end", self.end)):
                if name in period:
                    values[field] = at(f"{self.period}.{name}", moment.decode, period[name])
        elif self.required:
            raise Refused.at("resource.missing", self.period, "a required element is missing")


class Slot(Protocol):
    """Some of the items of a repeated element. ``draft`` adds statements that put them into ``items``."""

    @property
    def fields(self) -> tuple[str, ...]: ...
    @property
    def carries(self) -> tuple[str, ...]: ...
    def claims(self, item: Json) -> bool: ...
    def draft(self, to: Draft) -> None: ...
    def take(self, name: str, items: Sequence[tuple[int, Json]], values: Tree) -> None: ...


class Slots(Drafted):
    """A repeated element whose items mean different things. The first slot that claims an item reads it; an item that
    none claims is residue. They are written in the order of the slots."""

    def __init__(self, name: str, *slots: Slot) -> None:
        self.name, self.slots = name, slots
        self.fields = tuple(field for slot in slots for field in slot.fields)
        self.carries = tuple(path for slot in slots for path in below(name, slot.carries))
        self.triggers = (name,)

    def draft(self, to: Draft) -> None:
        to.add("items = []")
        for slot in self.slots:
            slot.draft(to)
        to.add(f"if items: node[{self.name!r}] = items")

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        if self.name not in node:
            return
        taken: dict[int, list[tuple[int, Json]]] = {}
        for position, item in enumerate(at(self.name, a_list, node[self.name])):
            for index, slot in enumerate(self.slots):
                if slot.claims(item):
                    taken.setdefault(index, []).append((position, item))
                    break
        for index, items in taken.items():
            self.slots[index].take(self.name, items, values)


def anything(item: Json) -> bool:
    """Claims every item."""
    return True


class Constant:
    """A slot for an item that is always there, recognised by its first coding."""

    fields: tuple[str, ...] = ()
    carries: tuple[str, ...] = ()

    def __init__(self, node: Tree) -> None:
        self._node = node
        self._key = keys_of(node)[0]

    def claims(self, item: Json) -> bool:
        return self._key in keys_of(item)

    def draft(self, to: Draft) -> None:
        to.add(f"items.append({to.name(self._node)})")

    def take(self, name: str, items: Sequence[tuple[int, Json]], values: Tree) -> None:
        """Nothing to read."""


class One:
    """A slot for an optional field: at most one item."""

    def __init__(self, field: str, codec: Codec, claims: Callable[[Json], bool] = anything) -> None:
        self.field, self.codec = field, codec
        self._claims = claims
        self.fields = (field,)
        self.carries = codec.carries

    def claims(self, item: Json) -> bool:
        return self._claims(item)

    def draft(self, to: Draft) -> None:
        to.given(self.field, f"items.append({to.encoded(self.codec)})")

    def take(self, name: str, items: Sequence[tuple[int, Json]], values: Tree) -> None:
        if len(items) > 1:
            raise Refused.at(
                "resource.too_many", f"{name}[{items[1][0]}]", "the record holds one, the resource has more"
            )
        values[self.field] = at(f"{name}[{items[0][0]}]", self.codec.decode, items[0][1])


class Many:
    """A slot for a tuple field."""

    def __init__(self, field: str, codec: Codec, claims: Callable[[Json], bool] = anything) -> None:
        self.field, self.codec = field, codec
        self._claims = claims
        self.fields = (field,)
        self.carries = codec.carries

    def claims(self, item: Json) -> bool:
        return self._claims(item)

    def draft(self, to: Draft) -> None:
        to.given(self.field, f"items.append({to.encoded(self.codec)})", many=True)

    def take(self, name: str, items: Sequence[tuple[int, Json]], values: Tree) -> None:
        values[self.field] = decode_each(name, self.codec, items)


def has_member(*names: str) -> Callable[[Json], bool]:
    """Claims items that have one of these members."""
    wanted = frozenset(names)
    return lambda item: isinstance(item, dict) and not wanted.isdisjoint(item)


class Status(Drafted):
    """A status ⇄ its element and, where the clinic's word is finer than FHIR's code, an extension with the word.

    ``codes`` maps every word; ``plain`` are the words that the code alone means. Written finer words that contradict
    the code are refused when read.
    """

    def __init__(self, name: str, field: str, codes: Mapping[str, str], url: str) -> None:
        self.name, self.field, self._codes, self._url = name, field, dict(codes), url
        self._plain: dict[str, str] = {}
        for word, code in codes.items():
            self._plain.setdefault(code, word)
        self._finer = {word: {"url": url, "valueCode": word} for word in codes if self._plain[codes[word]] != word}
        self.fields = (field,)
        self.carries = (name, f"extension({url}).valueCode")

    def draft(self, to: Draft) -> None:
        finer = to.name(self._finer)
        to.add(
            f"word = fields[{self.field!r}]",
            f"node[{self.name!r}] = {to.name(self._codes)}[word]",
            f"if word in {finer}: extensions.append({finer}[word])",
        )

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        code = node.get(self.name)
        word = self._plain.get(code) if isinstance(code, str) else None
        if word is None:
            reason = "a required element is missing" if code is None else "not a code the record knows"
            raise Refused.at("resource.status", self.name, reason, f"one of {', '.join(self._plain)}")
        for position, extension in extensions.get(self._url, ()):
            finer = extension.get("valueCode")
            if not isinstance(finer, str) or self._codes.get(finer) != code:
                raise Refused.at("resource.contradiction", f"extension[{position}]", "it contradicts the status")
            word = finer
        values[self.field] = word
