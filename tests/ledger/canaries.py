"""Records with a marker in every text that a record may hold, of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fhirbridge.errors import Refused
from fhirbridge.records import Record, parse
from tests.kinds import KINDS

MARKER = "Zq7canary"
Path = tuple[str | int, ...]


def marked(tree: dict[str, Any], suffix: str) -> tuple[Record, list[Path]]:
    """The record of a tree with a marker in each text that takes one, and where those are.

    A text that only looks like one (a code of a list, a time) takes none and stays as it is.
    """
    model = KINDS[tree["kind"]].record
    plain = {name: value for name, value in tree.items() if name != "kind"}
    taken: list[Path] = []
    for path in list(_texts(plain)):
        for text in (f"{MARKER}{suffix}", f"https://clinic.example/{MARKER}{suffix}"):
            changed = _with(plain, path, text)
            try:
                parse(model, changed)
            except Refused:
                continue
            plain = changed
            taken.append(path)
            break
    return parse(model, plain), taken


def _texts(node: Any, path: Path = ()) -> Iterator[Path]:
    if isinstance(node, str):
        yield path
    elif isinstance(node, dict):
        for name, member in node.items():
            yield from _texts(member, (*path, name))
    elif isinstance(node, list | tuple):
        for place, member in enumerate(node):
            yield from _texts(member, (*path, place))


def _with(node: Any, path: Path, text: str) -> Any:
    """The same with another text at a path; numbers that keep their text cannot be copied and are shared."""
    if not path:
        return text
    step, *rest = path
    if isinstance(node, dict):
        return node | {step: _with(node[step], tuple(rest), text)}
    return [_with(one, tuple(rest), text) if place == step else one for place, one in enumerate(node)]
