"""The tables, one schema for SQLite and PostgreSQL. They may live beside a clinic's own tables: every name has our
prefix.

``lane`` is one patient at one site, ``patient`` the same patient everywhere: they share their key. ``lane`` is the
lock: whoever moves a delivery, or changes what is known under its identity, holds the row of its lane. Whoever decides
on a patient's deliveries, or begins one, shares the row of the patient; whoever changes the patient's consents holds
it. Lanes are locked before patients, each in the order of their numbers. ``delivery`` is the hot table; bodies are kept
apart, compressed and sealed, one blob for what one call brought for one lane.

What says something of a patient is sealed (``seal``, ``body``, ``data``, ``value``), or a keyed hash (``record``,
``digest``); see :mod:`fhirbridge.ledger.seals`.
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
VERSION = "0003"
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

patient = Table(
    "fhirbridge_patient",
    metadata,
    Column("id", Number, primary_key=True),
    Column("key", Text, nullable=False),
    # Grows with every change of the patient's consents.
    Column("version", Integer, nullable=False),
    Column("requested_at", Double),
    # The newest version of which nothing older is under way any more.
    Column("effective_version", Integer, nullable=False),
    Column("effective_at", Double),
    # Proves the version and all consents; NULL while there is none.
    Column("seal", LargeBinary),
    UniqueConstraint("key", name="fhirbridge_patient_key"),
    CheckConstraint("effective_version <= version", name="fhirbridge_patient_effective"),
)
IS_REQUESTED = text("effective_version < version")
Index("fhirbridge_patient_requested", patient.c.id, sqlite_where=IS_REQUESTED, postgresql_where=IS_REQUESTED)

# The consents of a patient, every revision: the clinic's own, and those found at sites.
consent = Table(
    "fhirbridge_consent",
    metadata,
    Column("id", Number, primary_key=True),
    Column("patient", Number, ForeignKey(patient.c.id), nullable=False),
    # The name of a site; "" for the clinic.
    Column("source", Text, nullable=False),
    # NULL: could not be read, the sealed reason says why; or purged.
    Column("body", LargeBinary),
    Column("at", Double, nullable=False),
    # A keyed hash of source, record, revision and content: by it one that is known is told from a new one.
    Column("digest", Text, nullable=False),
    Column("seal", LargeBinary, nullable=False),
    UniqueConstraint("patient", "digest", name="fhirbridge_consent_revision"),
)

# What a gate said, each distinct answer of a patient at a site once.
decision = Table(
    "fhirbridge_decision",
    metadata,
    Column("id", Number, primary_key=True),
    Column("at", Double, nullable=False),
    Column("site", Text, nullable=False),
    Column("patient", Number, ForeignKey(patient.c.id), nullable=False),
    Column("act", Text, nullable=False),
    Column("effect", Text, nullable=False),
    Column("reason", Text, nullable=False),
    # A keyed hash of all that was said.
    Column("digest", Text, nullable=False),
    Column("seal", LargeBinary, nullable=False),
    UniqueConstraint("digest", name="fhirbridge_decision_digest"),
    CheckConstraint(_one_of("effect", ("permit", "deny")), name="fhirbridge_decision_effect"),
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
    # Grows with every claim; 0: nothing of it was ever at the site.
    Column("fence", Number, nullable=False),
    Column("worker", Text),
    Column("until", Double),
    # What the worker was handed and has not settled.
    Column("held", Integer, nullable=False),
    # The version of the patient's consents by which was last decided what of it may go; NULL: nobody ever did.
    Column("consents", Integer),
    # How long a request of the worker may last, in seconds.
    Column("timeout", Double),
    # Until when a worker that lost the lane may still be sending.
    Column("stray_until", Double),
    # An effective version of which nobody has drawn the consequences at this site.
    Column("following", Integer),
    # How many deliveries there are of it, and what proves that.
    Column("deliveries", Integer, nullable=False),
    Column("seal", LargeBinary),
    UniqueConstraint("site", "key", name="fhirbridge_lane_key"),
    CheckConstraint("(worker IS NULL) = (until IS NULL)", name="fhirbridge_lane_lease"),
    CheckConstraint("held >= 0", name="fhirbridge_lane_held"),
)
FREE = text("worker IS NULL AND ready_at IS NOT NULL")
LEASED = text("worker IS NOT NULL")
Index("fhirbridge_lane_free", lane.c.site, lane.c.priority, lane.c.ready_at, sqlite_where=FREE, postgresql_where=FREE)
IS_FOLLOWING = text("following IS NOT NULL")
Index("fhirbridge_lane_patient", lane.c.key)
Index("fhirbridge_lane_following", lane.c.site, sqlite_where=IS_FOLLOWING, postgresql_where=IS_FOLLOWING)
Index("fhirbridge_lane_leased", lane.c.site, lane.c.until, sqlite_where=LEASED, postgresql_where=LEASED)

resource = Table(
    "fhirbridge_resource",
    metadata,
    Column("id", Number, primary_key=True),
    Column("site", Text, nullable=False),
    Column("kind", Text, nullable=False),
    # A keyed hash of the record's id; the id itself is sealed.
    Column("record", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("lane", Number, ForeignKey(lane.c.id), nullable=False),
    Column("resource_type", Text, nullable=False),
    Column("resource_id", Text, nullable=False),
    Column("withdrawn", Boolean, nullable=False),
    Column("server", Text, nullable=False),
    Column("version", Text),
    Column("server_id", Text),
    # The delivery that the site acknowledged last.
    Column("acked", Number),
    # The newest revision that was offered is sealed here, though its content may be that of an older one.
    Column("seal", LargeBinary, nullable=False),
    # Proves what the site is known to hold.
    Column("standing", LargeBinary, nullable=False),
    UniqueConstraint("site", "kind", "record", "role", "generation", name="fhirbridge_resource_identity"),
    CheckConstraint(_one_of("server", Server), name="fhirbridge_resource_server"),
)
Index("fhirbridge_resource_lane", resource.c.lane)
Index("fhirbridge_resource_address", resource.c.site, resource.c.resource_type, resource.c.resource_id)

payload = Table(
    "fhirbridge_payload",
    metadata,
    Column("id", Number, primary_key=True),
    Column("lane", Number, ForeignKey(lane.c.id), nullable=False),
    Column("data", LargeBinary, nullable=False),
    # A number is never given twice, so that an old blob cannot take the place of a newer one.
    sqlite_autoincrement=True,
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
    Column("seal", LargeBinary, nullable=False),
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
    # The one under which it was handed out or blocked.
    Column("decision", Number),
    # When a block may end by itself.
    Column("review_at", Double),
    # The revision, and what a decision on it looks at.
    Column("seal", LargeBinary, nullable=False),
    # Proves how it ended; NULL while it is open.
    Column("mark", LargeBinary),
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
IS_BLOCKED = text("state = 'blocked'")
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
Index(
    "fhirbridge_delivery_blocked",
    delivery.c.lane,
    delivery.c.review_at,
    sqlite_where=IS_BLOCKED,
    postgresql_where=IS_BLOCKED,
)
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
    Column("decision", Number),
    Column("seal", LargeBinary, nullable=False),
)
Index("fhirbridge_event_resource", event.c.resource)

# What is kept by name: proofs and limits of a site; marks of a source, whose names are keyed hashes. The values are
# sealed.
kept = Table(
    "fhirbridge_kept",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("at", Double, nullable=False),
    Column("value", LargeBinary, nullable=False),
)
