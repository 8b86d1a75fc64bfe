"""What kind of clinic to make."""

from __future__ import annotations

import re
import zoneinfo
from dataclasses import dataclass
from typing import Literal

from fhirbridge.errors import UsageError

_DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*(:[0-9]{1,5})?")


@dataclass(frozen=True)
class Options:
    """What the clinic is made from; the same options give the same bytes, always.

    ``patients``: how many. ``seed``: which clinic. ``domain``: owner of the identifier systems (specification §9.1).
    ``consent``: ``mixed`` has refused, withdrawn, superseded and partly denying consents; ``all-permit`` gives each
    patient active permits only. ``corrections``: share of the records (0 to 1) that come again later, corrected, with a
    higher revision (consents and a few other records are never corrected). ``sessions``: at most so many visits per
    patient, missed ones included; ``None`` for whole courses. ``vitals``: ``full`` measures at nine times of a session
    (about 42 records each), ``rems`` only at the three that the REMS form asks for (about 18). ``zone``: time zone of
    the main site; the second one lies in ``SECOND_ZONE``. Raises :class:`UsageError` that lists all that is wrong.
    """

    patients: int
    seed: int = 0
    domain: str = "clinic.example"
    consent: Literal["mixed", "all-permit"] = "mixed"
    corrections: float = 0.02
    sessions: int | None = None
    vitals: Literal["full", "rems"] = "full"
    zone: str = "America/New_York"

    def __post_init__(self) -> None:
        wrong = [
            f"{name}: {wanted}"
            for name, wanted, well in (
                ("patients", "a number from 0 up", self.patients >= 0),
                ("domain", "a host name such as clinic.example", _DOMAIN.fullmatch(self.domain) is not None),
                ("consent", "mixed or all-permit", self.consent in ("mixed", "all-permit")),
                ("corrections", "a share from 0 to 1", 0 <= self.corrections <= 1),
                ("sessions", "a number from 0 up, or none", self.sessions is None or self.sessions >= 0),
                ("vitals", "full or rems", self.vitals in ("full", "rems")),
                ("zone", "a time zone such as America/New_York", _known(self.zone)),
            )
            if not well
        ]
        if wrong:
            raise UsageError("; ".join(wrong), code="usage.synth", hint="correct these options of the synthetic clinic")


def _known(zone: str) -> bool:
    try:
        zoneinfo.ZoneInfo(zone)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return False
    return True
