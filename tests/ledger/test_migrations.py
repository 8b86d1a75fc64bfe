"""The migrations make what the tables say, once, however many open the ledger at the same time."""

from __future__ import annotations

import threading

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from fhirbridge.ledger import Action, Ledger, State
from fhirbridge.ledger.migrate import FOLDER
from fhirbridge.ledger.schema import VERSION, VERSION_TABLE, metadata
from tests.ledger.bench import BODY, SITE, TIMEOUT, VAULT, Bench, Clock, item
from tests.ledger.gates import PATIENT, Signed, consent
from tests.ledger.older import filled

# A ledger of the first version: a patient with one delivery that arrived and one that waits, and one with nothing.
FIRST: dict[str, list[dict[str, object]]] = {
    "lane": [
        {"site": SITE, "key": PATIENT, "priority": 1, "ready_at": 900.0, "fence": 1, "held": 0},
        {"site": "south", "key": PATIENT, "priority": 1, "ready_at": None, "fence": 0, "held": 0},
    ],
    "resource": [
        {"site": SITE, "kind": "session", "record": record, "role": "primary", "generation": 0, "lane": 1}
        | {"resource_type": "Procedure", "resource_id": f"f-{record}", "revision": "1", "rank": "0011"}
        | {"withdrawn": False, "server": server, "acked": acked}
        for record, server, acked in (("r1", "present", 1), ("r2", "unseen", None))
    ],
    "delivery": [
        {"resource": of, "lane": 1, "state": state, "event": 1.0, "next_at": 900.0, "settled_at": settled}
        | {"attempts": 0, "looks": 0, "reason": "", "revision": "1", "rank": "0011", "action": "put", "content": "x"}
        | {"mapping": "1.0", "urgent": False, "run": "run-0", "enqueued_at": 900.0, "start": 0, "length": 0}
        for of, state, settled in ((1, "acked", 950.0), (2, "queued", None))
    ],
}


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
    Ledger.open(url, vault=VAULT).close()
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
            Ledger.open(url, vault=VAULT).close()
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in a thread is to fail the test
            troubles.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not troubles


def first_version(url: str) -> None:
    """Make a ledger as the first version of the schema left it."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        filled(connection, "0001", FIRST)
    engine.dispose()


def test_a_ledger_of_the_first_version_goes_on_and_waits_for_consents(url: str) -> None:
    first_version(url)
    bench = Bench.open(url, Clock(), Signed())
    with bench.ledger:
        assert [(one.record, one.state) for one in bench.rows("r1") + bench.rows("r2")] == [
            ("r1", State.ACKED),
            ("r2", State.QUEUED),
        ]
        assert not bench.claim()
        assert bench.rows("r2")[0].state is State.BLOCKED
        bench.sign(consent("no"))
        assert bench.ledger.effect() == [PATIENT]
        # What had arrived has to be looked at, where anything had.
        assert (bench.ledger.to_follow(SITE), bench.ledger.to_follow("south")) == ([(PATIENT, 1)], [])
        retraction = item("r1", 1, "a tombstone", action=Action.RETRACT, body=BODY)
        assert bench.ledger.follow(SITE, PATIENT, 1, [retraction], run="run-1")
        (held,) = bench.held()
        assert (held.record, held.action, held.lease.timeout) == ("r1", Action.RETRACT, TIMEOUT)
