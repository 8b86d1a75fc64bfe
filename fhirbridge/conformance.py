"""Conformance resources: what a hospital loads into its validator and its terminology server.

StructureDefinitions of extensions, CodeSystems, and ValueSets, made from the definitions that the mappings themselves
read and write with, so neither can say what the other does not (trap T21). They use nothing that differs between R4,
R4B and R5 and carry no fhirVersion, so one set serves all three; the exception is an extension of an element that only
R5 has.

A package offers a :class:`Publication` through the entry-point group ``fhirbridge.conformance``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fhirbridge.binding import BASE, MAPPING_VERSION
from fhirbridge.codec.extension import Definition, Type
from fhirbridge.errors import ConfigError, UsageError
from fhirbridge.fhir.json import Tree
from fhirbridge.sources.writing import WholeFile

ENTRY_POINTS = "fhirbridge.conformance"
_FHIR = "http://hl7.org/fhir"
# Contexts that R4 and R4B do not know: a StructureDefinition that names one is for R5 alone.
_R5_CONTEXTS = frozenset({"AdverseEvent.supportingInfo"})


@dataclass(frozen=True, slots=True)
class CodeSystem:
    """A code system with all its codes: code to display. A value set of the same name holds all of them."""

    name: str
    title: str
    concepts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ValueSet:
    """Some codes of somebody else's code system (``system`` is its URL)."""

    name: str
    title: str
    system: str
    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Publication:
    """What one package publishes. ``date`` is the day of the last change, ``YYYY-MM-DD``.

    Extensions that have a URL of their own were published by others and are left out.
    """

    publisher: str
    date: str
    extensions: tuple[Definition, ...] = ()
    code_systems: tuple[CodeSystem, ...] = ()
    value_sets: tuple[ValueSet, ...] = ()
    version: str = MAPPING_VERSION

    def resources(self, base: str) -> Iterator[Tree]:
        """The resources under a canonical base."""
        for definition in self.extensions:
            if not definition.url:
                yield _structure_definition(self, base, definition)
        for system in self.code_systems:
            yield _code_system(self, base, system)
            everything = {"include": [{"system": f"{base}/CodeSystem/{system.name}"}]}
            yield _value_set(self, base, system.name, system.title, everything)
        for chosen in self.value_sets:
            codes = [{"code": code} for code in chosen.codes]
            compose = {"include": [{"system": chosen.system, "concept": codes}]}
            yield _value_set(self, base, chosen.name, chosen.title, compose)


def publications() -> tuple[Publication, ...]:
    """What every installed package publishes, in the order of the entry points' names."""
    found = sorted(entry_points(group=ENTRY_POINTS), key=lambda one: one.name)
    return tuple(entry_point.load() for entry_point in found)


def write(directory: Path, base: str = BASE, offered: Iterable[Publication] | None = None) -> list[Path]:
    """Write every resource as ``Type-name.json`` into ``directory``, which is made if need be; gives the files back.

    A file appears whole or not at all. Raises :class:`UsageError` for a base that is no canonical URL or a directory
    that cannot be written, and :class:`ConfigError` where two packages publish the same resource; nothing is written
    then.
    """
    base = _canonical_base(base)
    files: dict[str, Tree] = {}
    for publication in publications() if offered is None else offered:
        for resource in publication.resources(base):
            name = f"{resource['resourceType']}-{resource['id']}.json"
            if name in files:
                raise ConfigError(f"two packages publish {name.removesuffix('.json')}", code="config.published_twice")
            files[name] = resource
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or "cannot be made"
        raise UsageError(f"{directory}: {reason}", code="usage.output", hint="name another directory") from None
    for name, resource in files.items():
        with WholeFile(directory / name) as file:
            file.write(json.dumps(resource, indent=1, ensure_ascii=False).encode() + b"\n")
    return [directory / name for name in files]


