"""Retry-After: when a server wants to be asked again. Pure: the present is handed in.

Seconds and the three forms of an HTTP date are read (RFC 9110 §10.2.3). Real servers also send epoch milliseconds
(SMART's bulk data server), years, the past and plain words; none of that stops a site for ever or is passed over in
silence.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from email.utils import parsedate_tz
from typing import Literal, TypeAlias

# Longer than any maintenance window; whoever asks for more is asked once a day.
LONGEST_WAIT = 86_400.0

Notice: TypeAlias = Literal[
    "retry-after-capped", "retry-after-epoch", "retry-after-past", "retry-after-negative", "retry-after-garbage"
]

_SECONDS = re.compile(r"([+-]?)([0-9]+)(?:\.([0-9]+))?")
_DATE = re.compile(
    r"[A-Za-z]{3,9},? (?:[0-9]{1,2}[ -][A-Za-z]{3}[ -][0-9]{2,4} [0-9]{2}:[0-9]{2}:[0-9]{2} (?:GMT|UTC|[+-][0-9]{4})"
    r"|[A-Za-z]{3} [ 0-9]?[0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [0-9]{4})"
)
_MOST_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Patience:
    """``until`` is the first moment to ask again, in epoch seconds; ``None`` where the header says nothing usable.

    ``notice`` names what was odd about it.
    """

    until: float | None = None
    notice: Notice | None = None


def retry_after(header: str | None, now: float) -> Patience:
    """Read a ``Retry-After`` header, as it came, at the moment ``now`` (epoch seconds)."""
    if header is None:
        return Patience()
    text = header.strip()
    number = _SECONDS.fullmatch(text)
    if number is not None:
        return _number(number, now)
    moment = _moment(text)
    if moment is None:
        return Patience(notice="retry-after-garbage")
    return Patience(now, "retry-after-past") if moment < now else _capped(moment, now)


def _number(found: re.Match[str], now: float) -> Patience:
    sign, whole, fraction = found.groups()
    seconds = float(f"{whole}.{fraction or 0}") if len(whole) <= _MOST_DIGITS else float("inf")
    if sign == "-" and seconds > 0:
        return Patience(now, "retry-after-negative")
    if seconds > LONGEST_WAIT:
        # A number that is no wait but a moment of today, in seconds or milliseconds since 1970.
        for moment in (seconds, seconds / 1000):
            if abs(moment - now) <= LONGEST_WAIT:
                return Patience(max(moment, now), "retry-after-epoch")
    return _capped(now + seconds, now)


def _capped(moment: float, now: float) -> Patience:
    latest = now + LONGEST_WAIT
    return Patience(latest, "retry-after-capped") if moment > latest else Patience(moment)


def _moment(text: str) -> float | None:
    parts = parsedate_tz(text) if _DATE.fullmatch(text) else None
    if parts is None:
        return None
    year, month, day, hour, minute, second = parts[:6]
    # A date that does not exist would become another one.
    if not (1 <= month <= 12 and 1 <= day <= calendar.monthrange(max(year, 1), month)[1]):
        return None
    if hour > 23 or minute > 59 or second > 60:
        return None
    return float(calendar.timegm((year, month, day, hour, minute, second, 0, 0, 0)) - (parts[9] or 0))
