"""Other spellings of the same thing in the consents of others: read as ours, written back as they were.

An extension under the URL of the cross-version package (trap T20), or under a further base of ours, is our extension;
``resource-types`` and ``fhir-types`` are one code system under the name of R4 and of R5 (trap T19). What was spelled
otherwise becomes a residue that holds the spelling alone, never the content.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from fhirbridge.binding import Binding
from fhirbridge.fhir.json import Json, Tree
from fhirbridge.residue import Entry, difference
from mappings import extensions, terms
from mappings.consent_papers import XVER_ALIASES

# Members in which a Coding names a resource type, by release.
_TYPED = ("class", "resourceType")


class Spelling:
    """The spellings one site reads."""

    def __init__(self, binding: Binding) -> None:
        ours = {definition.written_url(binding): definition for definition in extensions.EXTENSIONS}
        self._urls = {
            url: written
            for written, definition in ours.items()
            for url in definition.read_urls(binding)
            if url != written
        }
        if not binding.release.is_r5:
            self._urls |= {alias: definition.written_url(binding) for alias, definition in XVER_ALIASES.items()}
        pair = (terms.RESOURCE_TYPES_R4, terms.RESOURCE_TYPES_R5)
        other, own = pair if binding.release.is_r5 else reversed(pair)
        self._systems = {other: own}

    def ours(self, resource: Tree) -> tuple[Tree, tuple[Entry, ...]]:
        """The resource in our spelling (itself, where it is so already), and what brings the other spelling back."""
        if not self._differs(resource):
            return resource, ()
        places = list(self._places(resource))
        changed = _copy(resource)
        entries = []
        for steps, written in places:
            node, last = changed, steps[-1]
            for step in steps[:-1]:
                node = node[step]
            (entry,) = difference({last: node[last]}, {last: written})
            entries.append(replace(entry, path=_path(steps)))
            node[last] = written
        return changed, tuple(entries)

    def _differs(self, resource: Tree) -> bool:
        """Whether any URL or system is spelled otherwise: quick, for nearly always none is."""
        waiting: list[Json] = [resource]
        while waiting:
            node = waiting.pop()
            if type(node) is dict:
                url, system = node.get("url"), node.get("system")
                if (type(url) is str and url in self._urls) or (type(system) is str and system in self._systems):
                    return True
                waiting += node.values()
            elif type(node) is list:
                waiting += node
        return False

    def _places(self, node: Json, name: str = "") -> Iterator[tuple[tuple[Any, ...], str]]:
        if isinstance(node, list):
            for position, item in enumerate(node):
                for steps, written in self._places(item, name):
                    yield (position, *steps), written
        elif isinstance(node, dict):
            url, system = node.get("url"), node.get("system")
            if name == "extension" and isinstance(url, str) and url in self._urls:
                yield ("url",), self._urls[url]
            if name in _TYPED and isinstance(system, str) and system in self._systems:
                yield ("system",), self._systems[system]
            for member, value in node.items():
                if isinstance(value, list | dict):
                    for steps, written in self._places(value, member):
                        yield (member, *steps), written


def _path(steps: tuple[Any, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)[1:]


def _copy(node: Json) -> Json:
    if isinstance(node, dict):
        return {name: _copy(member) for name, member in node.items()}
    return [_copy(item) for item in node] if isinstance(node, list) else node
