"""What the rules of one node write, compiled into one function.

A record has some forty fields, most of them empty. Calling a rule for each costs more than what the rule does, so the
general rules say what they write as Python statements (``draft``), and the statements of all rules of a node become one
function, as ``dataclasses`` makes an ``__init__``. A rule with a ``write`` of its own is called from there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import cached_property
from textwrap import indent
from typing import Any

from fhirbridge.fhir.json import Tree

Write = Callable[[Any, Tree, list[Tree]], None]


class Draft:
    """Statements in the making, and the constants and functions that they name.

    They find ``record``, its ``fields`` by name, the ``node`` to write into and the node's ``extensions``. Any other
    local name they may use, up to the next rule.
    """

    def __init__(self, rules: Iterable[Any] = ()) -> None:
        self._statements: list[str] = []
        self._names: dict[str, object] = {}
        for rule in rules:
            self._rule(rule)

    def _rule(self, rule: Any) -> None:
        if getattr(type(rule), "write", None) is Drafted.write:
            rule.draft(self)
        else:
            self.when(getattr(rule, "only_with", ()), f"{self.name(rule.write)}(record, node, extensions)")

    def name(self, thing: object) -> str:
        """A name by which the statements find a constant or a function."""
        name = f"_{len(self._names)}"
        self._names[name] = thing
        return name

    def encoded(self, codec: Any, value: str = "value") -> str:
        """The expression of what ``codec`` makes of ``value``: a call, or ``inline`` where it is no more than that."""
        # A class that has another ``encode`` does not inherit the expression of the one that it replaces.
        inline = next((vars(one).get("inline") for one in type(codec).__mro__ if "encode" in vars(one)), None)
        return f"{self.name(codec.encode)}({value})" if inline is None else inline.format(value)

    def add(self, *lines: str) -> None:
        """Add the lines of a statement."""
        self._statements += lines

    def when(self, fields: Iterable[str], statement: str) -> None:
        """Add a statement for records that have something in one of ``fields``, or for all where none is named.

        The fields are tuples and models, which are true when they are there.
        """
        given = " or ".join(f"fields[{field!r}]" for field in fields)
        self.add(f"if {given}: {statement}" if given else statement)

    def given(self, field: str, statement: str, *, many: bool = False) -> None:
        """Add a statement about the ``value`` of a field, if it has one; ``many``: about each item of a tuple field."""
        if many:
            self.add(f"for value in fields[{field!r}] or (): {statement}")
        else:
            self.add(f"value = fields[{field!r}]", f"if value is not None: {statement}")

    def write(self) -> Write:
        """``(record, node, extensions)``: write into what is there."""
        write: Write = self._function("record, node, extensions")
        return write

    def write_into(self) -> Callable[[Tree, Any], None]:
        """``(node, record)``: write into a node that is there; extensions go together, in the order of the rules."""
        write: Callable[[Tree, Any], None] = self._function("node, record", "extensions = []", _HANG_ON)
        return write

    def encode(self, result: str = "node") -> Callable[[Any], Tree]:
        """``(record)``: a new node; ``result`` is its expression where that is not simply what the rules wrote."""
        hang_on = (_HANG_ON,) if result == "node" else ()
        write: Callable[[Any], Tree] = self._function(
            "record", "node, extensions = {}, []", *hang_on, f"return {result}"
        )
        return write

    def _function(self, arguments: str, first: str = "", *last: str) -> Any:
        body = "\n".join(("fields = record.__dict__", first, *self._statements, *last))
        names = dict(self._names)
        # The text is made of names of fields and elements and of this package's statements, never of data.
        exec(f"def write({arguments}):\n{indent(body, '    ')}\n", names)  # noqa: S102
        return names["write"]


_HANG_ON = "if extensions: node['extension'] = extensions"


class Drafted(ABC):
    """A rule with a draft: its ``write`` is compiled from that, should anybody call it alone."""

    @abstractmethod
    def draft(self, to: Draft) -> None:
        """Add the rule's statements."""

    @cached_property
    def write(self) -> Write:
        """Write the rule's elements into a node and its extensions."""
        return Draft((self,)).write()
