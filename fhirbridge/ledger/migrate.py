"""Bring a database to the present schema, by Alembic migrations that come with the package."""

from __future__ import annotations

import threading
from pathlib import Path

from sqlalchemy import Connection, column, inspect, select, table, text

from fhirbridge.errors import LedgerMismatch
from fhirbridge.ledger.keep import check_key
from fhirbridge.ledger.schema import VERSION, VERSION_TABLE, meta
from fhirbridge.ledger.store import Store
from fhirbridge.vault import Vault

FOLDER = Path(__file__).parent / "migrations"
# Any number, the same for everybody: one migrates, the others wait and find it done.
_ADVISORY_LOCK = 0x66686972
# Stands in meta from the moment that rows in clear were sealed until the file was written anew.
LEFTOVERS = "leftovers"


def upgrade(store: Store, vault: Vault) -> None:
    """Create or upgrade the tables, all or nothing. What was kept in clear is sealed, and nothing of it is left behind.

    Raises :class:`LedgerMismatch` for a schema newer than this version, or where the ledger is another id key's.
    """
    with store.read() as connection:
        found = current(connection)
        if found == VERSION and not _leftovers(connection):
            return
    with store.alter() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _ADVISORY_LOCK})
        found = current(connection)
        if found != VERSION:
            if found is not None:
                # Sealed under the keys of another clinic nobody could read it again.
                check_key(connection, vault, keep=True)
            _run(connection, found, vault)
        leftovers = _leftovers(connection)
    if leftovers:
        store.rewrite()
        with store.write() as connection:
            connection.execute(meta.delete().where(meta.c.name == LEFTOVERS))


def _leftovers(connection: Connection) -> bool:
    """Whether free pages may still hold what was kept in clear: the process died before they were written anew."""
    return connection.execute(select(meta.c.value).where(meta.c.name == LEFTOVERS)).scalar() is not None


def current(connection: Connection) -> str | None:
    """The version of the schema; None where there is none yet."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(select(column("version_num")).select_from(table(VERSION_TABLE))).scalar()


# Alembic keeps what it is doing in globals of the process.
_ALEMBIC = threading.Lock()


def _run(connection: Connection, found: str | None, vault: Vault) -> None:
    with _ALEMBIC:
        _run_alone(connection, found, vault)


def _run_alone(connection: Connection, found: str | None, vault: Vault) -> None:
    # A tenth of a second to import, and seldom needed.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["vault"] = vault
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise LedgerMismatch(
            "the ledger was made by a newer version of fhirbridge", code="ledger.newer", hint="upgrade fhirbridge"
        )
    command.upgrade(config, "head")
