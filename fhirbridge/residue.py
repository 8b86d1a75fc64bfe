"""Residue: what a resource says beyond its record, by path.

``difference(source, written)`` compares a resource as it came with what the mapping writes for its record, and lists
what would have to be done to ``written`` to get ``source`` back. ``lay`` does it. A residue is kept beside the record;
when the record has been edited meanwhile, an entry that belonged to something that changed is dropped and reported,
never laid over the new content: a foreign code beside an old value must not survive beside a new one.

Operations, in the order in which they are applied:

- ``absent``  the mapping writes this, the source has not got it
- ``order``   the source has these items in another order (``value``: for each item the written position it had)
- ``insert``  the source has this further item at this position
- ``add``     the source has this further member
- ``set``     the source has another value for this member
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from fhirbridge.errors import Refused
from fhirbridge.fhir.json import Json, Tree, canonical

Operation: TypeAlias = Literal["absent", "order", "insert", "add", "set"]
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STEP = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)|\[([0-9]+)\]")
# The members that say what a node is about; a residue beside them holds only while they stay as they were.
_IDENTITY = ("url", "system", "code", "coding", "identifier", "type", "actor", "role", "function", "reference")
_IDENTIFYING = frozenset(_IDENTITY)
_ABSENT: Any = object()


@dataclass(frozen=True, slots=True)
class Entry:
    """One operation. ``guard`` is a digest of what the mapping wrote in its place or around it; ``element`` is the path
    without positions, extensions by their URL, and is used only while reading."""

    op: Operation
    path: str
    value: Json = None
    guard: str = ""
    element: str = ""

    def as_json(self) -> Tree:
        """The entry as it stands beside the record in NDJSON."""
        tree: Tree = {"op": self.op, "path": self.path}
        if self.op != "absent":
            tree["value"] = self.value
        if self.guard:
            tree["guard"] = self.guard
        return tree

    @classmethod
    def from_json(cls, tree: Json) -> Entry:
        """Read an entry back. Raises :class:`Refused` if it is none."""
        if not isinstance(tree, dict) or tree.get("op") not in get_args(Operation):
            raise Refused.at("residue.entry", "op", "a residue entry has an operation", ", ".join(get_args(Operation)))
        if not isinstance(tree.get("path"), str) or not isinstance(tree.get("guard", ""), str):
            raise Refused.at("residue.entry", "path", "a residue entry has a path")
        if tree["op"] != "absent" and "value" not in tree:
            raise Refused.at("residue.entry", "value", "a residue entry has a value")
        return cls(tree["op"], tree["path"], tree.get("value"), tree.get("guard", ""))


def difference(source: Tree, written: Tree) -> tuple[Entry, ...]:
    """What must be done to ``written`` to get ``source``. Raises :class:`Refused` for a member no FHIR element can
    have.
    """
    return tuple(_object(source, written, "", ""))


def leaves(value: Json, element: str) -> Iterator[str]:
    """The element paths of the leaves of ``value``, which stands at ``element``."""
    if isinstance(value, dict) and value:
        for name, member in value.items():
            yield from leaves(member, _element(element, name))
    elif isinstance(value, list) and value:
        for item in value:
            yield from leaves(item, _item_element(element, item))
    else:
        yield element


def _digest(node: Json) -> str:
    return hashlib.blake2s(canonical(node), digest_size=6).hexdigest()


def _guard(node: Tree) -> str:
    about = {name: node[name] for name in _IDENTITY if name in node}
    return _digest(about) if about else ""


def _element(parent: str, name: str) -> str:
    return f"{parent}.{name}" if parent else name


def _item_element(element: str, item: Json) -> str:
    if element.endswith(("extension", "modifierExtension")) and isinstance(item, dict):
        return f"{element}({item.get('url')})"
    return element


def _object(source: Tree, written: Tree, path: str, element: str) -> Iterator[Entry]:
    # What is added comes first: its guard digests members that a later "absent" or "set" may change.
    for name, node in source.items():
        if isinstance(node, list | dict) and not node:
            raise Refused.at("resource.empty", _join(path, name), "FHIR has neither empty objects nor empty arrays")
        if name not in written:
            guard = _guard(written) if path else ""
            here, there = _join(path, name), _element(element, name)
            if isinstance(node, list) and node:
                yield from _list(node, [], here, there)
            else:
                yield Entry("add", here, node, guard, there)
    for name, mine in written.items():
        if name not in source:
            yield from _missing(mine, _join(path, name), _element(element, name))
            continue
        node = source[name]
        # 1 == True in Python, but what a mapping writes as a number it has read as a number.
        if mine == node:
            continue
        here, there = _join(path, name), _element(element, name)
        if isinstance(mine, dict) and isinstance(node, dict):
            yield from _object(node, mine, here, there)
        elif isinstance(mine, list) and isinstance(node, list):
            yield from _list(node, mine, here, there)
        elif not _same_leaf(node, mine):
            yield Entry("set", here, node, _digest(mine), there)


def _missing(mine: Json, path: str, element: str) -> Iterator[Entry]:
    """Entries for a written member that the source has not got: item by item, so that a later edit keeps its own
    items.
    """
    if isinstance(mine, list):
        yield from _list([], mine, path, element)
    elif isinstance(mine, dict) and not _IDENTIFYING & mine.keys():
        for name, member in mine.items():
            yield from _missing(member, _join(path, name), _element(element, name))
    else:
        yield Entry("absent", path, None, _digest(mine), element)


def _same_leaf(one: Json, other: Json) -> bool:
    # 1 == True in Python, and a number is never equal to its text.
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def _join(path: str, name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise Refused.at("resource.member", path, "a member's name is no FHIR element name")
    return f"{path}.{name}" if path else name


def _list(source: list[Json], written: list[Json], path: str, element: str) -> Iterator[Entry]:
    pairs = _match(source, written)
    guard = _digest(written) if path.endswith("coding") else ""
    for position in reversed(range(len(written))):
        if position not in pairs:
            item = written[position]
            yield Entry("absent", f"{path}[{position}]", None, _digest(item), _item_element(element, item))
    kept = [position for position in range(len(written)) if position in pairs]
    wanted = sorted(kept, key=lambda position: pairs[position])
    if wanted != kept:
        ranks = [kept.index(position) for position in wanted]
        yield Entry("order", path, ranks, _digest([_kernel(written[position]) for position in kept]), element)
    taken = set(pairs.values())
    for position, item in enumerate(source):
        if position not in taken:
            yield Entry("insert", f"{path}[{position}]", item, guard, _item_element(element, item))
    for mine, theirs in pairs.items():
        node, other = source[theirs], written[mine]
        if isinstance(node, dict) and isinstance(other, dict) and node != other:
            yield from _object(node, other, f"{path}[{theirs}]", _item_element(element, node))


def _kernel(item: Json) -> Json:
    return {name: item[name] for name in _IDENTITY if name in item} if isinstance(item, dict) else item


def _match(source: list[Json], written: list[Json]) -> dict[int, int]:
    """Written position → source position: equal items first, then items about the same thing, then those left over."""
    pairs: dict[int, int] = {}
    free = list(range(len(source)))

    def pair(fits: Any) -> None:
        for mine, item in enumerate(written):
            if mine not in pairs:
                found = next((theirs for theirs in free if fits(item, source[theirs])), None)
                if found is not None:
                    pairs[mine] = found
                    free.remove(found)

    pair(lambda item, other: item == other)
    pair(lambda item, other: _key(item) is not None and _key(item) == _key(other))
    pair(lambda item, other: isinstance(item, dict) and isinstance(other, dict) and _key(item) is _key(other) is None)
    return pairs


def _key(item: Json) -> Json:
    """What an item of a list is about, as far as one can tell; ``None`` if one cannot."""
    if not isinstance(item, dict):
        return item
    for kind, names in _KEYS.items():
        # A null, which is no FHIR, names nothing: its item is the one that was written without it.
        if item.get(names[-1]) is not None:
            return (kind, *(_name_of(item.get(name)) for name in names))
    return None


def _name_of(node: Json) -> Json:
    """A node as a key: a concept by its first code, a reference by what it names, another object by its digest."""
    if isinstance(node, dict):
        # A server adds the literal address to a reference that had an identifier alone: still the same target.
        node = next((node[name] for name in ("coding", "identifier", "reference", "display") if name in node), node)
    if isinstance(node, dict) and isinstance(node.get("value"), str):
        return (node.get("system"), node["value"])
    if isinstance(node, list) and node and isinstance(node[0], dict):
        return (node[0].get("system"), node[0].get("code"))
    return _digest(node) if isinstance(node, dict | list) else node


# In this order, for an extension may hold a code and a Coding may have a value.
_KEYS: dict[str, tuple[str, ...]] = {
    "extension": ("url",),
    "concept": ("coding",),
    "coding": ("system", "code"),
    "identifier": ("system", "value"),
    "actor": ("actor",),
    "reference": ("identifier",),
    "literal": ("reference",),
}


def lay(residue: Iterable[Entry], written: Tree) -> tuple[Tree, tuple[str, ...]]:
    """Apply a residue to what a mapping wrote: the full resource, and the paths of the entries that an edit displaced.

    ``written`` itself is not changed.
    """
    layer = _Layer(copied(written))
    dropped = tuple(entry.path for entry in residue if not layer.apply(entry))
    return layer.tree, dropped


def copied(node: Json) -> Json:
    """A copy of a tree that shares no object or array with it."""
    if isinstance(node, dict):
        return {name: copied(member) for name, member in node.items()}
    if isinstance(node, list):
        return [copied(item) for item in node]
    return node


def _steps(path: str) -> list[str | int]:
    return [int(match[2]) if match[2] else match[1] for match in _STEP.finditer(path)]


def path_of(steps: Iterable[str | int]) -> str:
    """Steps as a path: ``component[1].code``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)[1:]


