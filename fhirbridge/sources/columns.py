"""From a CSV row to a record's JSON tree, by a map of field paths to columns.

A path is written as faults write it: ``patient.identifier.value``, ``readings[0].value``. The record's own model says
what a cell is: a number keeps its text (``0.50``), a flag is ``true`` or ``false``, everything else is text. An empty
cell is an absent field, and with it goes every constant of a group (``readings[1].unit``) whose cells are all empty.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel

from fhirbridge.errors import ConfigError, Fault
from fhirbridge.records import Decimal, Record

Steps: TypeAlias = tuple[str | int, ...]
_STEP = re.compile(r"(?:^|\.)([A-Za-z_]\w*)|\[(\d{1,3})\]")
_FLAGS = {"true": True, "false": False}


class ColumnMap:
    """A map made ready for one kind of record. Raises :class:`ConfigError` with every path the record does not have."""

    def __init__(
        self, model: type[Record], columns: Mapping[str, str], constants: Mapping[str, Any], separator: str
    ) -> None:
        faults: list[Fault] = []
        self.model = model
        self.columns = tuple(dict.fromkeys(columns.values()))
        self._columns = dict(columns)
        self._separator = separator
        self._cells = [(_checked(model, path, "columns", faults), column) for path, column in columns.items()]
        self._constants = [(_checked(model, path, "constants", faults), value) for path, value in constants.items()]
        repeated = columns.keys() & constants.keys()
        faults += [Fault("config.mapped_twice", path, "is a column and a constant", "keep one") for path in repeated]
        if faults:
            raise ConfigError("\n".join(map(str, faults)), code="config.columns")
        self._types = {steps: frozenset(_types(model, steps)) for steps, _ in self._cells}
        mapped = {steps[:depth] for steps, _ in self._cells for depth in range(1, len(steps))}
        self._groups = {
            steps: [steps[:depth] for depth in range(1, len(steps)) if steps[:depth] in mapped]
            for steps, _ in self._constants
        }

    def column_of(self, path: str) -> str | None:
        """The column that fills a field, if one does."""
        return self._columns.get(path)

    def tree(self, row: Mapping[str, str]) -> dict[str, Any]:
        """The record's tree for one row (column → cell). One that does not fit stays text, for the record to refuse."""
        found: dict[Steps, Any] = {}
        for steps, column in self._cells:
            if row[column] != "":
                found[steps] = self._value(row[column], self._types[steps])
        present = {steps[:depth] for steps in found for depth in range(1, len(steps))}
        constants = {
            steps: value for steps, value in self._constants if all(group in present for group in self._groups[steps])
        }
        return _nested(found | constants)

    def _value(self, text: str, wanted: frozenset[Any]) -> Any:
        lists = [one for one in wanted if get_origin(one) is tuple]
        if not lists:
            return _scalar(text, wanted)
        inner = frozenset(leaf for one in lists for leaf in _alternatives(get_args(one)[0]))
        return [_scalar(item.strip(), inner) for item in text.split(self._separator)]


def _scalar(text: str, wanted: frozenset[Any]) -> Any:
    if Decimal in wanted or (int in wanted and text.removeprefix("-").isdecimal()):
        try:
            return Decimal(text) if Decimal in wanted else int(text[:20])
        except ValueError:
            return text
    return _FLAGS.get(text.lower(), text) if bool in wanted else text


def _nested(found: Mapping[Steps, Any]) -> dict[str, Any]:
    tree: dict[str | int, Any] = {}
    for steps, value in found.items():
        node = tree
        for step in steps[:-1]:
            node = node.setdefault(step, {})
        node[steps[-1]] = value
    closed: dict[str, Any] = _with_lists(tree)
    return closed


def _with_lists(node: Any) -> Any:
    """Turn a node with positions for keys into a list; positions only say the order, so one may be left out."""
    if not isinstance(node, dict):
        return node
    if node and all(isinstance(key, int) for key in node):
        return [_with_lists(node[key]) for key in sorted(node)]
    return {key: _with_lists(value) for key, value in node.items()}


def _checked(model: type[Record], path: str, table: str, faults: list[Fault]) -> Steps:
    steps = tuple(match[1] or int(match[2]) for match in _STEP.finditer(path))
    if "".join(match[0] for match in _STEP.finditer(path)) != path or not steps:
        faults.append(Fault("config.path", f"{table}.{path}", "not a field path", "write a.b or a[0].b"))
        return ()
    for depth in range(len(steps)):
        if not _types(model, steps[: depth + 1]):
            known = sorted(_names(model, steps[:depth]))
            near = difflib.get_close_matches(str(steps[depth]), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known) or 'a list, write [0]'}"
            faults.append(Fault("config.unknown_field", f"{table}.{path}", f"a {model.kind} has no such field", hint))
            return ()
    return steps


def _types(model: type[BaseModel], steps: Steps) -> list[Any]:
    """The types that can stand at the end of a path; none when there is no such path."""
    here: list[Any] = [model]
    for step in steps:
        if isinstance(step, int):
            following = [get_args(one)[0] for one in here if get_origin(one) is tuple]
        else:
            following = [one.model_fields[step].annotation for one in _models(here) if step in one.model_fields]
        here = [leaf for one in following for leaf in _alternatives(one)]
    return here


def _names(model: type[BaseModel], steps: Steps) -> set[str]:
    return {name for one in _models(_types(model, steps)) for name in one.model_fields}


def _models(candidates: list[Any]) -> Iterator[type[BaseModel]]:
    for one in candidates:
        if isinstance(one, type) and get_origin(one) is None and issubclass(one, BaseModel):
            yield one


def _alternatives(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for one in get_args(annotation):
            yield from _alternatives(one)
    elif origin is Literal:
        yield str
    elif annotation is not type(None):
        yield annotation
