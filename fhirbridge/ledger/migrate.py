"""Bring a database to the present schema, by Alembic migrations that come with the package."""

from __future__ import annotations

import threading
from pathlib import Path

from sqlalchemy import Connection, column, inspect, select, table, text

from fhirbridge.errors import LedgerMismatch
from fhirbridge.ledger.schema import VERSION, VERSION_TABLE
from fhirbridge.ledger.store import Store

FOLDER = Path(__file__).parent / "migrations"
# Any number, the same for everybody: one migrates, the others wait and find it done.
_ADVISORY_LOCK = 0x66686972


def upgrade(store: Store) -> None:
    """Create or upgrade the tables, all or nothing.

    Raises :class:`LedgerMismatch` for a schema newer than this version.
    """
    with store.read() as connection:
        if current(connection) == VERSION:
            return
    with store.write() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _ADVISORY_LOCK})
        found = current(connection)
        if found != VERSION:
            _run(connection, found)


def current(connection: Connection) -> str | None:
    """The version of the schema; None where there is none yet."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(select(column("version_num")).select_from(table(VERSION_TABLE))).scalar()


# Alembic keeps what it is doing in globals of the process.
_ALEMBIC = threading.Lock()


def _run(connection: Connection, found: str | None) -> None:
    with _ALEMBIC:
        _run_alone(connection, found)


def _run_alone(connection: Connection, found: str | None) -> None:
    # A tenth of a second to import, and seldom needed.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise LedgerMismatch(
            "the ledger was made by a newer version of fhirbridge", code="ledger.newer", hint="upgrade fhirbridge"
        )
    command.upgrade(config, "head")
