"""The seeds are taken, and nothing near them breaks a reader. The search itself: ``python -m tests.fuzz``."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.targets import TARGETS, Target

each_target = pytest.mark.parametrize("target", TARGETS, ids=lambda one: one.name)


@each_target
def test_the_seeds_are_what_the_reader_accepts(target: Target) -> None:
    """A search that starts from what is refused at the door would stay outside."""
    seeds = target.seeds()
    assert seeds
    for seed in seeds:
        target.run(seed)


@each_target
def test_what_is_near_the_seeds_breaks_nothing(target: Target) -> None:
    dice = random.Random(target.name)  # noqa: S311 - repeatable on purpose
    seeds = target.seeds()
    for _ in range(60):
        target(mutated(dice.choice(seeds), dice))


def mutated(seed: bytes, dice: random.Random) -> bytes:
    """A few bytes flipped, cut out, doubled or put in."""
    data = bytearray(seed)
    for _ in range(dice.randint(1, 4)):
        at, until = sorted((dice.randrange(len(data) + 1), dice.randrange(len(data) + 1)))
        match dice.randrange(4):
            case 0 if data:
                data[at % len(data)] = dice.randrange(256)
            case 1:
                del data[at : min(until, at + 20)]
            case 2:
                data[at:at] = data[at : at + 20]
            case _:
                data[at:at] = dice.choice([b"null", b"{}", b"[", b'"', b"\\ud800", b"1e999999999", b"\x00", b"\xff"])
    return bytes(data)
