"""What costs little to send and much to take is refused, each for its reason, and all of it in 64 MiB.

``python -m tests.hostile.bombs`` measures the time as well, each in a process of its own.
"""

from __future__ import annotations

from tests.hostile.bombs import BOMBS, MOST_BYTES, costs


def test_every_bomb_is_refused_in_64_mib() -> None:
    found = costs(list(BOMBS))
    assert [one.name for one in found] == list(BOMBS)
    assert [one for one in found if one.code not in BOMBS[one.name].codes] == []
    assert max(one.grown for one in found) <= MOST_BYTES