class _Layer:
    """A tree under construction, with the digests that its code lists had before the first operation touched them."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._pristine: dict[str, str] = {}

    def apply(self, entry: Entry) -> bool:
        """Carry out one entry; false if what it belonged to is no longer there."""
        steps = _steps(entry.path)
        if not steps:
            return False
        if entry.op == "order":
            return _reorder(self._find(steps), entry)
        if entry.op == "insert":
            return self._insert(steps, entry)
        if entry.op == "absent":
            return self._remove(steps, entry.guard)
        parent, last = self._make(steps[:-1]), steps[-1]
        if not isinstance(parent, dict) or not isinstance(last, str):
            return False
        if entry.op == "add":
            fits = last not in parent and (not entry.guard or _guard(parent) == entry.guard)
        else:
            fits = last in parent and _digest(parent[last]) == entry.guard
        if fits:
            parent[last] = copied(entry.value)
        return fits

    def _find(self, steps: Sequence[str | int]) -> Json:
        node: Json = self.tree
        for step in steps:
            if isinstance(step, int):
                if not isinstance(node, list) or step >= len(node):
                    return _ABSENT
            elif not isinstance(node, dict) or step not in node:
                return _ABSENT
            node = node[step]
        return node

    def _make(self, steps: Sequence[str | int]) -> Json:
        """The node at ``steps``; an object that a removal emptied is made anew."""
        node = self._find(steps)
        if node is _ABSENT and steps and isinstance(steps[-1], str):
            parent = self._make(steps[:-1])
            if isinstance(parent, dict):
                node = parent[steps[-1]] = {}
        return node

    def _insert(self, steps: list[str | int], entry: Entry) -> bool:
        position, name = steps[-1], steps[-2] if len(steps) > 1 else None
        parent = self._make(steps[:-2])
        if not isinstance(position, int) or not isinstance(name, str) or not isinstance(parent, dict):
            return False
        items = parent.get(name, [])
        unchanged = not entry.guard or self._pristine.setdefault(path_of(steps[:-1]), _digest(items)) == entry.guard
        if not isinstance(items, list) or not unchanged:
            return False
        parent[name] = items
        items.insert(min(position, len(items)), copied(entry.value))
        return True

    def _remove(self, steps: list[str | int], guard: str) -> bool:
        parent, last = self._find(steps[:-1]), steps[-1]
        if isinstance(parent, dict) and isinstance(last, str):
            if last not in parent or _digest(parent[last]) != guard:
                return False
            del parent[last]
        elif isinstance(parent, list) and isinstance(last, int):
            found = [at for at, item in enumerate(parent) if _digest(item) == guard]
            if not found:
                return False
            self._pristine.setdefault(path_of(steps[:-1]), _digest(parent))
            del parent[min(found, key=lambda at: abs(at - last))]
        else:
            return False
        self._forget_if_empty(steps[:-1])
        return True

    def _forget_if_empty(self, steps: Sequence[str | int]) -> None:
        # FHIR has neither empty objects nor empty arrays; what a removal emptied goes with it.
        if steps and not self._find(steps):
            del self._find(steps[:-1])[steps[-1]]
            self._forget_if_empty(steps[:-1])


def _reorder(items: Json, entry: Entry) -> bool:
    if not isinstance(items, list) or not isinstance(entry.value, list):
        return False
    if sorted(entry.value) != list(range(len(items))) or _digest([_kernel(item) for item in items]) != entry.guard:
        return False
    items[:] = [items[rank] for rank in entry.value]
    return True
