"""Moments as FHIR writes instants."""

from __future__ import annotations

import datetime as dt


def instant(seconds: float) -> str:
    """Epoch seconds as an instant, in UTC, with milliseconds."""
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
