"""The laws that every mapping keeps, for any kind of record. Copy this file beside your own tests.

A tree is a record as it stands on an NDJSON line, without ``kind``; a place is any whole number and chooses a node of a
tree. Each function fails with an AssertionError.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fhirbridge.errors import Fault, RecordRefused, ResourceRefused
from fhirbridge.fhir.json import canonical, dump, parse
from fhirbridge.mapping import Kind, Mappings
from fhirbridge.records import parse as parse_record
from fhirbridge.records import to_json
from fhirbridge.residue import copied

Tree = dict[str, Any]
Path = tuple[Any, ...]


def comes_back(kind: Kind, mappings: Mappings, tree: Tree) -> None:
    """``from_fhir(to_fhir(record))`` is the record, digit for digit, and nothing is left over."""
    record = parse_record(kind.record, tree)
    reading = mappings.from_fhir(_resource(kind, mappings, tree))
    assert canonical(to_json(reading.record)) == canonical(to_json(record))
    assert reading.residue == ()


def every_member_shows(kind: Kind, mappings: Mappings, tree: Tree, place: int) -> None:
    """What is taken out of a record is missing in the resource too, unless the record needs it."""
    smaller = copied(tree)
    path = _chosen(tree, place)
    del _at(smaller, path[:-1])[path[-1]]
    try:
        less = _resource(kind, mappings, smaller)
    except RecordRefused:
        return
    assert canonical(less) != canonical(_resource(kind, mappings, tree)), path


def foreign_content_is_laid_back(kind: Kind, mappings: Mappings, tree: Tree, place: int) -> None:
    """An extension and an element of somebody else are there again when the record is written: first at the root, then
    anywhere in the resource, where it may also be a reason to refuse it."""
    source = _resource(kind, mappings, tree)
    _add_foreign_content(source)
    assert _is_written_as_it_came(mappings, source)
    objects = [node for path in _places(source) if isinstance(node := _at(source, path), dict) and "url" not in node]
    _add_foreign_content(objects[place % len(objects)])
    _is_written_as_it_came(mappings, source)


def broken_resources_are_refused(kind: Kind, mappings: Mappings, tree: Tree, place: int, junk: Any) -> None:
    """With ``junk`` in some place a resource is refused with a path, or read and written back as it came."""
    source = _resource(kind, mappings, tree)
    path = _chosen(source, place)
    _at(source, path[:-1])[path[-1]] = copied(junk)
    _is_written_as_it_came(mappings, source)


def _is_written_as_it_came(mappings: Mappings, source: Tree) -> bool:
    """Whether a resource was read. If so it must be written back as it is, if not there must be a reason and a path."""
    faults: tuple[Fault, ...] = ()
    try:
        reading = mappings.from_fhir(source)
    except ResourceRefused as refused:
        faults = refused.faults
    else:
        written = mappings.to_fhir(reading.record, reading.residue)
        assert written.dropped == ()
        assert canonical(written.parts[0].resource) == canonical(source)
        return True
    assert faults
    assert all(fault.path and fault.code and fault.reason for fault in faults)
    return False


def _add_foreign_content(node: Tree) -> None:
    node.setdefault("extension", []).append({"url": "https://elsewhere.example/extension", "valueString": "kept"})
    node["_elsewhere"] = {"id": "e1"}


def _resource(kind: Kind, mappings: Mappings, tree: Tree) -> Tree:
    """The primary resource, as a server would give it back: parsed from its JSON text."""
    primary = mappings.to_fhir(parse_record(kind.record, tree)).parts[0]
    resource: Tree = parse(dump(primary.resource))
    return resource


def _places(node: Any, path: Path = ()) -> Iterator[Path]:
    items: Any = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, member in items:
        yield (*path, key)
        yield from _places(member, (*path, key))


def _chosen(tree: Tree, place: int) -> Path:
    places = list(_places(tree))
    return places[place % len(places)]


def _at(tree: Any, path: Path) -> Any:
    for key in path:
        tree = tree[key]
    return tree
