"""The migrations make what the tables say, once, however many open the ledger at the same time."""

from __future__ import annotations

import threading

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from fhirbridge.ledger import Ledger
from fhirbridge.ledger.migrate import FOLDER
from fhirbridge.ledger.schema import VERSION, VERSION_TABLE, metadata
from tests.ledger.bench import KEY


def described(engine: sa.Engine) -> dict[str, object]:
    """Everything that a database tells of its tables."""
    inspector = sa.inspect(engine)
    told: dict[str, object] = {}
    for table in inspector.get_table_names():
        if table != VERSION_TABLE:
            told[table] = (
                [(one["name"], str(one["type"]), one["nullable"]) for one in inspector.get_columns(table)],
                inspector.get_pk_constraint(table)["constrained_columns"],
                sorted((one["name"], one["sqltext"]) for one in inspector.get_check_constraints(table)),
                sorted((one["name"], tuple(one["column_names"])) for one in inspector.get_unique_constraints(table)),
                sorted(
                    (one["constrained_columns"], one["referred_table"]) for one in inspector.get_foreign_keys(table)
                ),
                sorted(
                    (
                        one["name"],
                        tuple(one["column_names"]),
                        sorted(f"{name} {value}" for name, value in one["dialect_options"].items()),
                    )
                    for one in inspector.get_indexes(table)
                ),
            )
    return told


def test_up_from_nothing_equals_the_tables(url: str) -> None:
    Ledger.open(url, key_check=KEY).close()
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        assert compare_metadata(context, metadata) == []
    migrated = described(engine)
    with engine.begin() as connection:
        metadata.drop_all(connection)
        metadata.create_all(connection)
    assert described(engine) == migrated
    engine.dispose()


def test_the_version_that_is_looked_for_is_that_of_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    assert ScriptDirectory.from_config(config).get_heads() == [VERSION]


def test_many_may_open_a_new_ledger_at_once(url: str) -> None:
    troubles: list[BaseException] = []

    def work() -> None:
        try:
            Ledger.open(url, key_check=KEY).close()
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in a thread is to fail the test
            troubles.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not troubles
