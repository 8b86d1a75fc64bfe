"""Changes to JSON trees: what foreign systems add, and what broken ones do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

Tree = dict[str, Any]


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every node of a tree with its path."""
    yield path, node
    items: Any = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, member in items:
        yield from places(member, (*path, key))


def copied(node: Any) -> Any:
    """A copy that shares no object or array."""
    if isinstance(node, dict):
        return {key: copied(member) for key, member in node.items()}
    if isinstance(node, list):
        return [copied(item) for item in node]
    return node


def at(tree: Any, path: tuple[Any, ...]) -> Any:
    """The node at a path."""
    for key in path:
        tree = tree[key]
    return tree


FOREIGN_EXTENSION = {"url": "https://elsewhere.example/extension", "valueString": "kept"}
FOREIGN_CODING = {"system": "https://elsewhere.example/codes", "code": "X-1", "display": "kept"}


@st.composite
def with_foreign_content(draw: st.DrawFn, tree: Tree) -> Tree:
    """A resource to which another system added what FHIR allows anywhere: extensions, codings, ids, unknown
    elements.
    """
    result: Tree = copied(tree)
    for _ in range(draw(st.integers(1, 4))):
        objects = [path for path, node in places(result) if isinstance(node, dict)]
        path = draw(st.sampled_from(objects))
        node = at(result, path)
        kind = draw(st.sampled_from(["extension", "first extension", "coding", "id", "unknown", "primitive"]))
        if kind == "extension" and "url" not in node:
            node.setdefault("extension", []).append(dict(FOREIGN_EXTENSION))
        elif kind == "first extension" and "url" not in node:
            node.setdefault("extension", []).insert(0, dict(FOREIGN_EXTENSION))
        elif kind == "coding" and "coding" in node:
            node["coding"].append(dict(FOREIGN_CODING))
        elif kind == "id" and path and "id" not in node:
            node["id"] = "e1"
        elif kind == "unknown" and "url" not in node:
            node["unknownElement"] = draw(st.sampled_from([1, "text", {"a": [1, 2]}, [{"b": True}]]))
        elif kind == "primitive":
            names = [name for name, member in node.items() if isinstance(member, str) and not name.startswith("_")]
            if names:
                node["_" + draw(st.sampled_from(sorted(names)))] = {"extension": [dict(FOREIGN_EXTENSION)]}
    return result


JUNK: list[Any] = [None, True, 0, -1, 3.5, "", "x", [], {}, [[]], [None], {"coding": 3}, {"value": []}, "2026-02-30"]


@st.composite
def broken(draw: st.DrawFn, tree: Tree) -> Tree:
    """A resource in which some node was replaced by something that does not belong there, removed, or doubled."""
    result: Tree = copied(tree)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([path for path, _ in places(result) if path]))
        parent = at(result, path[:-1])
        kind = draw(st.sampled_from(["junk", "remove", "double"]))
        if kind == "junk":
            parent[path[-1]] = copied(draw(st.sampled_from(JUNK)))
        elif kind == "remove":
            del parent[path[-1]]
        elif isinstance(parent, list):
            parent.append(copied(parent[path[-1]]))
    return result
