"""Reading by layout: the choice among kinds that share a resource type."""

from __future__ import annotations

from collections.abc import Sequence

from fhirbridge.fhir.json import Tree
from fhirbridge.layout.bound import Bound, Claim
from fhirbridge.layout.kind import KindLayouts
from fhirbridge.layout.plan import Wholes
from fhirbridge.records.base import Record

_BEGIN = b'{"resourceType":"'


class Layouts:
    """The layouts learned for all kinds of one site."""

    def __init__(self) -> None:
        self._wholes = Wholes()
        self._by_type: dict[bytes, list[KindLayouts]] = {}

    def read(self, body: bytes) -> Record | None:
        """The record of a body with a known layout, which leaves no residue; ``None`` if it has to be read the plain
        way.
        """
        found: list[bytes] = []
        walked = self._wholes.root.walk(body, 0, found)
        if walked is not None and walked[1] == len(body):
            return walked[0].record(found)
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
            layouts = KindLayouts(mapping, rivals, self._wholes)
            self._by_type[name] = [*known, layouts]
        layouts.learn(body, resource, record)
