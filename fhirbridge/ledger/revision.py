"""The order of a record's revisions as text, so that a database can keep it."""

from __future__ import annotations

import datetime as dt

from fhirbridge.errors import LedgerError
from fhirbridge.records import Instant

_BEGINNING = dt.datetime(1, 1, 1, tzinfo=dt.UTC)
# An instant early in year 1 can lie before it in universal time.
_MARGIN = dt.timedelta(days=1)
_MICROSECOND = dt.timedelta(microseconds=1)


def rank(revision: int | str) -> str:
    """Text that sorts as revisions do: numbers by value, instants by moment, a number before every instant.

    ``revision`` is a number from 0 or a FHIR instant. Raises :class:`LedgerError` (``ledger.revision``) for anything
    else.
    """
    if isinstance(revision, int):
        digits = str(revision)
        if revision < 0 or len(digits) > 99:
            raise _unordered()
        return f"0{len(digits):02d}{digits}"
    try:
        moment = Instant(revision).as_datetime()
    except ValueError:
        raise _unordered() from None
    return f"1{(moment - _BEGINNING + _MARGIN) // _MICROSECOND:020d}"


def _unordered() -> LedgerError:
    return LedgerError(
        "a revision that has no place in an order", code="ledger.revision", hint="a number from 0, or a FHIR instant"
    )
