"""The name of one run, which stands on all that it queued."""

from __future__ import annotations

import datetime as dt
import uuid


def new_run(now: float) -> str:
    """An id for one run: when it began (epoch seconds), and something nobody else has."""
    return f"{dt.datetime.fromtimestamp(now, dt.UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}"
