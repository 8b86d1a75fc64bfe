"""Tries of segments: byte layouts with slots, and the walk that finds one in a body.

What is here is the plain way; :mod:`fhirbridge.layout.leaf` has a compiled one of the same shape.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self

_NUMBER = re.compile(rb"-?[0-9][0-9.eE+-]*")


class Node(Protocol):
    """A segment, and what follows it: one of several segments by its first byte, else a slot, else the end.

    A node's segment never changes: another thread may be walking here while a layout is added.
    """

    after_slot: Self | None
    end: Any

    @property
    def segment(self) -> bytes: ...

    def fork(self, byte: int) -> Self | None:
        """What follows where the next byte is this one."""

    def put_fork(self, byte: int, node: Self, /) -> None:
        """Let ``node`` follow where the next byte is this one."""

    def follow(self, other: Self, /) -> None:
        """Let follow here, where nothing follows yet, what follows another node."""


class PlainNode:
    """A node in Python."""

    __slots__ = ("_forks", "_length", "_quoted", "after_slot", "end", "segment")

    def __init__(self, segment: bytes) -> None:
        self.segment, self._length = segment, len(segment)
        self._quoted = segment.endswith(b'"')
        self._forks: dict[int, PlainNode] = {}
        self.after_slot: PlainNode | None = None
        self.end: Any = None

    def fork(self, byte: int) -> PlainNode | None:
        return self._forks.get(byte)

    def put_fork(self, byte: int, node: PlainNode, /) -> None:
        self._forks[byte] = node

    def follow(self, other: PlainNode, /) -> None:
        self._forks, self.after_slot, self.end = other._forks.copy(), other.after_slot, other.end

    def walk(self, body: bytes, position: int, found: list[bytes]) -> tuple[Any, int] | None:
        """From a position to the end of a layout: that end, and the position after it.

        The values in the slots are added to ``found``, also where the walk ends in nothing. A slot is passed by where a
        longer segment begins like its value; such a body is read in another way.
        """
        node: PlainNode | None = self
        startswith, find = body.startswith, body.find
        while node is not None and startswith(node.segment, position):
            position += node._length
            if node._forks:
                following = node._forks.get(body[position]) if position < len(body) else None
                if following is not None:
                    node = following
                    continue
            if node.after_slot is None:
                return None if node.end is None else (node.end, position)
            if node._quoted:
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


def grown(make: Callable[[bytes], Node], root: Node | None, segments: Sequence[bytes], end: Any) -> tuple[Node, Any]:
    """A root with one more layout, given as the segments around its slots; ``make`` makes nodes.

    Gives back the end of that layout: the one that is known already, or ``end``.
    """
    root, node = _reached(make, root, segments[0])
    for segment in segments[1:]:
        node.after_slot, node = _reached(make, node.after_slot, segment)
    if node.end is None:
        node.end = end
    return root, node.end


def _reached(make: Callable[[bytes], Node], root: Node | None, segment: bytes) -> tuple[Node, Node]:
    """The root, or what takes its place, and the node at the end of ``segment``, which begins where the root does."""
    if root is None:
        made = make(segment)
        return made, made
    shared = _shared(root.segment, segment)
    if shared < len(root.segment):
        root = _parted(make, root, shared)
    rest = segment[shared:]
    if not rest:
        return root, root
    following, node = _reached(make, root.fork(rest[0]), rest)
    root.put_fork(rest[0], following)
    return root, node


def _parted(make: Callable[[bytes], Node], node: Node, length: int) -> Node:
    """Two nodes for one: the first ``length`` bytes of its segment, and below that the others."""
    first, rest = make(node.segment[:length]), make(node.segment[length:])
    rest.follow(node)
    first.put_fork(rest.segment[0], rest)
    return first


def _shared(one: bytes, other: bytes) -> int:
    """How many bytes two segments share at their beginning."""
    least, most = 0, min(len(one), len(other))
    while least < most:
        middle = (least + most + 1) // 2
        if one[least:middle] == other[least:middle]:
            least = middle
        else:
            most = middle - 1
    return least
