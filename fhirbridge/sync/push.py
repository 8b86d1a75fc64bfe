"""Push: record → parts → bundle → site, and one outcome back for each record.

Planning (:mod:`fhirbridge.sync.plan`) is pure, delivery (:mod:`fhirbridge.sync.delivery`) talks to the site, and
nothing is remembered from one patient to the next, so that a durable state can stand between the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from fhirbridge.errors import Fault, Refused, SiteRefused, SiteUnreachable, SiteUntrusted
from fhirbridge.records import Ref
from fhirbridge.site import Site
from fhirbridge.sources.lines import Line
from fhirbridge.sync.delivery import Delivery, as_fault
from fhirbridge.sync.outcomes import RecordOutcome
from fhirbridge.sync.plan import Planned, by_patient, planned, rounds

# How many lines are looked at together, to bring a patient's records into one bundle. Bounds the memory.
WINDOW = 1_000


def push(lines: Iterable[Line], site: Site) -> Iterator[RecordOutcome]:
    """Deliver records and yield the outcome of each as soon as it is known, in no particular order.

    A refused line or record never holds up another. Raises :class:`ConfigError` before anything is sent, and
    :class:`SiteUnreachable` when the site cannot be reached any more, after an outcome for every line that was read.
    """
    site.check_writable()
    waiting = iter(lines)
    while window := list(islice(waiting, WINDOW)):
        yield from _push_window(window, site)


def _push_window(window: Iterable[Line], site: Site) -> Iterator[RecordOutcome]:
    ready: list[Planned] = []
    for line in window:
        found = _plan(line, site)
        if isinstance(found, Planned):
            ready.append(found)
        else:
            yield found
    left = {id(one): one for one in ready}
    try:
        for patient, records in by_patient(ready):
            for one, outcome in _push_patient(patient, records, site):
                del left[id(one)]
                yield outcome
    except SiteUnreachable as error:
        for one in left.values():
            yield _set_aside(one, as_fault(error))
        raise


def _plan(line: Line, site: Site) -> Planned | RecordOutcome:
    if line.record is None:
        return RecordOutcome(line, "refused", faults=line.faults)
    try:
        return planned(line, line.record, site.mappings)
    except Refused as error:
        return RecordOutcome(line, "refused", faults=error.faults)


def _push_patient(patient: Ref, records: list[Planned], site: Site) -> Iterator[tuple[Planned, RecordOutcome]]:
    try:
        chart = site.patients.find(patient)
    except (SiteRefused, SiteUntrusted) as error:
        yield from ((one, _set_aside(one, as_fault(error))) for one in records)
        return
    if isinstance(chart, Fault):
        yield from ((one, RecordOutcome(one.line, "refused", faults=(chart,), dropped=one.dropped)) for one in records)
        return
    turns, duplicates = rounds(records)
    for turn in turns:
        yield from Delivery(site, patient, chart, turn).run()
    for one, fault in duplicates:
        if fault is None:
            yield one, RecordOutcome(one.line, "unchanged", dropped=one.dropped)
        else:
            yield one, RecordOutcome(one.line, "refused", faults=(fault,), dropped=one.dropped)


def _set_aside(one: Planned, fault: Fault) -> RecordOutcome:
    return RecordOutcome(one.line, "failed", faults=(fault,), dropped=one.dropped)
