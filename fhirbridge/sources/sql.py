"""Records from a SQL query through any SQLAlchemy URL: read only, a page at a time, from a mark on.

The query stands in parentheses inside ours, so that it can only select. Between two pages nothing is held open: who
writes into the clinic's database never waits for us. A row that cannot be a record is set aside alone, named by its id.
"""

from __future__ import annotations

import datetime as dt
import decimal
import hmac
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Select, column, create_engine, event, literal, select, text
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, InterfaceError, NoSuchModuleError, OperationalError, SQLAlchemyError

from fhirbridge.errors import Fault, SourceError
from fhirbridge.sources.columns import ColumnMap
from fhirbridge.sources.lines import Line, from_rows
from fhirbridge.sources.position import Mark, Position, is_mark
from fhirbridge.sources.table import Row, cell_faults, check_header

_PAGE = 500
_KEY = re.compile(r"[A-Za-z0-9._:/-]{1,64}")


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked, and where. ``mark`` is the column that only grows."""

    url: str = field(repr=False)
    text: str
    mark: str
    password: str | None = field(default=None, repr=False)


class Table:
    """The rows of a query behind a position, in the order of their marks; iterate it once. Made by :func:`open_table`.

    Iterating raises :class:`SourceError`.
    """

    def __init__(
        self, engine: Engine, name: str, query: Query, columns: ColumnMap, ignored: Sequence[str], since: Position,
        key: bytes, page: int = _PAGE,
    ) -> None:  # fmt: skip
        self._engine, self._name, self._columns, self._ignored, self._page = engine, name, columns, ignored, page
        self._mark, self._key = query.mark, key
        # A colon would begin a parameter, and a comment at the end would hide our parenthesis.
        asked = query.text.strip().rstrip(";").replace(":", "\\:") + "\n"
        inner = text(asked).columns(column(query.mark)).subquery("asked")
        self._marked: ColumnElement[Any] = inner.c[query.mark]
        self._all = select(text("*")).select_from(inner)
        self._last, self._seen, self._unmarked = since.mark, set(since.seen), set(since.unmarked)
        self._number = 0

    @property
    def position(self) -> Position:
        """Behind the row that was handed out last."""
        return Position(self._last, frozenset(self._seen), frozenset(self._unmarked))

    def __iter__(self) -> Iterator[Line]:
        page, before = self._page, set[str]()
        while True:
            ordered = self._all.where(self._marked.is_not(None)).order_by(self._marked).limit(page)
            if self._last is not None:
                ordered = ordered.where(self._marked >= literal(self._last))
            found = self._ask(ordered)
            digests = [self._digest(row) for row in found]
            fresh = 0
            for row, digest in zip(found, digests, strict=True):
                mark = self._mark_of(row)
                if mark != self._last:
                    self._last, self._seen = mark, set()
                new = digest not in self._seen and digest not in before
                self._seen.add(digest)
                if new:
                    fresh += 1
                    yield self._line(row)
            if len(found) < page:
                break
            before = set(digests)
            # As many rows at one mark as a page holds, all of them read: what follows is behind them.
            page = page if fresh else page * 2
        for row in self._ask(self._all.where(self._marked.is_(None))):
            digest = self._digest(row)
            if digest not in self._unmarked:
                self._unmarked.add(digest)
                yield self._line(row, Fault("source.mark", self._mark, "the row has no mark", "fill the column"))

    def _ask(self, statement: Select[Any]) -> list[Mapping[str, Any]]:
        with _refusals(self._name), self._connected() as connection:
            result = connection.execute(statement)
            names, rows = list(result.keys()), result.all()
        hint = "check the columns of the query"
        check_header(self._name, names, [*self._columns.columns, self._mark], [*self._ignored, self._mark], hint)
        return [dict(zip(names, row, strict=True)) for row in rows]

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        try:
            connection = self._engine.connect()
        except (OperationalError, InterfaceError) as error:
            raise _away(self._name, error) from None
        with connection:
            yield connection.execution_options(postgresql_readonly=True)

    def _mark_of(self, row: Mapping[str, Any]) -> Mark:
        mark: Mark = row[self._mark]
        if not is_mark(mark):
            raise SourceError(
                f"{self._name}: {self._mark} is of a type that has no order", code="source.mark_type",
                hint="a number, a text or a time that only grows",
            )  # fmt: skip
        return mark

    def _digest(self, row: Mapping[str, Any]) -> str:
        said = "\x00".join(f"{name}\x01{value!r}" for name, value in row.items())
        return hmac.new(self._key, said.encode("utf-8", "surrogatepass"), "sha256").hexdigest()[:24]

    def _line(self, row: Mapping[str, Any], *more: Fault) -> Line:
        self._number += 1
        cells: dict[str, str] = {}
        faults = list(more)
        for name in self._columns.columns:
            cell = cell_text(row[name])
            if cell is None:
                hint = "cast it to text in the query"
                faults.append(Fault("source.cell", name, "neither text, number, time nor flag", hint))
            else:
                cells[name] = cell
                faults += cell_faults(name, cell)
        file = self._named(cells)
        if faults:
            return Line(file, self._number, faults=tuple(faults))
        (line,) = from_rows([Row(file, self._number, cells)], self._columns)
        return line

    def _named(self, cells: Mapping[str, str]) -> str:
        own = cells.get(self._columns.column_of("id") or "", "")
        return f"{self._name}[{own}]" if _KEY.fullmatch(own) else self._name


@contextmanager
def open_table(
    name: str, query: Query, columns: ColumnMap, ignored: Sequence[str], since: Position, key: bytes, page: int = _PAGE
) -> Iterator[Table]:
    """The rows of the source ``name`` behind ``since``; ``key`` keys the digests, ``page`` is rows asked for at once.

    Raises :class:`SourceError` for a database that cannot be read, without its own words: they may quote rows.
    """
    with _refusals(name):
        engine = _engine(name, query)
    try:
        yield Table(engine, name, query, columns, ignored, since, key, page)
    finally:
        engine.dispose()


def _engine(name: str, query: Query) -> Engine:
    try:
        url = make_url(query.url)
    except (ArgumentError, ValueError):
        raise SourceError(f"{name}: url is no database URL", code="source.url", hint="such as sqlite:///file") from None
    if query.password is not None:
        url = url.set(password=query.password)
    try:
        if url.get_backend_name() == "sqlite":
            return _sqlite(name, url)
        return create_engine(url, pool_pre_ping=True)
    except (ImportError, NoSuchModuleError):
        hint = "install the driver that the url names"
        raise SourceError(f"{name}: the driver is not installed", code="source.driver", hint=hint) from None


def _sqlite(name: str, url: URL) -> Engine:
    # SQLite would make a file that is not there.
    if url.database and not url.database.startswith((":memory:", "file:")) and not Path(url.database).exists():
        raise SourceError(f"{name}: there is no such database", code="source.database", hint="check the path in url")
    engine = create_engine(url)

    def prepare(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA query_only = ON")
        # Bytes that are no UTF-8 are a fault of their cell.
        connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")

    event.listen(engine, "connect", prepare)
    return engine


@contextmanager
def _refusals(name: str) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        origin = getattr(error, "orig", None) or error
        said = getattr(origin, "sqlstate", None) or getattr(origin, "sqlite_errorname", None) or type(origin).__name__
        hint = "it must be a SELECT that can stand in parentheses, with the column mark; try it there"
        raise SourceError(f"{name}: the database refuses the query ({said})", code="source.query", hint=hint) from None


def _away(name: str, error: SQLAlchemyError) -> SourceError:
    said = type(getattr(error, "orig", None) or error).__name__
    hint = "check url, password and the network"
    return SourceError(f"{name}: the database cannot be reached ({said})", code="source.database", hint=hint)


def cell_text(value: object) -> str | None:
    """A value as CSV would have it; ``None`` where it has no such text."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            return value.strip()
        case float():
            return repr(value)
        case int() | decimal.Decimal() | uuid.UUID():
            return str(value)
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case _:
            return None
