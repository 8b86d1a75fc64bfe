"""A ledger as an older version of the schema left it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from fhirbridge.ledger.migrate import FOLDER

Rows = Mapping[str, Sequence[Mapping[str, object]]]


def filled(connection: sa.Connection, version: str, tables: Rows) -> None:
    """Make the tables as they were in ``version``, and put rows into them, by their names without our prefix."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.attributes["connection"] = connection
    command.upgrade(config, version)
    for name, rows in tables.items():
        there = sa.Table(f"fhirbridge_{name}", sa.MetaData(), autoload_with=connection)
        for row in rows:
            connection.execute(sa.insert(there).values(row))
