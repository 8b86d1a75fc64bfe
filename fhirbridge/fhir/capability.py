"""CapabilityStatement: what a server says it can do. It is often wrong in both directions, so a setting outranks it."""

from __future__ import annotations

from dataclasses import dataclass

from fhirbridge.fhir.json import Json, Tree


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a server declares: its FHIR version, and the interactions of the whole system such as ``transaction``.

    Absence means that it does not say, not that it cannot.
    """

    fhir_version: str | None = None
    system: frozenset[str] = frozenset()


def capabilities(statement: Json) -> Capabilities:
    """Read a CapabilityStatement; whatever is missing or misshapen counts as not declared."""
    if not isinstance(statement, dict) or statement.get("resourceType") != "CapabilityStatement":
        return Capabilities()
    rests = [rest for rest in _dicts(statement, "rest") if rest.get("mode", "server") == "server"]
    codes = [one.get("code") for rest in rests for one in _dicts(rest, "interaction")]
    version = statement.get("fhirVersion")
    return Capabilities(
        version if isinstance(version, str) else None, frozenset(code for code in codes if isinstance(code, str))
    )


def settled(setting: bool | None, declared: bool, presumed: bool) -> bool:
    """Whether to use an ability: the setting if there is one, else what is declared, else what is presumed."""
    return setting if setting is not None else declared or presumed


def _dicts(node: Tree, name: str) -> list[Tree]:
    listed = node.get(name)
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
