"""Bundles fit the server: references closed, no identity twice, within its limits, and nothing is left out."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.fhir.bundle import Address, BundleType
from fhirbridge.sync.batch import Limit, Piece, compose

LIMITS = (25, 160, 500, 4_500)
TYPES = ("Consent", "Procedure", "MedicationAdministration", "Observation", "AdverseEvent")


def graph(chance: random.Random, size: int, *, circles: bool = False) -> list[Piece]:
    """Records of one patient with several parts and revisions, which refer to each other at random."""
    pieces: list[Piece] = []
    records: dict[str, list[Address]] = {}
    while len(pieces) < size:
        again = chance.random() < 0.15 and records
        record = chance.choice(list(records)) if again else f"r{len(records)}"
        if record not in records:
            several = chance.choice((1, 1, 1, 2, 5))
            records[record] = [Address(chance.choice(TYPES), f"{record}-{part}") for part in range(several)]
        others = [address for name, addresses in records.items() if name != record for address in addresses]
        unit = (record, len(pieces))
        for address in records[record]:
            wanted = chance.sample(others, min(len(others), chance.choice((0, 1, 1, 2))))
            if not circles:
                wanted = [one for one in wanted if _number(one) < _number(address)]
            together = address.type == "AdverseEvent"
            pieces.append(Piece(address, unit, chance.randint(100, 4_000), frozenset(wanted), together))
    return pieces


def _number(address: Address) -> int:
    return int(address.id[1:].partition("-")[0])


def check(pieces: list[Piece], bundles: list[list[int]], limit: Limit, kind: BundleType, *, closed: bool) -> None:
    assert sorted(place for bundle in bundles for place in bundle) == list(range(len(pieces)))
    bundle_of = {place: number for number, bundle in enumerate(bundles) for place in bundle}
    first: dict[Address, int] = {}
    last: dict[Address, int] = {}
    for place, piece in enumerate(pieces):
        first[piece.address] = min(first.get(piece.address, len(bundles)), bundle_of[place])
        # A later revision is never sent beside or before an earlier one.
        assert last.get(piece.address, -1) < bundle_of[place]
        last[piece.address] = bundle_of[place]
    for bundle in bundles:
        assert len({pieces[place].address for place in bundle}) == len(bundle)
        assert len(bundle) <= limit.entries
        assert len(bundle) == 1 or sum(pieces[place].size for place in bundle) <= limit.size
    if closed:
        for place, piece in enumerate(pieces):
            for target in piece.needs & first.keys():
                assert first[target] + (kind == "batch") <= bundle_of[place]


@pytest.mark.parametrize("entries", LIMITS)
def test_random_graphs_are_cut_into_bundles_that_a_server_can_take(entries: int) -> None:
    """1,000 graphs over the four limits, as transactions and as batches, some with a tight limit of bytes."""
    chance = random.Random(entries)  # noqa: S311 - repeatable
    for number in range(250):
        pieces = graph(chance, chance.choice((1, 5, 30, 60 if number % 25 else 700)))
        limit = Limit(entries, chance.choice((5_000, 50_000, 10_000_000)))
        kind: BundleType = chance.choice(("transaction", "batch"))
        check(pieces, compose(pieces, limit, kind), limit, kind, closed=True)


@given(st.integers(), st.integers(1, 60), st.integers(1, 12), st.sampled_from(["transaction", "batch"]))
def test_circles_of_references_neither_hang_nor_lose_anything(
    seed: int, size: int, entries: int, kind: BundleType
) -> None:
    pieces = graph(random.Random(seed), size, circles=True)  # noqa: S311 - repeatable
    limit = Limit(entries, 20_000)
    check(pieces, compose(pieces, limit, kind), limit, kind, closed=False)


@given(st.integers(0, 400), st.integers(2, 120))
def test_an_adverse_event_goes_in_one_transaction_with_the_session_it_names(others: int, entries: int) -> None:
    """However many vital signs of that session stand between the two."""
    session, event = Address("Procedure", "s"), Address("AdverseEvent", "e")
    pieces = [Piece(session, "s", 100)]
    pieces += [Piece(Address("Observation", f"o{n}"), n, 100, frozenset({session})) for n in range(others)]
    pieces.append(Piece(event, "e", 100, frozenset({session}), together=True))
    bundles = compose(pieces, Limit(entries, 10**9), "transaction")
    addresses = [[pieces[place].address for place in bundle] for bundle in bundles]
    assert sum(session in one and event in one for one in addresses) == 1


@given(st.integers(), st.integers(2, 80), st.sampled_from(["transaction", "batch"]))
def test_halving_isolates_what_a_server_refuses_and_lets_the_rest_through(
    seed: int, size: int, kind: BundleType
) -> None:
    """However a refused bundle is halved, it stays closed, and each bad resource ends alone after a few rounds."""
    chance = random.Random(seed)  # noqa: S311 - repeatable
    waiting = graph(chance, size)
    bad = set(chance.sample(sorted({str(one.address) for one in waiting}), 1))
    limit = Limit(4_500, 10**9)
    for _ in range(40):
        bundles = compose(waiting, limit, kind)
        check(waiting, bundles, limit, kind, closed=True)
        left = []
        for bundle in bundles:
            some = [waiting[place] for place in bundle]
            assert len(some) <= min(one.most for one in some)
            if any(str(one.address) in bad for one in some) and len(some) > 1:
                left += [replace(one, most=len(some) // 2) for one in some]
        if not left:
            return
        waiting = left
    pytest.fail("halving does not end")
