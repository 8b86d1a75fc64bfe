"""The tables, one schema for SQLite and PostgreSQL. They may live beside a clinic's own tables: every name has our
prefix.

``lane`` is the lock: whoever moves a delivery, or changes what is known under its identity, holds the row of its lane.
``delivery`` is the hot table; bodies are kept apart, compressed, one blob for what one call brought for one lane.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from fhirbridge.ledger.states import FAILED, OPEN, Action, Server, State

# The newest migration. A test holds it to migrations/versions.
VERSION = "0001"
VERSION_TABLE = "fhirbridge_version"

# SQLite counts rows only in a column whose type is exactly INTEGER.
Number = BigInteger().with_variant(Integer, "sqlite")


def _one_of(name: str, values: Iterable[str]) -> str:
    # SQLite builds a table anew for every row that it checks against IN: four microseconds, as much as the row itself.
    return "(" + " OR ".join(f"{name} = '{value}'" for value in sorted(values)) + ")"


IS_FAILED = text(_one_of("state", FAILED))

metadata = MetaData()

meta = Table(
    "fhirbridge_meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

lane = Table(
    "fhirbridge_lane",
    metadata,
    Column("id", Number, primary_key=True),
    Column("site", Text, nullable=False),
    Column("key", Text, nullable=False),
    # 0: holds something urgent, goes first; 1: does not.
    Column("priority", Integer, nullable=False),
    # When it has something to hand out; NULL: nothing open.
    Column("ready_at", Double),
    Column("fence", Number, nullable=False),
    Column("worker", Text),
    Column("until", Double),
    # What the worker was handed and has not settled.
    Column("held", Integer, nullable=False),
    UniqueConstraint("site", "key", name="fhirbridge_lane_key"),
    CheckConstraint("(worker IS NULL) = (until IS NULL)", name="fhirbridge_lane_lease"),
    CheckConstraint("held >= 0", name="fhirbridge_lane_held"),
)
FREE = text("worker IS NULL AND ready_at IS NOT NULL")
LEASED = text("worker IS NOT NULL")
Index("fhirbridge_lane_free", lane.c.site, lane.c.priority, lane.c.ready_at, sqlite_where=FREE, postgresql_where=FREE)
Index("fhirbridge_lane_leased", lane.c.site, lane.c.until, sqlite_where=LEASED, postgresql_where=LEASED)

resource = Table(
    "fhirbridge_resource",
    metadata,
    Column("id", Number, primary_key=True),
    Column("site", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("lane", Number, ForeignKey(lane.c.id), nullable=False),
    Column("resource_type", Text, nullable=False),
    Column("resource_id", Text, nullable=False),
    # The newest revision that was offered, though its content may be that of an older one.
    Column("revision", Text, nullable=False),
    Column("rank", Text, nullable=False),
    Column("withdrawn", Boolean, nullable=False),
    Column("server", Text, nullable=False),
    Column("version", Text),
    Column("server_id", Text),
    # The delivery that the site acknowledged last.
    Column("acked", Number),
    UniqueConstraint("site", "kind", "record", "role", "generation", name="fhirbridge_resource_identity"),
    CheckConstraint(_one_of("server", Server), name="fhirbridge_resource_server"),
)
Index("fhirbridge_resource_address", resource.c.site, resource.c.resource_type, resource.c.resource_id)

payload = Table(
    "fhirbridge_payload",
    metadata,
    Column("id", Number, primary_key=True),
    Column("lane", Number, ForeignKey(lane.c.id), nullable=False),
    Column("codec", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

bundle = Table(
    "fhirbridge_bundle",
    metadata,
    Column("id", Text, primary_key=True),
    Column("lane", Number, ForeignKey(lane.c.id), nullable=False),
    Column("worker", Text, nullable=False),
    Column("fence", Number, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("entries", Integer, nullable=False),
    Column("digest", Text, nullable=False),
    Column("begun_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("outcome", Text),
)

delivery = Table(
    "fhirbridge_delivery",
    metadata,
    Column("id", Number, primary_key=True),
    Column("resource", Number, ForeignKey(resource.c.id), nullable=False),
    Column("lane", Number, ForeignKey(lane.c.id), nullable=False),
    Column("state", Text, nullable=False),
    Column("event", Double, nullable=False),
    Column("next_at", Double, nullable=False),
    Column("settled_at", Double),
    Column("attempts", Integer, nullable=False),
    Column("looks", Integer, nullable=False),
    Column("bundle", Text),
    Column("reason", Text, nullable=False),
    Column("version", Text),
    Column("revision", Text, nullable=False),
    Column("rank", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("mapping", Text, nullable=False),
    Column("urgent", Boolean, nullable=False),
    Column("run", Text, nullable=False),
    Column("enqueued_at", Double, nullable=False),
    # Where its body lies: the blob, and the bytes within the unpacked blob.
    Column("payload", Number),
    Column("start", Integer, nullable=False),
    Column("length", Integer, nullable=False),
    CheckConstraint(_one_of("action", Action), name="fhirbridge_delivery_action"),
    CheckConstraint(
        f"(settled_at IS NULL AND {_one_of('state', OPEN)})"
        f" OR (settled_at IS NOT NULL AND {_one_of('state', set(State) - OPEN)})",
        name="fhirbridge_delivery_settled",
    ),
)
# The order in which a lane goes. Its condition does not change while a delivery is claimed and sent, so the index is
# written twice in a delivery's life and not at every move.
IS_OPEN = text("settled_at IS NULL")
IS_URGENT = text("urgent AND settled_at IS NULL")
IS_UNKNOWN = text("state = 'unknown'")
Index(
    "fhirbridge_delivery_open",
    delivery.c.lane,
    delivery.c.event,
    delivery.c.id,
    sqlite_where=IS_OPEN,
    postgresql_where=IS_OPEN,
)
Index("fhirbridge_delivery_urgent", delivery.c.lane, sqlite_where=IS_URGENT, postgresql_where=IS_URGENT)
Index("fhirbridge_delivery_unknown", delivery.c.lane, sqlite_where=IS_UNKNOWN, postgresql_where=IS_UNKNOWN)
Index("fhirbridge_delivery_failed", delivery.c.id, sqlite_where=IS_FAILED, postgresql_where=IS_FAILED)
Index("fhirbridge_delivery_resource", delivery.c.resource, delivery.c.id)
Index("fhirbridge_delivery_run", delivery.c.run)

# What went off the happy path, one row for each delivery; the happy path is told by its bundle.
event = Table(
    "fhirbridge_event",
    metadata,
    Column("id", Number, primary_key=True),
    Column("resource", Number, ForeignKey(resource.c.id), nullable=False),
    Column("delivery", Number),
    Column("at", Double, nullable=False),
    Column("event", Text, nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("bundle", Text),
    Column("reason", Text, nullable=False),
)
Index("fhirbridge_event_resource", event.c.resource)

# What is kept by name: proofs and limits of a site, marks of a source.
kept = Table(
    "fhirbridge_kept",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("at", Double, nullable=False),
)
