"""Other spellings of the same thing: read as ours, written back as they were.

An extension or a code system under a further base of ours, an extension of the cross-version package (trap T20), a code
system that R4 and R5 name differently (trap T19): the resource is turned into our spelling before it is read, and what
was spelled otherwise becomes a residue that holds the spelling alone, never the content.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from fhirbridge.binding import Binding
from fhirbridge.fhir.json import Json, Tree
from fhirbridge.residue import Entry, copied, difference, path_of

_MEMBERS = ("url", "system")


class Spelling:
    """The spellings one mapping reads: URLs of extensions and of code systems, each with the one we write."""

    def __init__(self, binding: Binding, aliases: Mapping[str, str]) -> None:
        self._aliases = dict(aliases)
        self._bases = {f"{base}/": f"{binding.clinic.base}/" for base in binding.clinic.other_bases}
        self._any = bool(self._aliases or self._bases)

    def ours(self, resource: Tree) -> tuple[Tree, tuple[Entry, ...]]:
        """The resource in our spelling (itself, where it is so already), and what brings the other spelling back."""
        if not self._any or not self._differs(resource):
            return resource, ()
        changed: Tree = copied(resource)
        entries = []
        for steps, written in list(self._places(resource)):
            node: Any = changed
            for step in steps[:-1]:
                node = node[step]
            last = str(steps[-1])
            (entry,) = difference({last: node[last]}, {last: written})
            entries.append(replace(entry, path=path_of(steps)))
            node[last] = written
        return changed, tuple(entries)

    def _written(self, text: Json) -> str | None:
        if type(text) is not str:
            return None
        if text in self._aliases:
            return self._aliases[text]
        for base, own in self._bases.items():
            if text.startswith(base):
                return own + text[len(base) :]
        return None

    def _differs(self, resource: Tree) -> bool:
        """Whether anything is spelled otherwise: quick, for nearly always nothing is."""
        waiting: list[Json] = [resource]
        while waiting:
            node = waiting.pop()
            if type(node) is dict:
                if any(self._written(node.get(member)) is not None for member in _MEMBERS):
                    return True
                waiting += node.values()
            elif type(node) is list:
                waiting += node
        return False

    def _places(self, node: Json) -> Iterator[tuple[tuple[str | int, ...], str]]:
        if isinstance(node, list):
            for position, item in enumerate(node):
                for steps, written in self._places(item):
                    yield (position, *steps), written
        elif isinstance(node, dict):
            for member in _MEMBERS:
                own = self._written(node.get(member))
                if own is not None:
                    yield (member,), own
            for member, value in node.items():
                if isinstance(value, list | dict):
                    for steps, written in self._places(value):
                        yield (member, *steps), written
