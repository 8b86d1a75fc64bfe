"""The compiled leaf (``native/leaf.c``)."""

from collections.abc import Callable
from typing import Any, Self

from fhirbridge.layout.atoms import Facts
from fhirbridge.layout.conditions import Condition
from fhirbridge.records.base import Record

REVISION: int

class Node:
    after_slot: Self | None
    end: Any
    def __init__(self, segment: bytes) -> None: ...
    @property
    def segment(self) -> bytes: ...
    def fork(self, byte: int, /) -> Self | None: ...
    def put_fork(self, byte: int, node: Self, /) -> None: ...
    def follow(self, other: Self, /) -> None: ...

class Atom:
    def __init__(
        self, slots: int, in_extension: bool, rule: int, claimed: tuple[str, ...] | None, facts: Facts, /
    ) -> None: ...
    @property
    def slots(self) -> int: ...
    @property
    def in_extension(self) -> bool: ...
    @property
    def rule(self) -> int: ...
    @property
    def claimed(self) -> tuple[str, ...] | None: ...
    @property
    def facts(self) -> Facts: ...

class Recipe: ...
class Share: ...

class Composer:
    def __init__(
        self,
        whole: tuple[Any, ...],
        members: dict[bytes, Any],
        items: dict[bytes, Any],
        claims: Callable[[tuple[Any, ...]], bool] | None,
        /,
    ) -> None: ...
    def know(
        self, groups: tuple[int, ...], needed: tuple[bool, ...], shares: dict[Any, Share], absent: dict[str, Any], /
    ) -> None: ...
    def record(self, body: bytes, position: int, /) -> Record | None: ...

def know(values: Any, given: Any, extra: Any, private: Any, /) -> None: ...
def text(
    place: int,
    ask: Callable[[bytes], Any],
    rule: int,
    limit: int,
    kind: type[str] | None,
    remembered: dict[bytes, Any] | None,
    /,
) -> Recipe: ...
def model(
    model: type,
    given: set[str],
    checks: tuple[Callable[[Any], Any], ...],
    ask: Callable[[dict[str, Any]], Any] | None,
    template: dict[str, Any],
    parts: tuple[tuple[str, Recipe], ...],
    place: int,
    remembered: dict[bytes, Any] | None,
    /,
) -> Recipe: ...
def items(template: tuple[Any, ...], parts: tuple[tuple[int, Recipe], ...], /) -> Recipe: ...
def share(
    slots: int,
    constant: dict[str, Any],
    fields: tuple[tuple[str, Recipe], ...],
    conditions: tuple[Condition, ...],
    /,
) -> Share: ...
def is_plain(rule: int, limit: int, text: bytes, /) -> bool: ...
