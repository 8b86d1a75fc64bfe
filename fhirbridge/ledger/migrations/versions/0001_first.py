"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "fhirbridge_kept",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "name"),
    )
    op.create_table(
        "fhirbridge_lane",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("ready_at", sa.Double(), nullable=True),
        sa.Column("fence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("until", sa.Double(), nullable=True),
        sa.Column("held", sa.Integer(), nullable=False),
        sa.CheckConstraint("(worker IS NULL) = (until IS NULL)", name="fhirbridge_lane_lease"),
        sa.CheckConstraint("held >= 0", name="fhirbridge_lane_held"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("site", "key", name="fhirbridge_lane_key"),
    )
    op.create_index(
        "fhirbridge_lane_free",
        "fhirbridge_lane",
        ["site", "priority", "ready_at"],
        unique=False,
        sqlite_where=sa.text("worker IS NULL AND ready_at IS NOT NULL"),
        postgresql_where=sa.text("worker IS NULL AND ready_at IS NOT NULL"),
    )
    op.create_index(
        "fhirbridge_lane_leased",
        "fhirbridge_lane",
        ["site", "until"],
        unique=False,
        sqlite_where=sa.text("worker IS NOT NULL"),
        postgresql_where=sa.text("worker IS NOT NULL"),
    )
    op.create_table(
        "fhirbridge_meta",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "fhirbridge_bundle",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("lane", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("begun_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["lane"],
            ["fhirbridge_lane.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "fhirbridge_payload",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("lane", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("codec", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["lane"],
            ["fhirbridge_lane.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "fhirbridge_resource",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("lane", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("resource_type", sa.Text(), nullable=False),
        sa.Column("resource_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("rank", sa.Text(), nullable=False),
        sa.Column("withdrawn", sa.Boolean(), nullable=False),
        sa.Column("server", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("server_id", sa.Text(), nullable=True),
        sa.Column("acked", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.CheckConstraint(
            "(server = 'absent' OR server = 'conflict' OR server = 'gone' OR server = 'present' OR server = "
            "'retracted' OR server = 'unseen')",
            name="fhirbridge_resource_server",
        ),
        sa.ForeignKeyConstraint(
            ["lane"],
            ["fhirbridge_lane.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("site", "kind", "record", "role", "generation", name="fhirbridge_resource_identity"),
    )
    op.create_index(
        "fhirbridge_resource_address", "fhirbridge_resource", ["site", "resource_type", "resource_id"], unique=False
    )
    op.create_table(
        "fhirbridge_delivery",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("resource", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("lane", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("event", sa.Double(), nullable=False),
        sa.Column("next_at", sa.Double(), nullable=False),
        sa.Column("settled_at", sa.Double(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("looks", sa.Integer(), nullable=False),
        sa.Column("bundle", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("rank", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("mapping", sa.Text(), nullable=False),
        sa.Column("urgent", sa.Boolean(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("enqueued_at", sa.Double(), nullable=False),
        sa.Column("payload", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.CheckConstraint("(action = 'put' OR action = 'retract')", name="fhirbridge_delivery_action"),
        sa.CheckConstraint(
            "(settled_at IS NULL AND (state = 'claimed' OR state = 'in_flight' OR state = 'queued' OR state = "
            "'unknown')) OR (settled_at IS NOT NULL AND (state = 'acked' OR state = 'parked' OR state = 'rejected' OR "
            "state = 'retracted' OR state = 'superseded'))",
            name="fhirbridge_delivery_settled",
        ),
        sa.ForeignKeyConstraint(
            ["lane"],
            ["fhirbridge_lane.id"],
        ),
        sa.ForeignKeyConstraint(
            ["resource"],
            ["fhirbridge_resource.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "fhirbridge_delivery_failed",
        "fhirbridge_delivery",
        ["id"],
        unique=False,
        sqlite_where=sa.text("(state = 'parked' OR state = 'rejected')"),
        postgresql_where=sa.text("(state = 'parked' OR state = 'rejected')"),
    )
    op.create_index(
        "fhirbridge_delivery_open",
        "fhirbridge_delivery",
        ["lane", "event", "id"],
        unique=False,
        sqlite_where=sa.text("settled_at IS NULL"),
        postgresql_where=sa.text("settled_at IS NULL"),
    )
    op.create_index("fhirbridge_delivery_resource", "fhirbridge_delivery", ["resource", "id"], unique=False)
    op.create_index("fhirbridge_delivery_run", "fhirbridge_delivery", ["run"], unique=False)
    op.create_index(
        "fhirbridge_delivery_unknown",
        "fhirbridge_delivery",
        ["lane"],
        unique=False,
        sqlite_where=sa.text("state = 'unknown'"),
        postgresql_where=sa.text("state = 'unknown'"),
    )
    op.create_index(
        "fhirbridge_delivery_urgent",
        "fhirbridge_delivery",
        ["lane"],
        unique=False,
        sqlite_where=sa.text("urgent AND settled_at IS NULL"),
        postgresql_where=sa.text("urgent AND settled_at IS NULL"),
    )
    op.create_table(
        "fhirbridge_event",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("resource", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("delivery", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("after", sa.Text(), nullable=True),
        sa.Column("bundle", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["resource"],
            ["fhirbridge_resource.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("fhirbridge_event_resource", "fhirbridge_event", ["resource"], unique=False)
