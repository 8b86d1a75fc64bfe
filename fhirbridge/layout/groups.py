"""Groups: rules of which one looks at fields of another are learned together; all others combine freely.

What a rule looks at is observed while it writes: it gets a record that notes each field it is asked for. A rule that
has not looked at a field has written what it wrote whatever that field holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fhirbridge.codec.element import Rule
from fhirbridge.fhir.json import Tree
from fhirbridge.layout.marks import Different


class _Fields(dict[str, Any]):
    """The fields of a record by name, noting those that were asked for."""

    def __init__(self, fields: dict[str, Any], asked: set[str]) -> None:
        super().__init__(fields)
        self._asked = asked

    def __getitem__(self, name: str) -> Any:
        self._asked.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self._asked.add(name)
        return super().get(name, default)

    def _all(self) -> Any:
        raise Different

    __iter__ = items = keys = values = _all


class _Observed:
    """A record that notes which of its fields are asked for."""

    def __init__(self, record: Any, asked: set[str]) -> None:
        object.__setattr__(self, "_of", (record, asked, _Fields(record.__dict__, asked)))

    def __getattribute__(self, name: str) -> Any:
        record, asked, fields = object.__getattribute__(self, "_of")
        if name == "__dict__":
            return fields
        if name in record.__dict__:
            asked.add(name)
        return getattr(record, name)


class Untouchable(dict[str, Any]):
    """A resource that must not be looked at: whoever does cannot be asked before it is there."""

    def _touched(self, *_: Any) -> Any:
        raise Different

    __getitem__ = __contains__ = __iter__ = get = items = keys = values = _touched


@dataclass(frozen=True, slots=True)
class Said:
    """What one rule wrote, and the fields it looked at."""

    rule: int
    node: Tree
    extensions: list[Tree]
    asked: frozenset[str]


def said_by(rules: Iterable[Rule], record: Any) -> list[Said]:
    """What each rule writes of a record, on its own. Raises what a rule raises."""
    found = []
    for index, rule in enumerate(rules):
        asked: set[str] = set()
        node: Tree = {}
        extensions: list[Tree] = []
        rule.write(_Observed(record, asked), node, extensions)
        found.append(Said(index, node, extensions, frozenset(asked)))
    return found


class Groups:
    """Which rules belong together, as far as was seen."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self._rules = rules
        self._parents = list(range(len(rules)))
        self._owners: dict[object, int] = {}
        for index, rule in enumerate(rules):
            self._claim(index, rule.fields)
        self._settle()

    def merge(self, said: Iterable[Said]) -> bool:
        """Join the rules that looked at the same field or wrote into the same member; whether anything changed."""
        before = self.of
        for one in said:
            self._claim(one.rule, one.asked)
            self._claim(one.rule, ((name,) for name in one.node))
            self._claim(one.rule, (("extension", item["url"]) for item in one.extensions))
        self._settle()
        return before != self.of

    def _settle(self) -> None:
        #: The group of each rule, named by the first of its rules.
        self.of = tuple(map(self._first, range(len(self._rules))))
        fields: dict[int, set[str]] = {group: set() for group in self.of}
        for group, rule in zip(self.of, self._rules, strict=True):
            fields[group].update(rule.fields)
        #: The fields of each group.
        self.fields = {group: frozenset(names) for group, names in fields.items()}

    def _first(self, rule: int) -> int:
        while self._parents[rule] != rule:
            rule = self._parents[rule]
        return rule

    def _claim(self, rule: int, things: Iterable[object]) -> None:
        for thing in things:
            owner = self._owners.setdefault(thing, rule)
            first, second = self._first(owner), self._first(rule)
            self._parents[max(first, second)] = min(first, second)
