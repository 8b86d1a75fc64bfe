"""The laws that every mapping keeps, for any kind of record. Copy this file beside your own tests.

A tree is a record as it stands on an NDJSON line, without ``kind``. Each function fails with an AssertionError.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fhirbridge.errors import RecordRefused, ResourceRefused
from fhirbridge.fhir.json import canonical, dump, parse
from fhirbridge.mapping import Kind, Mappings
from fhirbridge.records import parse as parse_record
from fhirbridge.records import to_json
from fhirbridge.residue import copied

Tree = dict[str, Any]
_FOREIGN = {"url": "https://elsewhere.example/extension", "valueString": "kept"}


def comes_back(kind: Kind, mappings: Mappings, tree: Tree) -> None:
    """``from_fhir(to_fhir(record))`` is the record, digit for digit, and nothing is left over."""
    record = parse_record(kind.record, tree)
    reading = mappings.from_fhir(_resource(kind, mappings, tree))
    assert canonical(to_json(reading.record)) == canonical(to_json(record))
    assert reading.residue == ()


def every_member_shows(kind: Kind, mappings: Mappings, tree: Tree) -> None:
    """Whatever is taken out of the record is missing in the resource too, unless the record needs it."""
    whole = canonical(_resource(kind, mappings, tree))
    for path, _ in _places(tree):
        smaller = copied(tree)
        del _at(smaller, path[:-1])[path[-1]]
        try:
            less = canonical(_resource(kind, mappings, smaller))
        except RecordRefused:
            continue
        assert less != whole, path


def foreign_content_is_laid_back(kind: Kind, mappings: Mappings, tree: Tree) -> None:
    """An extension and an element of somebody else, anywhere in the resource, are there again when it is written."""
    resource = _resource(kind, mappings, tree)
    for path, node in [((), resource), *_places(resource)]:
        if isinstance(node, dict) and "url" not in node:
            source = copied(resource)
            here = _at(source, path)
            here.setdefault("extension", []).append(dict(_FOREIGN))
            here["_elsewhere"] = {"id": "e1"}
            _is_written_as_it_came(mappings, source)


def broken_resources_are_refused(kind: Kind, mappings: Mappings, tree: Tree, junk: Any) -> None:
    """With ``junk`` in any place the resource is refused with a path, or read and written back as it came."""
    resource = _resource(kind, mappings, tree)
    for path, _ in _places(resource):
        source = copied(resource)
        _at(source, path[:-1])[path[-1]] = copied(junk)
        try:
            _is_written_as_it_came(mappings, source)
        except ResourceRefused as refused:
            assert all(fault.path and fault.code and fault.reason for fault in refused.faults)


def _is_written_as_it_came(mappings: Mappings, source: Tree) -> None:
    reading = mappings.from_fhir(source)
    written = mappings.to_fhir(reading.record, reading.residue)
    assert written.dropped == ()
    assert canonical(written.parts[0].resource) == canonical(source)


def _resource(kind: Kind, mappings: Mappings, tree: Tree) -> Tree:
    """The primary resource, as a server would give it back: parsed from its JSON text."""
    primary = mappings.to_fhir(parse_record(kind.record, tree)).parts[0]
    resource: Tree = parse(dump(primary.resource))
    return resource


def _places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    items: Any = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, member in items:
        yield (*path, key), member
        yield from _places(member, (*path, key))


def _at(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree
