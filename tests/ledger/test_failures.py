"""A ledger that cannot be used says why, by a typed error, and has half written nothing."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from fhirbridge.errors import LedgerError, LedgerMismatch, LedgerUnavailable
from fhirbridge.ledger import Ledger, Outgoing, Result, State, Where
from fhirbridge.ledger.gate import EVERYTHING
from fhirbridge.ledger.schema import VERSION, VERSION_TABLE
from fhirbridge.vault import Ring, Vault
from tests.ledger.bench import ID_KEY, SITE, TIMEOUT, VAULT, Bench, Clock, item
from tests.vault.vaults import DOMAIN, ring, vault_of

VERSIONS = sa.table(VERSION_TABLE, sa.column("version_num"))


@contextlib.contextmanager
def refused(kind: type[LedgerError], code: str) -> Iterator[None]:
    with pytest.raises(kind) as caught:
        yield
    assert caught.value.code == code
    assert caught.value.hint


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def on_file(file: Path) -> Iterator[Bench]:
    opened = Bench(Ledger.open(f"sqlite:///{file}", vault=VAULT, clock=Clock(), patience=0.05), Clock())
    yield opened
    opened.ledger.close()


def test_another_id_key_does_not_open_the_ledger(ready: str) -> None:
    with refused(LedgerMismatch, "ledger.key"):
        Ledger.open(ready, vault=vault_of(b"another key, of the same length"))


def test_a_vault_key_with_another_secret_or_of_another_clinic_does_not_open_the_ledger(ready: str) -> None:
    other = Ring("demo", {"demo": b"a secret of thirty-two bytes, but not that one"})
    for vault in (Vault(other, id_key=ID_KEY, domain=DOMAIN), Vault(ring(), id_key=ID_KEY, domain="other.example")):
        with refused(LedgerMismatch, "ledger.vault_key"):
            Ledger.open(ready, vault=vault)


def test_without_the_key_of_a_row_nothing_of_it_is_read_and_the_key_is_named(bench: Bench, ready: str) -> None:
    bench.offer(item())
    later = vault_of(ID_KEY, "2027-01")
    with Ledger.open(ready, vault=later) as ledger, pytest.raises(LedgerError) as caught:
        ledger.find(Where(site=SITE))
    assert caught.value.code == "ledger.vault_key_missing"
    assert "[vault.key.demo]" in caught.value.hint


def test_the_check_value_tells_keys_apart_and_not_what_they_are() -> None:
    one, two = (vault_of(key).id_check for key in (b"one", b"two"))
    assert one != two
    assert one == vault_of(b"one").id_check
    assert b"one".hex() not in one


def test_a_ledger_of_a_newer_version_is_left_alone(ready: str) -> None:
    engine = sa.create_engine(ready)
    with engine.begin() as connection:
        connection.execute(sa.update(VERSIONS).values(version_num="9999"))
    try:
        with refused(LedgerMismatch, "ledger.newer"):
            Ledger.open(ready, vault=VAULT)
    finally:
        with engine.begin() as connection:
            connection.execute(sa.update(VERSIONS).values(version_num=VERSION))
        engine.dispose()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ledger.db",
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://localhost/x",
        "postgresql://localhost/x",
        "sqlite:///file:x?mode=memory&uri=true",
    ],
)
def test_a_url_that_names_no_lasting_database_of_ours_is_refused(url: str) -> None:
    with refused(LedgerError, "ledger.url"):
        Ledger.open(url, vault=VAULT)


def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(file: Path) -> None:
    file.write_bytes(b"a letter to the hospital, no database at all" * 100)
    with refused(LedgerMismatch, "ledger.foreign"):
        Ledger.open(f"sqlite:///{file}", vault=VAULT)
    assert file.read_bytes().startswith(b"a letter")


def test_a_folder_that_is_not_there_or_a_server_that_does_not_answer_is_told(tmp_path: Path) -> None:
    with refused(LedgerUnavailable, "ledger.unreachable"):
        Ledger.open(f"sqlite:///{tmp_path / 'nowhere' / 'ledger.db'}", vault=VAULT)
    pytest.importorskip("psycopg", reason="no PostgreSQL driver here")
    with refused(LedgerUnavailable, "ledger.unreachable"):
        Ledger.open(f"postgresql+psycopg:///x?host={tmp_path}", vault=VAULT)


def test_the_file_is_for_its_owner_alone_and_kept_safely(on_file: Bench, file: Path) -> None:
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with on_file.ledger._store.read() as connection:
        settings = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
    assert settings == ["wal", 2]


def test_postgresql_commits_are_never_asynchronous(postgresql: str) -> None:
    engine = sa.create_engine(postgresql, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text("CREATE DATABASE careless"))
        connection.execute(sa.text("ALTER DATABASE careless SET synchronous_commit = off"))
    engine.dispose()
    url = sa.make_url(postgresql).set(database="careless").render_as_string(hide_password=False)
    with Ledger.open(url, vault=VAULT) as ledger, ledger._store.read() as connection:
        assert connection.execute(sa.text("SHOW synchronous_commit")).scalar() == "on"


def test_a_locked_ledger_is_told_and_goes_on_afterwards(on_file: Bench, file: Path) -> None:
    on_file.offer(item("r1"))
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with refused(LedgerUnavailable, "ledger.locked"):
        on_file.offer(item("r2"))
    # Reading waits for nobody.
    assert len(on_file.ledger.find(Where(site=SITE))) == 1
    other.execute("ROLLBACK")
    other.close()
    on_file.offer(item("r2"))
    assert len(on_file.ledger.find(Where(site=SITE))) == 2


def test_a_lane_that_an_open_transaction_holds_is_told_on_postgresql(postgresql_ledger: str) -> None:
    with Ledger.open(postgresql_ledger, vault=VAULT, patience=0.05) as ledger:
        ledger.enqueue([item()], site="locked", run="run")
        engine = sa.create_engine(postgresql_ledger)
        with engine.connect() as clinic:
            ledger.enqueue([item("r2")], site="locked", run="run", connection=clinic)
            with refused(LedgerUnavailable, "ledger.locked"):
                ledger.enqueue([item("r3")], site="locked", run="run")
            # A worker passes the lane by instead of waiting for the clinic.
            assert ledger.claim("locked", "w1", gate=EVERYTHING, timeout=TIMEOUT) == []
        engine.dispose()
        assert len(ledger.claim("locked", "w1", gate=EVERYTHING, timeout=TIMEOUT)) == 1


@pytest.fixture
def full(on_file: Bench) -> Iterator[Bench]:
    """A ledger with a delivery under way, on a disk with no room."""
    on_file.offer(item("r1"))
    pages = {"now": 0}

    @sa.event.listens_for(on_file.ledger._store.engine, "begin")
    def no_room(connection: sa.Connection) -> None:
        pages["now"] = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages['now']}")

    yield on_file
    sa.event.remove(on_file.ledger._store.engine, "begin", no_room)


def test_a_full_disk_is_told_and_nothing_is_half_written(full: Bench, file: Path) -> None:
    many = [item(f"s{n}", body=bytes(range(256)) * 8 + str(n).encode(), lane=f"patient-{n}") for n in range(300)]
    with refused(LedgerUnavailable, "ledger.full"):
        full.offer(*many)
    assert [one.record for one in full.ledger.find(Where(site=SITE))] == ["r1"]
    # What needs no room goes on.
    assert full.send(State.ACKED)
    with Ledger.open(f"sqlite:///{file}", vault=VAULT) as roomy:
        roomy.enqueue(many, site=SITE, run="run")
        assert len(roomy.find(Where(site=SITE))) == 301


def test_a_ledger_that_may_not_be_written_to_is_told(on_file: Bench) -> None:
    on_file.offer(item())
    (held,) = on_file.held()

    @sa.event.listens_for(on_file.ledger._store.engine, "begin")
    def read_only(connection: sa.Connection) -> None:
        connection.exec_driver_sql("PRAGMA query_only = ON")

    for call in (
        lambda: on_file.ledger.begin([Outgoing("b", [held], "digest")]),
        lambda: on_file.ledger.settle([Result(held, State.PARKED)]),
        lambda: on_file.offer(item("r2")),
    ):
        with refused(LedgerUnavailable, "ledger.read_only"):
            call()
    assert on_file.state(held.id) is State.CLAIMED


def test_an_error_quotes_nothing_that_was_to_be_written(on_file: Bench) -> None:
    on_file.offer(item(body=b"SECRET"))
    (held,) = on_file.held()
    on_file.ledger.begin([Outgoing("SECRET", [held], "digest")])
    with pytest.raises(LedgerError) as caught:
        on_file.ledger.begin([Outgoing("SECRET", [held], "digest")])
    shown = str(caught.value) + repr(caught.value.__cause__)
    assert "SECRET" not in shown
