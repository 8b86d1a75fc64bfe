"""Compose bundles of one patient's resources: closed under references, no identity twice, within the site's limits.

Pure. A piece is one resource on its way; pieces come in the order of their lane, revisions of a record after each
other. What a piece refers to goes in the same bundle or in an earlier one, so that a literal reference never leads
nowhere. In a batch, whose entries a server takes in any order, it must be an earlier one.

A bundle that is refused whole is halved by a lower ``most`` of its pieces: they are composed anew, by the same rules.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from fhirbridge.fhir.bundle import Address, BundleType


@dataclass(frozen=True, slots=True)
class Piece:
    """One resource: where it goes, the record revision it is a part of, its bytes, and the addresses it refers to.

    ``together``: it goes in one transaction with what it refers to (an adverse event with its session). ``most``: the
    size of bundle it may be part of, less each time that a bundle with it was refused whole.
    """

    address: Address
    unit: Hashable
    size: int
    needs: frozenset[Address] = frozenset()
    together: bool = False
    most: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Limit:
    """How much fits into one bundle: entries, and bytes of all of them."""

    entries: int
    size: int


def compose(pieces: Sequence[Piece], limit: Limit, kind: BundleType) -> list[list[int]]:
    """Positions of ``pieces``, cut into bundles to be sent one after the other.

    Every position comes once. A piece that is over the limit by itself goes alone, for the server to judge. A circle of
    references is broken at its earliest piece: what it names then comes later, and it is named by identifier.
    """
    needs = _needs(pieces)
    if kind == "batch":
        levels = _levels(pieces, needs)
        return [bundle for level in levels for bundle in _packed(pieces, ([one] for one in level), limit)]
    return list(_packed(pieces, _runs(_groups(pieces, needs), needs), limit))


def _needs(pieces: Sequence[Piece]) -> list[set[int]]:
    """For each piece the positions that must come before it: what it refers to, and the revision before its own."""
    places: dict[Address, list[int]] = {}
    for place, one in enumerate(pieces):
        places.setdefault(one.address, []).append(place)
    needs: list[set[int]] = []
    for place, one in enumerate(pieces):
        # The first revision on its way is enough to be named.
        found = {places[target][0] for target in one.needs if target in places and target != one.address}
        earlier = [other for other in places[one.address] if other < place]
        needs.append(found | set(earlier[-1:]))
    return needs


def _groups(pieces: Sequence[Piece], needs: Sequence[set[int]]) -> list[list[int]]:
    """What should not be parted: the parts of a record, and what goes together with what it names."""
    parent = list(range(len(pieces)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    first: dict[Hashable, int] = {}
    for place, one in enumerate(pieces):
        parent[root(place)] = root(first.setdefault(one.unit, place))
        if one.together:
            for target in needs[place]:
                if pieces[target].address != one.address:
                    parent[root(place)] = root(target)
    members: dict[int, list[int]] = {}
    for place in range(len(pieces)):
        members.setdefault(root(place), []).append(place)
    return list(members.values())


def _runs(groups: list[list[int]], needs: Sequence[set[int]]) -> Iterator[list[int]]:
    """All positions so that each comes after what it needs, and what belongs together side by side where that goes."""
    group_of = {place: number for number, group in enumerate(groups) for place in group}
    rank = [groups[group_of[place]][0] for place in range(len(needs))]
    for _, run in itertools.groupby(_topological(needs, rank), key=group_of.__getitem__):
        yield list(run)


def _topological(needs: Sequence[set[int]], rank: Sequence[int]) -> Iterator[int]:
    """Nodes after what they need, lowest rank first; a circle is broken at its lowest rank."""
    missing = [set(one) for one in needs]
    wanted_by: list[list[int]] = [[] for _ in needs]
    for node, targets in enumerate(needs):
        for target in targets:
            wanted_by[target].append(node)
    free = [(rank[node], node) for node, targets in enumerate(missing) if not targets]
    heapq.heapify(free)
    left = sorted(range(len(needs)), key=lambda node: rank[node], reverse=True)
    done = [False] * len(needs)
    while True:
        while free:
            _, node = heapq.heappop(free)
            if done[node]:
                continue
            done[node] = True
            yield node
            for other in wanted_by[node]:
                missing[other].discard(node)
                if not missing[other] and not done[other]:
                    heapq.heappush(free, (rank[other], other))
        while left and done[left[-1]]:
            left.pop()
        if not left:
            return
        heapq.heappush(free, (rank[left[-1]], left[-1]))


def _levels(pieces: Sequence[Piece], needs: Sequence[set[int]]) -> list[list[int]]:
    """Pieces by the length of the longest way to what needs nothing."""
    depth = [0] * len(pieces)
    order = list(_topological(needs, range(len(pieces))))
    seen: set[int] = set()
    for place in order:
        seen.add(place)
        depth[place] = max((depth[target] + 1 for target in needs[place] & seen if target != place), default=0)
    levels: list[list[int]] = [[] for _ in range(max(depth, default=-1) + 1)]
    for place in range(len(pieces)):
        levels[depth[place]].append(place)
    return levels


def _packed(pieces: Sequence[Piece], groups: Iterable[list[int]], limit: Limit) -> Iterator[list[int]]:
    """Groups one after the other into bundles; a group that fits into none is cut, primaries first."""
    current = _Bundle(limit)
    for group in groups:
        some = [pieces[place] for place in group]
        whole = _Bundle(limit).takes(some)
        if current.places and whole and not current.takes(some):
            yield current.places
            current = _Bundle(limit)
        for place in group:
            if current.places and not current.takes([pieces[place]]):
                yield current.places
                current = _Bundle(limit)
            current.add(place, pieces[place])
    if current.places:
        yield current.places


class _Bundle:
    """Positions that go together, with what they take of the limit."""

    def __init__(self, limit: Limit) -> None:
        self.places: list[int] = []
        self._limit = limit
        self._most = limit.entries
        self._size = 0
        self._addresses: set[Address] = set()

    def takes(self, some: Sequence[Piece]) -> bool:
        addresses = {one.address for one in some}
        return (
            len(self.places) + len(some) <= min(self._most, *(one.most for one in some))
            and self._size + sum(one.size for one in some) <= self._limit.size
            and len(addresses) == len(some)
            and self._addresses.isdisjoint(addresses)
        )

    def add(self, place: int, piece: Piece) -> None:
        self.places.append(place)
        self._most = min(self._most, piece.most)
        self._size += piece.size
        self._addresses.add(piece.address)
