"""What a server says it can do: its CapabilityStatement and its SMART configuration.

Both are often wrong in both directions (HAPI declares no ``updateCreate`` and does it), so a proof outranks them and a
setting outranks both. Absence means that a server does not say, not that it cannot.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from fhirbridge.fhir.json import Json, Tree

_SOFTWARE = re.compile(r"[\w .,()/+-]{1,80}")


@dataclass(frozen=True, slots=True)
class TypeCapabilities:
    """What is declared for one resource type; ``None`` where nothing is said."""

    interactions: frozenset[str] = frozenset()
    search: frozenset[str] = frozenset()
    versioning: str | None = None
    update_create: bool | None = None
    conditional_create: bool | None = None
    conditional_update: bool | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a server declares: its FHIR version, the interactions of the whole system such as ``transaction``, its
    resource types, the software's name and version."""

    fhir_version: str | None = None
    system: frozenset[str] = frozenset()
    types: Mapping[str, TypeCapabilities] = field(default_factory=lambda: MappingProxyType({}))
    software: str | None = None

    def of(self, resource_type: str) -> TypeCapabilities:
        """What is declared for a type: nothing, for one that the server does not name."""
        return self.types.get(resource_type, _NOTHING_SAID)


@dataclass(frozen=True, slots=True)
class SmartConfiguration:
    """What ``.well-known/smart-configuration`` says of getting a token without a person."""

    token_endpoint: bool = False
    private_key_jwt: bool = False
    algorithms: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()


_NOTHING_SAID = TypeCapabilities()


def capabilities(statement: Json) -> Capabilities:
    """Read a CapabilityStatement; whatever is missing or misshapen counts as not declared."""
    if not isinstance(statement, dict) or statement.get("resourceType") != "CapabilityStatement":
        return Capabilities()
    rests = [rest for rest in _dicts(statement, "rest") if rest.get("mode", "server") == "server"]
    types = {
        one["type"]: _type(one)
        for rest in rests
        for one in _dicts(rest, "resource")
        if isinstance(one.get("type"), str)
    }
    return Capabilities(
        _text(statement, "fhirVersion"),
        frozenset(code for rest in rests for code in _codes(rest)),
        MappingProxyType(types),
        _software(statement.get("software")),
    )


def smart_configuration(document: Json) -> SmartConfiguration:
    """Read a SMART configuration; whatever is missing or misshapen counts as not said."""
    if not isinstance(document, dict):
        return SmartConfiguration()
    return SmartConfiguration(
        token_endpoint=_text(document, "token_endpoint") is not None,
        private_key_jwt="private_key_jwt" in _texts(document, "token_endpoint_auth_methods_supported"),
        algorithms=_texts(document, "token_endpoint_auth_signing_alg_values_supported"),
        capabilities=_texts(document, "capabilities"),
    )


def _type(node: Tree) -> TypeCapabilities:
    names = [_text(one, "name") for one in _dicts(node, "searchParam")]
    return TypeCapabilities(
        interactions=frozenset(_codes(node)),
        search=frozenset(name for name in names if name is not None),
        versioning=_text(node, "versioning"),
        update_create=_flag(node, "updateCreate"),
        conditional_create=_flag(node, "conditionalCreate"),
        conditional_update=_flag(node, "conditionalUpdate"),
    )


def _software(node: Json) -> str | None:
    """Name and version, as far as they look like that; they are shown to people."""
    if not isinstance(node, dict):
        return None
    said = " ".join(word for word in (_text(node, "name"), _text(node, "version")) if word)
    return said if _SOFTWARE.fullmatch(said) else None


def _codes(node: Tree) -> list[str]:
    return [code for one in _dicts(node, "interaction") if (code := _text(one, "code")) is not None]


def _text(node: Tree, name: str) -> str | None:
    value = node.get(name)
    return value if isinstance(value, str) else None


def _flag(node: Tree, name: str) -> bool | None:
    value = node.get(name)
    return value if isinstance(value, bool) else None


def _texts(node: Tree, name: str) -> tuple[str, ...]:
    listed = node.get(name)
    return tuple(one for one in listed if isinstance(one, str)) if isinstance(listed, list) else ()


def _dicts(node: Tree, name: str) -> list[Tree]:
    listed = node.get(name)
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
