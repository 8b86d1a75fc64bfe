"""Tries of segments: byte layouts with slots, and the walk that finds one in a body."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Generic, TypeVar

_NUMBER = re.compile(rb"-?[0-9][0-9.eE+-]*")

End = TypeVar("End")


class Node(Generic[End]):
    """A segment, and what follows it: one of several segments by its first byte, else a slot, else the end.

    A node's segment never changes: another thread may be walking here while a layout is added.
    """

    __slots__ = ("after_slot", "end", "forks", "length", "quoted", "segment")

    def __init__(self, segment: bytes = b"") -> None:
        self.segment, self.length = segment, len(segment)
        self.quoted = segment.endswith(b'"')
        self.forks: dict[int, Node[End]] | None = None
        self.after_slot: Node[End] | None = None
        self.end: End | None = None

    def walk(self, body: bytes, position: int, found: list[bytes]) -> tuple[End, int] | None:
        """From a position to the end of a layout: that end, and the position after it.

        The values in the slots are added to ``found``, also where the walk ends in nothing. A slot is passed by where a
        longer segment begins like its value; such a body is read in another way.
        """
        node: Node[End] | None = self
        startswith, find = body.startswith, body.find
        while node is not None and startswith(node.segment, position):
            position += node.length
            if node.forks is not None:
                following = node.forks.get(body[position]) if position < len(body) else None
                if following is not None:
                    node = following
                    continue
            if node.after_slot is None:
                return None if node.end is None else (node.end, position)
            if node.quoted:
                end = find(b'"', position)
            else:
                number = _NUMBER.match(body, position)
                end = number.end() if number else -1
            if end < 0:
                return None
            found.append(body[position:end])
            position = end
            node = node.after_slot
        return None


def grown(root: Node[End] | None, segments: Sequence[bytes], end: End) -> tuple[Node[End], End]:
    """A root with one more layout, given as the segments around its slots.

    Gives back the end of that layout: the one that is known already, or ``end``.
    """
    root, node = _reached(root, segments[0])
    for segment in segments[1:]:
        node.after_slot, node = _reached(node.after_slot, segment)
    if node.end is None:
        node.end = end
    return root, node.end


def _reached(root: Node[End] | None, segment: bytes) -> tuple[Node[End], Node[End]]:
    """The root, or what takes its place, and the node at the end of ``segment``, which begins where the root does."""
    if root is None:
        made: Node[End] = Node(segment)
        return made, made
    shared = _shared(root.segment, segment)
    if shared < root.length:
        root = _parted(root, shared)
    rest = segment[shared:]
    if not rest:
        return root, root
    forks = root.forks or {}
    forks[rest[0]], node = _reached(forks.get(rest[0]), rest)
    root.forks = forks
    return root, node


def _parted(node: Node[End], length: int) -> Node[End]:
    """Two nodes for one: the first ``length`` bytes of its segment, and below that the others."""
    first: Node[End] = Node(node.segment[:length])
    rest: Node[End] = Node(node.segment[length:])
    rest.forks, rest.after_slot, rest.end = node.forks, node.after_slot, node.end
    first.forks = {rest.segment[0]: rest}
    return first


def _shared(one: bytes, other: bytes) -> int:
    """How many bytes two segments share at their beginning."""
    for index, pair in enumerate(zip(one, other, strict=False)):
        if pair[0] != pair[1]:
            return index
    return min(len(one), len(other))
