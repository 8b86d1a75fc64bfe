"""What reading by layout has to know of a mapping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from fhirbridge.codec.element import Rules
from fhirbridge.fhir.json import Tree
from fhirbridge.records.base import Record

Claim = Callable[[Tree], bool]


def every(resource: Tree) -> bool:
    """The claim of a kind that is alone with its resource type."""
    return True


class Kind(Protocol):
    """A kind of record."""

    @property
    def record(self) -> type[Record]: ...
    @property
    def resource_type(self) -> str: ...
    @property
    def claims(self) -> Claim: ...


class Bound(Protocol):
    """A kind, bound to a clinic, a release and an overlay."""

    @property
    def kind(self) -> Kind: ...
    @property
    def rules(self) -> Rules: ...
    @property
    def profiles(self) -> Callable[[Any, Tree], tuple[str, ...]]: ...
    def resource_id(self, record_id: str) -> str: ...
