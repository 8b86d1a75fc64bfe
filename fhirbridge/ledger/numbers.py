"""Numbers for rows that are about to be written: what is sealed in a row is bound to its number."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Table, func, select, text

# SQLite has one writer, and it is us. A number of this table is never given twice, though its rows are deleted.
_LAST = text("SELECT seq FROM sqlite_sequence WHERE name = :name")
_NEXT = text("SELECT nextval(pg_get_serial_sequence(:name, 'id')) FROM generate_series(1, :count)")


def allot(connection: Connection, table: Table, count: int) -> Sequence[int]:
    """``count`` new numbers for rows of a table, in order. The transaction must be one that writes."""
    if not count:
        return ()
    if connection.dialect.name == "postgresql":
        return sorted(connection.execute(_NEXT, {"name": table.name, "count": count}).scalars())
    last = connection.execute(select(func.max(table.c.id))).scalar() or 0
    if table.dialect_options["sqlite"]["autoincrement"]:
        last = max(last, connection.execute(_LAST, {"name": table.name}).scalar() or 0)
    return range(last + 1, last + count + 1)
