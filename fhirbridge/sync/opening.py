"""The ledger that belongs to a configuration."""

from __future__ import annotations

import time
from collections.abc import Callable

from fhirbridge.config import Config
from fhirbridge.ledger import Ledger


def open_ledger(config: Config, clock: Callable[[], float] = time.time) -> Ledger:
    """Open the configured ledger, made or upgraded where needed.

    Raises :class:`ConfigError` where a key is missing or cannot be read, :class:`LedgerMismatch` where it is another
    one, :class:`LedgerUnavailable`.
    """
    return Ledger.open(config.ledger_url(), vault=config.vault(), clock=clock)
