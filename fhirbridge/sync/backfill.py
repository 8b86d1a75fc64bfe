"""Where a site's backfill begins: records from before it are left aside, unless the site has heard of them already.

A record that was delivered once is corrected and retracted however old it is.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

from fhirbridge.ledger import Ledger
from fhirbridge.records import Record
from fhirbridge.site import Site
from fhirbridge.sources.lines import Line
from fhirbridge.sync.enqueue import moment_of

_WINDOW = 1_000


def begins_before(record: Record, start: dt.date) -> bool:
    """Whether a record's matter took place before the day ``start``, by the record's own clock.

    What says no time does not; nor does a month or a year in which ``start`` lies.
    """
    day = str(moment_of(record) or start)[:10]
    return day < start.isoformat()[: len(day)]


class Backfill:
    """The start date of one site."""

    def __init__(self, site: Site, ledger: Ledger) -> None:
        self._site, self._start, self._ledger = site.name, site.settings.start, ledger

    def apart(self, window: Sequence[Line]) -> tuple[list[Line], list[Line]]:
        """The lines of records that are not to be queued, and the others. Raises :class:`LedgerError`."""
        old = self._early(line.record for line in window if line.record is not None)
        early: list[Line] = []
        others: list[Line] = []
        for line in window:
            record = line.record
            (early if record is not None and (record.kind, record.id) in old else others).append(line)
        return early, others

    def _early(self, records: Iterable[Record]) -> frozenset[tuple[str, str]]:
        """Which of these records, as (kind, id), are not to be queued."""
        start = self._start
        if start is None:
            return frozenset()
        old = frozenset((one.kind, one.id) for one in records if begins_before(one, start))
        return old.difference((row.kind, row.record) for row in self._ledger.known(self._site, old)) if old else old
