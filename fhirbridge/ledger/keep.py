"""What is kept by name beside the deliveries: proofs and limits of a site, marks of a source, the keys' check values.

The values are sealed for the clinic. The names of marks are keyed hashes: they are names of files.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from sqlalchemy import Connection, bindparam, delete, select
from sqlalchemy.exc import DBAPIError

from fhirbridge.errors import LedgerMismatch, VaultError
from fhirbridge.ledger.schema import kept, meta
from fhirbridge.ledger.seals import name_of, unopened
from fhirbridge.ledger.store import upsert
from fhirbridge.ledger.words import Kept
from fhirbridge.vault import Vault

MARKS = "marks"
# Whose these values are: no patient's.
CLINIC = ""
_KEY_CHECK = "key_check"
_VAULT_CHECK = "vault:"
_VALUE = select(kept.c.value, kept.c.at).where(kept.c.scope == bindparam("scope"), kept.c.name == bindparam("name"))


def check_key(connection: Connection, vault: Vault, *, keep: bool) -> None:
    """Raises :class:`LedgerMismatch` where the ledger is another key's. With ``keep`` a new one becomes this key's."""
    if keep:
        # Two that open a new ledger at once both come here; the first one's key counts.
        connection.execute(
            upsert(connection, meta).on_conflict_do_nothing(), {"name": _KEY_CHECK, "value": vault.id_check}
        )
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
    if found is None or not hmac.compare_digest(found, vault.id_check):
        raise LedgerMismatch(
            "the ledger was made with another id key",
            code="ledger.key",
            hint="with another key every record would become a second resource; find the right key",
        )


def check_vault(connection: Connection, vault: Vault) -> None:
    """Raises :class:`LedgerMismatch` where a key of the ring has another secret, or another clinic, than it had here.

    A name that was never used here is kept.
    """
    rows = [{"name": _VAULT_CHECK + name, "value": check} for name, check in sorted(vault.checks.items())]
    connection.execute(upsert(connection, meta).on_conflict_do_nothing(), rows)
    names = [row["name"] for row in rows]
    there = select(meta.c.name, meta.c.value).where(meta.c.name.in_(names))
    found = {row.name: row.value for row in connection.execute(there)}
    wrong = [row["name"] for row in rows if not hmac.compare_digest(found[row["name"]], row["value"])]
    if wrong:
        known = ", ".join(name.removeprefix(_VAULT_CHECK) for name in wrong)
        raise LedgerMismatch(
            f"vault keys that this ledger knows with other secrets, or for another clinic.domain: {known}",
            code="ledger.vault_key",
            hint="find the right secret; a new one gets a name of its own",
        )


def put(connection: Connection, vault: Vault, scope: str, name: str, value: str, now: float) -> None:
    """Keep a value under a name; the one before is gone."""
    put_all(connection, vault, scope, {name: value}, now)


def put_all(connection: Connection, vault: Vault, scope: str, values: Mapping[str, str], now: float) -> None:
    """Keep several values."""
    if not values:
        return
    into = upsert(connection, kept)
    newer = into.on_conflict_do_update(
        index_elements=[kept.c.scope, kept.c.name], set_={"value": into.excluded.value, "at": into.excluded.at}
    )
    rows = sorted((_name(vault, scope, name), value) for name, value in values.items())
    connection.execute(
        newer,
        [
            {"scope": scope, "name": name, "value": vault.seal(CLINIC, place(scope, name), value.encode()), "at": now}
            for name, value in rows
        ],
    )


def get(connection: Connection, vault: Vault, scope: str, name: str) -> Kept | None:
    """What is kept under a name. Raises :class:`LedgerError` where it does not open."""
    stored = _name(vault, scope, name)
    row = connection.execute(_VALUE, {"scope": scope, "name": stored}).one_or_none()
    return None if row is None else Kept(opened(vault, scope, stored, row.value), row.at)


def numbers(connection: Connection, vault: Vault, scope: str) -> dict[str, int]:
    """All numbers of a scope by name. Raises as :func:`get`."""
    rows = connection.execute(select(kept.c.name, kept.c.value).where(kept.c.scope == scope))
    return {name: int(opened(vault, scope, name, value)) for name, value in rows}


def forget(connection: Connection, scope: str) -> None:
    """Drop a scope."""
    connection.execute(delete(kept).where(kept.c.scope == scope))


def place(scope: str, name: str) -> tuple[str, ...]:
    """To what a value is bound; ``name`` as it is stored."""
    return name_of(kept), scope, name


def opened(vault: Vault, scope: str, name: str, sealed: bytes) -> str:
    """A value that is kept; ``name`` as it is stored."""
    try:
        return vault.open(CLINIC, place(scope, name), sealed).decode()
    except VaultError as error:
        raise unopened(kept, scope, error) from None


def _name(vault: Vault, scope: str, name: str) -> str:
    return vault.token(name) if scope == MARKS else name
