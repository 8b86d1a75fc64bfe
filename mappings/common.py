"""What every mapping shares: identity, meta, notes (specification §3.0, §9)."""

from __future__ import annotations

from collections.abc import Sequence

from fhirbridge.binding import MAPPING_VERSION, Binding
from fhirbridge.codec.element import Elements, Extensions, Many, Slots
from fhirbridge.codec.leaf import Term, annotation, coding_node, concept_node, identifier
from fhirbridge.codec.writer import Draft
from fhirbridge.errors import Refused
from fhirbridge.fhir.json import Json, Tree
from fhirbridge.records import Instant, Record
from mappings import terms
from mappings.terms import Vocabulary


class OwnIdentifier:
    """The slot for the record's own id, in the identifier system that the clinic owns."""

    fields = ("id",)
    carries: tuple[str, ...] = ()

    def __init__(self, system: str) -> None:
        self.system = system

    def claims(self, item: Json) -> bool:
        return isinstance(item, dict) and item.get("system") == self.system and isinstance(item.get("value"), str)

    def draft(self, to: Draft) -> None:
        to.add(f"items.append({{'system': {self.system!r}, 'value': fields['id']}})")

    def take(self, name: str, items: Sequence[tuple[int, Json]], values: Tree) -> None:
        if len(items) > 1:
            raise Refused.at("resource.contradiction", f"{name}[{items[1][0]}]", "two identifiers of the clinic")
        values["id"] = items[0][1]["value"]


def identifiers(binding: Binding, name: str) -> Slots:
    """The ``identifier`` element: the record's own, then those that others gave."""
    return Slots("identifier", OwnIdentifier(binding.sid(name)), Many("additional_identifiers", identifier))


class Meta:
    """``meta``: source, security labels, and the tags with mapping version, record key and revision.

    Tags and labels are written in full every time, for servers merge them (HAPI keeps what a later write leaves out);
    the newest of several revision tags counts. Servers may rewrite ``meta.source``, so it is no key (§9.5).
    """

    fields = ("revision", "sensitivity", "source")
    carries: tuple[str, ...] = ()
    name = "meta"

    def __init__(self, binding: Binding) -> None:
        self._source = binding.source
        self._version = {"system": binding.code_system("mapping-version"), "code": MAPPING_VERSION}
        self._key = binding.code_system("record-key")
        self._revision = binding.code_system("revision")
        self._role = binding.code_system("role")
        self._revisions = binding.code_systems("revision")
        self._labels = [
            coding_node(terms.CONFIDENTIALITY, *terms.RESTRICTED),
            coding_node(terms.ACT_CODE, *terms.PSYCHIATRY),
        ]
        self._sensitive = terms.SENSITIVITY.codings()
        self._words = {terms.SENSITIVITY.key(word): word for word in terms.SENSITIVITY.table}

    def write(self, record: Record, node: Tree, extensions: list[Tree]) -> None:
        node["meta"] = self.of(record, record.id)

    def of(self, record: Record, key: str, role: str = "") -> Tree:
        """The meta of a part of ``record``; ``role`` marks a projection as such."""
        fields, labels = record.__dict__, self._labels
        if sensitivity := fields["sensitivity"]:
            labels = labels + [self._sensitive[word] for word in sensitivity]
        tags = [
            self._version,
            {"system": self._key, "code": key},
            {"system": self._revision, "code": str(fields["revision"])},
        ]
        if role:
            tags.append({"system": self._role, "code": role})
        return {"source": fields["source"] or self._source, "security": labels, "tag": tags}

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        meta = node.get("meta", {})
        if not isinstance(meta, dict):
            raise Refused.at("resource.type", "meta", "an object is wanted here")
        source = meta.get("source")
        if isinstance(source, str):
            # HAPI appends the id of the request that wrote it as a fragment.
            source = source.partition("#")[0]
            if source and source != self._source:
                values["source"] = source
        words = [self._words[key] for key in _keys(meta.get("security")) if key in self._words]
        if words:
            values["sensitivity"] = words
        revisions = [code for system, code in _keys(meta.get("tag")) if system in self._revisions]
        if revisions:
            values["revision"] = newest(revisions)


def _keys(codings: Json) -> list[tuple[str, str]]:
    if not isinstance(codings, list):
        return []
    return [
        (one["system"], one["code"])
        for one in codings
        if isinstance(one, dict) and isinstance(one.get("system"), str) and isinstance(one.get("code"), str)
    ]


def newest(revisions: list[str]) -> int | str:
    """The newest of revision tags: numbers by value, instants by moment, and a number never beats an instant."""
    instants = [text for text in revisions if not text.isdigit()]
    if not instants:
        return max(map(int, revisions))
    try:
        return max(instants, key=lambda text: Instant(text).as_datetime())
    except ValueError:
        raise Refused.at("resource.revision", "meta.tag", "a revision tag is neither a number nor an instant") from None


NOTES = Elements("note", "notes", annotation)


def term(vocabulary: Vocabulary, *, or_concept: bool = True) -> Term:
    """A term in one published code system; other concepts are kept whole unless ``or_concept`` is off."""
    return Term(vocabulary.concepts(), or_concept=or_concept)


def two_codings(first: Vocabulary, second: Vocabulary) -> dict[str, Tree]:
    """Concepts whose words have a coding in each of two systems; a word missing in one has the other's alone."""
    nodes = {}
    for word in {**first.table, **second.table}:
        codings = [(one.system, *one.table[word]) for one in (first, second) if word in one.table]
        nodes[word] = concept_node(codings, terms.label(word))
    return nodes
