"""``[audit]``: where the audit trail is, and what guards it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from fhirbridge.config.secret import Secret
from fhirbridge.config.table import Table


class AuditSettings(Table):
    """``[audit]``: the folder of the trail, beside the configuration unless it says otherwise, and a file elsewhere to
    which checkpoints are added.

    ``key`` seals it; without one, a key that is made from the id key does. ``old_keys`` are those that it had before.
    """

    enabled: bool = True
    path: Path = Path("fhirbridge-audit")
    key: Secret | None = None
    old_keys: tuple[Secret, ...] = ()
    checkpoint: Path | None = None
    checkpoint_every: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000