def _canonical_base(base: str) -> str:
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.netloc or re.search(r"[\s?#|]", base):
        hint = f"such as {BASE}"
        raise UsageError("the base is no canonical URL", code="usage.base", hint=hint)
    return base.rstrip("/")


def _header(publication: Publication, base: str, kind: str, name: str, title: str) -> Tree:
    return {
        "resourceType": kind,
        "id": name,
        "url": f"{base}/{kind}/{name}",
        "version": publication.version,
        "name": "".join(word.capitalize() for word in name.split("-")),
        "title": title,
        "status": "draft",
        "experimental": True,
        "date": publication.date,
        "publisher": publication.publisher,
        "description": f"{title}.",
    }


def _code_system(publication: Publication, base: str, system: CodeSystem) -> Tree:
    return _header(publication, base, "CodeSystem", system.name, system.title) | {
        "caseSensitive": True,
        "valueSet": f"{base}/ValueSet/{system.name}",
        "content": "complete",
        "count": len(system.concepts),
        "concept": [{"code": code, "display": display} for code, display in system.concepts.items()],
    }


def _value_set(publication: Publication, base: str, name: str, title: str, compose: Tree) -> Tree:
    return _header(publication, base, "ValueSet", name, title) | {"compose": compose}


def _structure_definition(publication: Publication, base: str, definition: Definition) -> Tree:
    title = definition.name.replace("-", " ").capitalize()
    resource = _header(publication, base, "StructureDefinition", definition.name, title)
    resource["description"] = f"{definition.text}."
    if not _R5_CONTEXTS.isdisjoint(definition.contexts):
        resource["fhirVersion"] = "5.0.0"
    return resource | {
        "kind": "complex-type",
        "abstract": False,
        "context": [{"type": "element", "expression": context} for context in definition.contexts],
        "type": "Extension",
        "baseDefinition": f"{_FHIR}/StructureDefinition/Extension",
        "derivation": "constraint",
        "differential": {"element": list(_elements(base, definition))},
    }


def _elements(base: str, definition: Definition) -> Iterator[Tree]:
    most = "*" if definition.many else "1"
    yield {"id": "Extension", "path": "Extension", **_said(definition.text), "min": 0, "max": most}
    url = {"id": "Extension.url", "path": "Extension.url", "fixedUri": f"{base}/StructureDefinition/{definition.name}"}
    if definition.parts is None:
        yield _none("Extension.extension", "Extension.extension")
        yield url
        yield _value("Extension", "Extension", base, definition.types)
        return
    for name, part in definition.parts.items():
        slice_, path = f"Extension.extension:{name}", "Extension.extension"
        yield {"id": slice_, "path": path, "sliceName": name, **_said(part.text), "min": 0, "max": "1"}
        yield _none(f"{slice_}.extension", f"{path}.extension")
        yield {"id": f"{slice_}.url", "path": f"{path}.url", "fixedUri": name}
        yield _value(slice_, path, base, (part.type,))
    yield url
    yield _none("Extension.value[x]", "Extension.value[x]")


def _said(text: str) -> dict[str, str]:
    return {"short": text, "definition": f"{text}."}


def _none(identity: str, path: str) -> Tree:
    return {"id": identity, "path": path, "max": "0"}


def _value(identity: str, path: str, base: str, types: tuple[Type, ...]) -> Tree:
    element: Tree = {
        "id": f"{identity}.value[x]",
        "path": f"{path}.value[x]",
        "min": 1,
        "type": [_type(t) for t in types],
    }
    bound = next((one for one in types if one.value_set), None)
    if bound is not None:
        # A full URL is somebody else's value set.
        url = bound.value_set if "/" in bound.value_set else f"{base}/ValueSet/{bound.value_set}"
        element["binding"] = {"strength": bound.strength, "valueSet": url}
    return element


def _type(type_: Type) -> dict[str, Any]:
    if not type_.targets:
        return {"code": type_.code}
    targets = [f"{_FHIR}/StructureDefinition/{target}" for target in type_.targets]
    return {"code": type_.code, "targetProfile": targets}
