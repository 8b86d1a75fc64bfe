"""What databases say when they cannot, as our own errors. The whole mapping is the two tables here."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from fhirbridge.errors import LedgerError, LedgerMismatch, LedgerUnavailable

_LOCKED = ("ledger.locked", "the ledger is locked by another process", "it goes on when that one is done")
_FULL = ("ledger.full", "the disk of the ledger is full", "make room; nothing was half written")
_READ_ONLY = (
    "ledger.read_only",
    "the ledger may not be written to",
    "check the file's owner and rights, or the server",
)
_UNREACHABLE = ("ledger.unreachable", "the ledger cannot be reached", "check the address, the folder, the server")
_IO = ("ledger.io", "the disk of the ledger fails", "check the disk before anything else")
_FOREIGN = ("ledger.foreign", "this is no ledger, or a damaged one", "check the url; restore the file from its backup")

# Primary result codes of SQLite, and the first characters of PostgreSQL's SQLSTATE; the longest match counts.
_SQLITE = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: _UNREACHABLE,
    sqlite3.SQLITE_IOERR: _IO,
    sqlite3.SQLITE_CORRUPT: _FOREIGN,
    sqlite3.SQLITE_NOTADB: _FOREIGN,
}
_POSTGRESQL = {
    "55P03": _LOCKED,  # lock_not_available
    "40": _LOCKED,  # deadlock, serialization failure
    "53100": _FULL,
    "53": _UNREACHABLE,  # too many connections, out of memory
    "25006": _READ_ONLY,
    "42501": _READ_ONLY,
    "08": _UNREACHABLE,
    "28": _UNREACHABLE,  # not authorised
    "3D": _UNREACHABLE,  # no such database
    "57P": _UNREACHABLE,  # shutting down
    "58": _IO,
    "XX00": _FOREIGN,
}


def _fits(error: DBAPIError) -> tuple[str, str, str] | None:
    origin = error.orig
    if isinstance(origin, sqlite3.Error):
        # What is no text stands in a column of text.
        if str(origin).startswith("Could not decode to UTF-8"):
            return _FOREIGN
        return _SQLITE.get(getattr(origin, "sqlite_errorcode", 0) & 0xFF)
    state = getattr(origin, "sqlstate", None) or ""
    for length in range(len(state), 1, -1):
        if state[:length] in _POSTGRESQL:
            return _POSTGRESQL[state[:length]]
    # psycopg has no state for a connection that never came about or broke off.
    return _UNREACHABLE if not state and type(origin).__name__ == "OperationalError" else None


@contextmanager
def translated() -> Iterator[None]:
    """Turn what SQLAlchemy raises into :class:`LedgerError`.

    The database's own words may quote rows: they are left out.
    """
    try:
        yield
    except IntegrityError:
        # The schema's constraints are held by locks; only two processes that bring one record for two patients get
        # here.
        raise LedgerUnavailable(
            "another process wrote the same thing at the same time", code="ledger.raced", hint="do it again"
        ) from None
    except DBAPIError as error:
        found = _fits(error)
        if found is None:
            raise LedgerError(f"the database refused ({type(error.orig).__name__})", code="ledger.database") from None
        code, message, hint = found
        kind = LedgerMismatch if found is _FOREIGN else LedgerUnavailable
        raise kind(message, code=code, hint=hint) from None
    except PoolTimeout:
        code, message, hint = _LOCKED
        raise LedgerUnavailable(message, code=code, hint=hint) from None
    except SQLAlchemyError as error:
        raise LedgerError(f"the database cannot be used ({type(error).__name__})", code="ledger.database") from None
