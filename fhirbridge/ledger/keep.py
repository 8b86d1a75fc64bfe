"""What is kept by name beside the deliveries: proofs and limits of a site, marks of a source, the key's check value."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from sqlalchemy import Connection, bindparam, delete, select
from sqlalchemy.exc import DBAPIError

from fhirbridge.errors import LedgerMismatch
from fhirbridge.ledger.schema import kept, meta
from fhirbridge.ledger.store import upsert
from fhirbridge.ledger.words import Kept

_KEY_CHECK = "key_check"
_VALUE = select(kept.c.value, kept.c.at).where(kept.c.scope == bindparam("scope"), kept.c.name == bindparam("name"))


def key_check(id_key: bytes) -> str:
    """The check value of an id key: it proves which key it is and tells nothing about it."""
    return hmac.new(id_key, b"fhirbridge ledger key check", hashlib.sha256).hexdigest()[:32]


def check_key(connection: Connection, check: str, *, keep: bool) -> None:
    """Raises :class:`LedgerMismatch` where the ledger is another key's. With ``keep`` a new one becomes this key's."""
    if keep:
        # Two that open a new ledger at once both come here; the first one's key counts.
        connection.execute(upsert(connection, meta).on_conflict_do_nothing(), {"name": _KEY_CHECK, "value": check})
    try:
        found = connection.execute(select(meta.c.value).where(meta.c.name == _KEY_CHECK)).scalar()
    except DBAPIError as error:
        if "fhirbridge_meta" not in str(error.orig):
            raise
        raise LedgerMismatch(
            "there is no ledger in this database",
            code="ledger.foreign",
            hint="the connection must be to the database of the ledger's url",
        ) from None
    if found is None or not hmac.compare_digest(found, check):
        raise LedgerMismatch(
            "the ledger was made with another id key",
            code="ledger.key",
            hint="with another key every record would become a second resource; find the right key",
        )


def put(connection: Connection, scope: str, name: str, value: str, now: float) -> None:
    """Keep a value under a name; the one before is gone."""
    put_all(connection, scope, {name: value}, now)


def put_all(connection: Connection, scope: str, values: Mapping[str, str], now: float) -> None:
    """Keep several values."""
    if not values:
        return
    into = upsert(connection, kept)
    newer = into.on_conflict_do_update(
        index_elements=[kept.c.scope, kept.c.name], set_={"value": into.excluded.value, "at": into.excluded.at}
    )
    connection.execute(
        newer, [{"scope": scope, "name": name, "value": value, "at": now} for name, value in sorted(values.items())]
    )


def get(connection: Connection, scope: str, name: str) -> Kept | None:
    """What is kept under a name."""
    row = connection.execute(_VALUE, {"scope": scope, "name": name}).one_or_none()
    return None if row is None else Kept(*row)


def numbers(connection: Connection, scope: str) -> dict[str, int]:
    """All numbers of a scope by name."""
    rows = connection.execute(select(kept.c.name, kept.c.value).where(kept.c.scope == scope))
    return {name: int(value) for name, value in rows}


def forget(connection: Connection, scope: str) -> None:
    """Drop a scope."""
    connection.execute(delete(kept).where(kept.c.scope == scope))
