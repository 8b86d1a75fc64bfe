"""How many deliveries each lane has: proven, so that one that was deleted is missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from fhirbridge.ledger import moves
from fhirbridge.ledger.schema import lane
from fhirbridge.ledger.seals import TALLY, tampered
from fhirbridge.vault import Vault

_COUNTED = select(*TALLY.columns()).where(lane.c.id.in_(bindparam("lanes", expanding=True)))
_COUNT = update(lane).where(lane.c.id == bindparam("it")).values(deliveries=bindparam("count"), seal=bindparam("proof"))


def add(connection: Connection, vault: Vault, more: Mapping[int, int]) -> None:
    """Count deliveries that were just made, by number of the lane; the lanes are locked.

    Raises :class:`LedgerError` (``ledger.tampered``) where the count so far is not ours.
    """
    rows = []
    for chunk in moves.chunks(sorted(more)):
        for values in connection.execute(_COUNTED, {"lanes": chunk}):
            check(vault, values)
            number, site, key, count, _ = values
            count += more[number]
            rows.append({"it": number, "count": count, "proof": TALLY.mark(vault, number, site, key, count)})
    moves.many(connection, _COUNT, rows)


def check(vault: Vault, values: Sequence[Any]) -> None:
    """Raises :class:`LedgerError` unless the count of a row of ``TALLY.columns()`` is ours."""
    number, _, _, count, seal = values
    if seal is None:
        if count:
            raise tampered(lane, number)
        return
    TALLY.check(vault, values)
