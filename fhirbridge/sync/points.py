"""Named points of the way of a delivery, at which tests end, stop or restart a worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

At: TypeAlias = Callable[[str], None]

# Points inside the network (after-connect, mid-request, after-server-commit, mid-reply) belong to whoever stands there.
POINTS: Final = (
    "before-enqueue-commit",
    "after-enqueue-commit",
    "after-claim",
    "after-consent",
    "after-begin",
    "after-token",
    "before-ack",
    "during-ack",
    "after-ack",
    "lease-renewal",
)


def nowhere(point: str) -> None:
    """Does nothing at a named point."""
