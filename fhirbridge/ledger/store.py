"""The database behind the ledger: SQLite or PostgreSQL, opened so that what is committed stays.

SQLite: WAL, ``synchronous=FULL``, writers begin with ``BEGIN IMMEDIATE`` so that no read turns stale before its write.
PostgreSQL: READ COMMITTED, rows locked with ``FOR UPDATE``; a session that would commit asynchronously is set right.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from fhirbridge.errors import LedgerError, LedgerUnavailable
from fhirbridge.ledger.failures import translated
from fhirbridge.ledger.schema import metadata

_READING = "fhirbridge_reading"


class Store:
    """Connections to one database, each used for one transaction."""

    def __init__(self, url: str, *, patience: float) -> None:
        """``patience``: seconds to wait for a lock. Raises :class:`LedgerError` for a URL that is of no use."""
        self.engine = _engine(_checked(url), patience)
        self._reader = self.engine.execution_options(**{_READING: True})

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes: all of it or nothing."""
        with translated(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: it waits for no writer, and no writer for it."""
        with translated(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def read_anything(self) -> Iterator[Connection]:
        """The same, of what may have been edited: text that is no text does not break it off."""
        with self.read() as connection:
            if connection.dialect.name != "sqlite":
                yield connection
                return
            driver: Any = connection.connection.driver_connection
            driver.text_factory = _any_text
            try:
                yield connection
            finally:
                driver.text_factory = str

    @contextmanager
    def alter(self) -> Iterator[Connection]:
        """A transaction that may write tables anew: SQLite counts references only when it is over."""
        with translated(), self.engine.connect() as connection:
            _check_references(connection, False)
            try:
                with connection.begin():
                    yield connection
            finally:
                _check_references(connection, True)

    def rewrite(self) -> None:
        """Write the whole database anew, so that nothing is left of what was deleted: needs as much room again."""
        with translated(), self.engine.connect() as connection:
            # Neither may be within a transaction.
            run = _driver(connection)
            if connection.dialect.name == "sqlite":
                run("VACUUM")
                run("PRAGMA wal_checkpoint(TRUNCATE)")
                return
            driver: Any = connection.connection.driver_connection
            driver.autocommit = True
            try:
                for one in metadata.sorted_tables:
                    run(f"VACUUM (FULL) {one.name}")
            finally:
                driver.autocommit = False

    def forget(self) -> None:
        """Leave nothing in the write-ahead log of SQLite; what is deleted is overwritten in the file itself."""
        if self.engine.dialect.name == "sqlite":
            with translated(), self.engine.connect() as connection:
                _driver(connection)("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


def _any_text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _driver(connection: Connection) -> Callable[[str], Any]:
    """Run a statement past SQLAlchemy, which would begin a transaction."""
    driver: Any = connection.connection.driver_connection
    run: Callable[[str], Any] = driver.execute
    return run


def _check_references(connection: Connection, on: bool) -> None:
    if connection.dialect.name == "sqlite":
        _driver(connection)(f"PRAGMA foreign_keys = {'ON' if on else 'OFF'}")


def upsert(connection: Connection, into: Table) -> sqlite.Insert | postgresql.Insert:
    """An insert that may say what happens where the row is there already."""
    return sqlite.insert(into) if connection.dialect.name == "sqlite" else postgresql.insert(into)


def _checked(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise _unusable("is no database URL") from None
    if parsed.get_backend_name() == "sqlite":
        if parsed.database in (None, "", ":memory:") or parsed.query.get("mode") == "memory":
            raise _unusable("names no file, so it would be gone with the process")
    elif parsed.drivername != "postgresql+psycopg":
        raise _unusable("names neither SQLite nor PostgreSQL by psycopg")
    return parsed


def _unusable(why: str) -> LedgerError:
    return LedgerError(
        f"the ledger's url {why}", code="ledger.url", hint="sqlite:///fhirbridge-ledger.db or postgresql+psycopg://…"
    )


def _engine(url: URL, patience: float) -> Engine:
    # As many connections as there are threads: one that waits for another's connection could wait for its lock.
    options: dict[str, Any] = {"pool_size": 8, "max_overflow": -1, "pool_pre_ping": url.get_backend_name() != "sqlite"}
    try:
        if url.get_backend_name() == "sqlite":
            _create_private(url)
            engine = create_engine(url, connect_args={"timeout": patience}, **options)
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
            return engine
        # use_insertmanyvalues keeps its pages; the rest goes through psycopg's pipeline.
        engine = create_engine(url, isolation_level="READ COMMITTED", **options)
    except (ImportError, NoSuchModuleError):
        raise LedgerError(
            "the driver of this database is not installed",
            code="ledger.driver",
            hint="pip install fhirbridge[postgres]",
        ) from None

    def prepare(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {int(patience * 1000)}")
            cursor.execute("SHOW synchronous_commit")
            if cursor.fetchone()[0] == "off":
                cursor.execute("SET synchronous_commit = on")
        connection.commit()

    event.listen(engine, "connect", prepare)
    return engine


def _create_private(url: URL) -> None:
    """Make the file for its owner alone, before SQLite makes it for everybody; its WAL takes over the rights."""
    path = Path(str(url.database))
    if not path.name.startswith("file:"):
        # Any other trouble is told by SQLite.
        with suppress(OSError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # Transactions are begun by us, not by the driver before some statements and not before others.
    connection.isolation_level = None
    run = connection.execute
    (journal,) = run("PRAGMA journal_mode = WAL").fetchone()
    run("PRAGMA synchronous = FULL")
    run("PRAGMA foreign_keys = ON")
    # What is deleted is overwritten.
    run("PRAGMA secure_delete = ON")
    # The log is copied back less often than by default: fewer syncs for a few more megabytes.
    run("PRAGMA wal_autocheckpoint = 4000")
    run("PRAGMA cache_size = -32768")
    (synchronous,) = run("PRAGMA synchronous").fetchone()
    if (journal, synchronous) != ("wal", 2):
        raise LedgerUnavailable(
            "the file cannot be kept safely here: no write-ahead log with full synchronisation",
            code="ledger.unsafe",
            hint="a local disk is needed, no network share",
        )


def _begin_sqlite(connection: Connection) -> None:
    reading = connection.get_execution_options().get(_READING, False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
