"""Take back everything that one run sent: each resource is retracted as its type allows (specification §9.3)."""

from __future__ import annotations

from collections.abc import Iterator

from fhirbridge.ledger import Action, Decision, Known, Ledger, Row, Where
from fhirbridge.sync.enqueue import withdrawal
from fhirbridge.sync.plan import revision_of

_PAGE = 1_000


def sent_by(ledger: Ledger, site: str, run: str) -> list[Row]:
    """The deliveries of a run that may have to be taken back: one of each resource."""
    found: dict[int, Row] = {}
    for row in _rows(ledger, Where(site=site, run=run)):
        if row.action is Action.PUT:
            found[row.resource] = row
    return list(found.values())


def withdraw(ledger: Ledger, site: str, run: str, by: str) -> int:
    """Queue the retraction of all that ``run`` sent, under the run id ``by``; how many were queued."""
    rows = sent_by(ledger, site, run)
    resources = {row.resource for row in rows}
    known = _known(ledger, site, rows)
    # The newest body says how the resource is found where the site gave the id.
    bodies = ledger.bodies([one.newest for one in known if one.newest is not None])
    items = [
        withdrawal(one, revision_of(one.revision), body=bodies.get(one.newest or 0))
        for one in known
        if one.resource in resources and not one.withdrawn
    ]
    answers = ledger.enqueue(items, site=site, run=by)
    return sum(answer.decision is Decision.QUEUED for answer in answers)


def _known(ledger: Ledger, site: str, rows: list[Row]) -> list[Known]:
    records = list({(row.kind, row.record) for row in rows})
    return [
        one for start in range(0, len(records), _PAGE) for one in ledger.known(site, records[start : start + _PAGE])
    ]


def _rows(ledger: Ledger, where: Where) -> Iterator[Row]:
    after = 0
    while page := ledger.find(where, after=after, limit=_PAGE):
        yield from page
        after = page[-1].id
