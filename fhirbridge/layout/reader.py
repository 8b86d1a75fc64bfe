"""Reading by layout: the choice among kinds that share a resource type."""

from __future__ import annotations

from collections.abc import Sequence

from fhirbridge.fhir.json import Tree
from fhirbridge.layout.bound import Bound, Claim
from fhirbridge.layout.kind import KindLayouts
from fhirbridge.layout.leaf import Leaf, leaf
from fhirbridge.records.base import Record

_BEGIN = b'{"resourceType":"'


class Layouts:
    """The layouts learned for all kinds of one site, by the leaf in use where none is given."""

    def __init__(self, own: Leaf | None = None) -> None:
        self._leaf = own or leaf()
        self._by_type: dict[bytes, list[KindLayouts]] = {}

    def read(self, body: bytes) -> Record | None:
        """The record of a body with a known layout, which leaves no residue; ``None`` if it has to be read the plain
        way.
        """
        end = body.find(b'"', len(_BEGIN))
        known = self._by_type.get(body[len(_BEGIN) : end])
        if known is None or not body.startswith(_BEGIN) or body[end + 1 : end + 2] != b",":
            return None
        for index, layouts in enumerate(known):
            record = layouts.read(body, end + 2)
            if record is not None:
                if index:
                    # More of the same kind will follow.
                    self._by_type[body[len(_BEGIN) : end]] = [layouts, *known[:index], *known[index + 1 :]]
                return record
        return None

    def learn(self, mapping: Bound, rivals: Sequence[Claim], body: bytes, resource: Tree, record: Record) -> None:
        """Learn a body that was read the plain way without residue.

        ``rivals`` are the claims of the kinds that are asked before its own.
        """
        name = mapping.kind.resource_type.encode()
        known = self._by_type.get(name, [])
        layouts = next((one for one in known if one.mapping is mapping), None)
        if layouts is None:
            layouts = KindLayouts(mapping, rivals, self._leaf)
            self._by_type[name] = [*known, layouts]
        layouts.learn(body, resource, record)
