"""The smallest worker: it passes three points and says what its clock shows, in hours from ours."""

from __future__ import annotations

import sys
import time

from tests.faults.points import HOUR, from_environment


def main() -> None:
    """Pass them."""
    at, clock = from_environment()
    for point in ("after-claim", "before-ack", "after-claim"):
        at(point)
        sys.stdout.write(f"{point} {round((clock.time() - time.time()) / HOUR)}\n")
        sys.stdout.flush()
    for word in sys.argv[1:]:
        raise RuntimeError(word)
