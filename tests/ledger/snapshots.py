"""The tables of a small ledger, taken and put back many times a second."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from fhirbridge.ledger.schema import meta, metadata

Rows = tuple[tuple[Any, ...], ...]
Tables = tuple[Rows, ...]


class Snapshots:
    """A connection of its own to the ledger's database; ``tables`` are those that count."""

    def __init__(self, url: str, *tables: sa.Table) -> None:
        self.tables = tables
        self._engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        self._connection = self._engine.raw_connection()
        self._cursor = self._connection.cursor()
        # They are put back one by one, so nothing may be said about what one of them names in another.
        if self._engine.dialect.name == "sqlite":
            self._cursor.execute("PRAGMA foreign_keys = OFF")
            self._cursor.execute("PRAGMA synchronous = OFF")
        else:
            self._cursor.execute("SET session_replication_role = replica")
            self._cursor.execute("SET synchronous_commit = off")
        self._take = [self._text(sa.select(one).order_by(one.c.id)) for one in tables]
        self._empty = [self._text(sa.delete(one)) for one in tables]
        # With the columns by order, as they are taken.
        self._fill = [self._text(sa.insert(one)) for one in tables]
        others = set(metadata.sorted_tables) - {*tables, meta}
        self._others = [self._text(sa.delete(one)) for one in others]
        self._now: Tables | None = None

    def _text(self, statement: sa.Select[Any] | sa.Delete | sa.Insert) -> str:
        paramstyle = "qmark" if self._engine.dialect.name == "sqlite" else "format"
        dialect = type(self._engine.dialect)(paramstyle=paramstyle)
        return str(statement.compile(dialect=dialect))

    def take(self) -> Tables:
        """What is in them."""
        self._now = tuple(tuple(map(tuple, self._cursor.execute(one).fetchall())) for one in self._take)
        return self._now

    def put(self, wanted: Tables) -> None:
        """Put it back; what is in no table that counts is dropped."""
        now = self.take() if self._now is None else self._now
        if now == wanted:
            return
        self._cursor.execute("BEGIN")
        for one in self._others:
            self._cursor.execute(one)
        for number, (rows, there) in enumerate(zip(wanted, now, strict=True)):
            if rows != there:
                self._cursor.execute(self._empty[number])
                self._cursor.executemany(self._fill[number], rows)
        self._cursor.execute("COMMIT")
        self._now = wanted

    def named(self, taken: Tables, table: sa.Table) -> list[dict[str, Any]]:
        """The rows of one table by the names of its columns."""
        return [dict(zip(table.c.keys(), row, strict=True)) for row in taken[self.tables.index(table)]]

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()
        self._engine.dispose()
