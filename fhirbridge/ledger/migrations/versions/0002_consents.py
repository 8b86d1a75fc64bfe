"""Patients, their consents, and what was decided by them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_SETTLED = (
    "(settled_at IS NULL AND (state = 'claimed' OR state = 'in_flight' OR state = 'queued' OR state = "
    "'unknown')) OR (settled_at IS NOT NULL AND (state = 'acked' OR state = 'blocked' OR state = 'parked' OR state = "
    "'rejected' OR state = 'retracted' OR state = 'superseded'))"
)


def upgrade() -> None:
    """Make the tables; what is queued waits for its first decision."""
    _patients()
    _lanes()
    if op.get_bind().dialect.name == "sqlite":
        _deliveries_anew()
    else:
        _deliveries()
    op.create_index(
        "fhirbridge_delivery_blocked",
        "fhirbridge_delivery",
        ["lane", "review_at"],
        unique=False,
        sqlite_where=sa.text("state = 'blocked'"),
        postgresql_where=sa.text("state = 'blocked'"),
    )
    op.add_column("fhirbridge_event", sa.Column("decision", _NUMBER, nullable=True))
    op.create_index("fhirbridge_resource_lane", "fhirbridge_resource", ["lane"], unique=False)


def _patients() -> None:
    op.create_table(
        "fhirbridge_patient",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("requested_at", sa.Double(), nullable=True),
        sa.Column("effective_version", sa.Integer(), nullable=False),
        sa.Column("effective_at", sa.Double(), nullable=True),
        sa.CheckConstraint("effective_version <= version", name="fhirbridge_patient_effective"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key", name="fhirbridge_patient_key"),
    )
    op.create_index(
        "fhirbridge_patient_requested",
        "fhirbridge_patient",
        ["id"],
        unique=False,
        sqlite_where=sa.text("effective_version < version"),
        postgresql_where=sa.text("effective_version < version"),
    )
    op.create_table(
        "fhirbridge_consent",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("patient", _NUMBER, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("rank", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("codec", sa.Text(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.CheckConstraint("(codec IS NULL) = (body IS NULL)", name="fhirbridge_consent_body"),
        sa.ForeignKeyConstraint(["patient"], ["fhirbridge_patient.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("patient", "source", "record", "rank", "content", name="fhirbridge_consent_revision"),
    )
    op.create_table(
        "fhirbridge_decision",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("patient", _NUMBER, nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("effect", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("consents", sa.Text(), nullable=False),
        sa.Column("trail", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.CheckConstraint("(effect = 'deny' OR effect = 'permit')", name="fhirbridge_decision_effect"),
        sa.ForeignKeyConstraint(["patient"], ["fhirbridge_patient.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest", name="fhirbridge_decision_digest"),
    )
    op.execute(
        "INSERT INTO fhirbridge_patient (key, version, effective_version)"
        " SELECT DISTINCT key, 0, 0 FROM fhirbridge_lane"
    )


def _lanes() -> None:
    op.add_column("fhirbridge_lane", sa.Column("consents", sa.Integer(), nullable=True))
    op.add_column("fhirbridge_lane", sa.Column("timeout", sa.Double(), nullable=True))
    op.add_column("fhirbridge_lane", sa.Column("stray_until", sa.Double(), nullable=True))
    op.add_column("fhirbridge_lane", sa.Column("following", sa.Integer(), nullable=True))
    # Nobody has written down how long a request of the workers before could last: longer than any is set to.
    op.execute("UPDATE fhirbridge_lane SET consents = 0, timeout = 600 WHERE fence > 0")
    op.execute(
        "UPDATE fhirbridge_lane SET fence = 1 WHERE fence = 0 AND EXISTS (SELECT 1 FROM fhirbridge_resource"
        " WHERE fhirbridge_resource.lane = fhirbridge_lane.id AND fhirbridge_resource.acked IS NOT NULL)"
    )
    op.create_index("fhirbridge_lane_patient", "fhirbridge_lane", ["key"], unique=False)
    op.create_index(
        "fhirbridge_lane_following",
        "fhirbridge_lane",
        ["site"],
        unique=False,
        sqlite_where=sa.text("following IS NOT NULL"),
        postgresql_where=sa.text("following IS NOT NULL"),
    )


def _deliveries() -> None:
    op.add_column("fhirbridge_delivery", sa.Column("subject", sa.Text(), nullable=False, server_default=""))
    op.alter_column("fhirbridge_delivery", "subject", server_default=None)
    op.add_column("fhirbridge_delivery", sa.Column("decision", _NUMBER, nullable=True))
    op.add_column("fhirbridge_delivery", sa.Column("review_at", sa.Double(), nullable=True))
    op.drop_constraint("fhirbridge_delivery_settled", "fhirbridge_delivery")
    op.create_check_constraint("fhirbridge_delivery_settled", "fhirbridge_delivery", sa.text(_SETTLED))


def _deliveries_anew() -> None:
    """SQLite changes a constraint only by writing the table anew."""
    op.create_table(
        "fhirbridge_delivery_anew",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("resource", _NUMBER, nullable=False),
        sa.Column("lane", _NUMBER, nullable=False),
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
        sa.Column("payload", _NUMBER, nullable=True),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("decision", _NUMBER, nullable=True),
        sa.Column("review_at", sa.Double(), nullable=True),
        sa.CheckConstraint("(action = 'put' OR action = 'retract')", name="fhirbridge_delivery_action"),
        sa.CheckConstraint(_SETTLED, name="fhirbridge_delivery_settled"),
        sa.ForeignKeyConstraint(["lane"], ["fhirbridge_lane.id"]),
        sa.ForeignKeyConstraint(["resource"], ["fhirbridge_resource.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.execute(
        "INSERT INTO fhirbridge_delivery_anew (id, resource, lane, state, event, next_at, settled_at, attempts, looks,"
        " bundle, reason, version, revision, rank, action, content, mapping, urgent, run, enqueued_at, payload, start,"
        " length, subject) SELECT id, resource, lane, state, event, next_at, settled_at, attempts, looks, bundle,"
        " reason, version, revision, rank, action, content, mapping, urgent, run, enqueued_at, payload, start, length,"
        " '' FROM fhirbridge_delivery"
    )
    op.drop_table("fhirbridge_delivery")
    op.rename_table("fhirbridge_delivery_anew", "fhirbridge_delivery")
    _indexes_anew()


def _indexes_anew() -> None:
    """Those of the first version, which went with the table."""
    for name, columns, where in (
        ("failed", ["id"], "(state = 'parked' OR state = 'rejected')"),
        ("open", ["lane", "event", "id"], "settled_at IS NULL"),
        ("resource", ["resource", "id"], None),
        ("run", ["run"], None),
        ("unknown", ["lane"], "state = 'unknown'"),
        ("urgent", ["lane"], "urgent AND settled_at IS NULL"),
    ):
        op.create_index(
            f"fhirbridge_delivery_{name}",
            "fhirbridge_delivery",
            columns,
            unique=False,
            sqlite_where=None if where is None else sa.text(where),
        )
