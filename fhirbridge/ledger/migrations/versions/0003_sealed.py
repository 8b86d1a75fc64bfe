"""What says something of a patient is sealed, and every row that matters carries a proof.

All that is sealed here is written down in this module, whatever later versions do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import context, op

from fhirbridge.vault import Vault

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

Row = dict[str, Any]
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
# Bodies come in blobs of 256 KB.
_BATCH, _FEW = 1_000, 100
_SETTLED = (
    "(settled_at IS NULL AND (state = 'claimed' OR state = 'in_flight' OR state = 'queued' OR state = "
    "'unknown')) OR (settled_at IS NOT NULL AND (state = 'acked' OR state = 'blocked' OR state = 'parked' OR state = "
    "'rejected' OR state = 'retracted' OR state = 'superseded'))"
)
_SERVER = (
    "(server = 'absent' OR server = 'conflict' OR server = 'gone' OR server = 'present' OR server = 'retracted' OR"
    " server = 'unseen')"
)
# To what the sealed part of a row is bound.
_RESOURCE = ("id", "site", "kind", "record", "role", "generation", "lane", "resource_type", "resource_id", "withdrawn")
_DELIVERY = (
    *("id", "resource", "lane", "event", "action", "content", "mapping", "urgent", "run", "enqueued_at"),
    *("payload", "start", "length"),
)
_CONSENT = ("id", "patient", "source", "at", "digest")
_DECISION = ("id", "at", "site", "patient", "act", "effect", "reason", "digest")
# What a mark proves.
_STANDING = ("id", "server", "version", "server_id", "acked")
_END = ("id", "state", "settled_at", "version", "bundle", "reason")
_BUNDLE = ("id", "lane", "worker", "fence", "attempt", "entries", "digest", "begun_at")
_EVENT = ("resource", "delivery", "at", "event", "before", "after", "bundle", "reason", "decision")
_OPEN = ("queued", "claimed", "in_flight", "unknown")


def upgrade() -> None:
    """Seal what is there, table by table, in the one transaction of the upgrade."""
    sealing = _Sealing(context.config.attributes["vault"], op.get_bind())
    anew = _anew if op.get_bind().dialect.name == "sqlite" else _altered
    _proofs(sealing)
    anew("kept", sealing.kept, _FEW)
    anew("payload", sealing.payload, _FEW)
    anew("consent", sealing.consent, _FEW)
    anew("decision", sealing.decision, _BATCH)
    anew("resource", sealing.resource, _BATCH)
    anew("delivery", sealing.delivery, _BATCH)
    sealing.patients()
    if sealing.some:
        # The file is to be written anew, or what was in clear stays in its free pages.
        op.execute("INSERT INTO fhirbridge_meta (name, value) VALUES ('leftovers', '0002')")


class _Sealing:
    """Makes the new rows of the old ones."""

    def __init__(self, vault: Vault, bind: sa.Connection) -> None:
        self._vault, self._bind = vault, bind
        self.some = False

    def _seal(self, owner: str, table: str, bound: tuple[str, ...], row: Row, *hidden: str) -> bytes:
        self.some = True
        place = (f"fhirbridge_{table}", "seal", *[row[name] for name in bound])
        return self._vault.seal(owner, place, msgspec.msgpack.encode(hidden))

    def _mark(self, table: str, column: str, bound: tuple[str, ...], row: Mapping[str, Any]) -> bytes:
        return self._vault.mark((f"fhirbridge_{table}", column, *[row[name] for name in bound]))

    def kept(self, row: Row) -> Row:
        name = self._vault.token(row["name"]) if row["scope"] == "marks" else row["name"]
        place = ("fhirbridge_kept", row["scope"], name)
        self.some = True
        return row | {"name": name, "value": self._vault.seal("", place, row["value"].encode())}

    def payload(self, row: Row) -> Row:
        place = ("fhirbridge_payload", row["id"], row["lane"])
        data = self._vault.seal(row["owner"], place, row["data"])
        return {"id": row["id"], "lane": row["lane"], "data": data}

    def consent(self, row: Row) -> Row:
        said = (row["owner"], row["source"], row["record"], row["rank"], row["content"])
        new = {name: row[name] for name in ("id", "patient", "source", "at")}
        new["digest"] = self._vault.mark(("fhirbridge_consent", "digest", *said)).hex()
        hidden = [row[name] for name in ("record", "revision", "rank", "content", "reason")]
        new["seal"] = self._seal(row["owner"], "consent", _CONSENT, new, *hidden)
        place = ("fhirbridge_consent", "body", row["id"], new["digest"])
        return new | {"body": None if row["body"] is None else self._vault.seal(row["owner"], place, row["body"])}

    def decision(self, row: Row) -> Row:
        said = (row["site"], row["patient"], row["act"], row["effect"] == "permit", row["reason"])
        digest = self._vault.mark(("fhirbridge_decision", "digest", *said, row["consents"], row["trail"])).hex()
        new = {name: row[name] for name in _DECISION} | {"digest": digest}
        return new | {"seal": self._seal(row["owner"], "decision", _DECISION, new, row["consents"], row["trail"])}

    def resource(self, row: Row) -> Row:
        new = {name: row[name] for name in (*_RESOURCE, *_STANDING[1:])} | {
            "record": self._vault.token(row["record"]),
            "withdrawn": bool(row["withdrawn"]),
        }
        new["seal"] = self._seal(row["owner"], "resource", _RESOURCE, new, row["record"], row["revision"], row["rank"])
        return new | {"standing": self._mark("resource", "standing", _STANDING, new)}

    def delivery(self, row: Row) -> Row:
        new = {name: row[name] for name in row if name not in ("owner", "revision", "rank", "subject")}
        new["urgent"] = bool(new["urgent"])
        new["seal"] = self._seal(row["owner"], "delivery", _DELIVERY, new, row["revision"], row["subject"])
        return new | {"mark": None if row["state"] in _OPEN else self._mark("delivery", "mark", _END, new)}

    def marked(self, table: str, bound: tuple[str, ...]) -> None:
        """Proofs for rows that hide nothing."""
        there = _reflected(self._bind, table)
        hashed: dict[str, Any] = {"digest": sa.bindparam("hashed")} if "digest" in bound else {}
        change = sa.update(there).where(there.c.id == sa.bindparam("it")).values(seal=sa.bindparam("proof"), **hashed)
        for rows in _batches(self._bind, there, sa.select(there), _BATCH):
            new = [row | {one: self._vault.token(row[one]) for one in hashed} for row in rows]
            proofs = [{"it": row["id"], "proof": self._mark(table, "seal", bound, row)} for row in new]
            self._bind.execute(
                change, [proof | {"hashed": row.get("digest")} for proof, row in zip(proofs, new, strict=True)]
            )

    def tallies(self) -> None:
        """How many deliveries each lane has."""
        lane, delivery = _reflected(self._bind, "lane"), _reflected(self._bind, "delivery")
        counted = (
            sa.select(lane.c.id, lane.c.site, lane.c.key, sa.func.count().label("deliveries"))
            .join(delivery, delivery.c.lane == lane.c.id)
            .group_by(lane.c.id, lane.c.site, lane.c.key)
        )
        change = (
            sa.update(lane)
            .where(lane.c.id == sa.bindparam("it"))
            .values(deliveries=sa.bindparam("count"), seal=sa.bindparam("proof"))
        )
        for row in self._bind.execute(counted).mappings().all():
            proof = self._mark("lane", "seal", ("id", "site", "key", "deliveries"), dict(row))
            self._bind.execute(change, {"it": row["id"], "count": row["deliveries"], "proof": proof})

    def patients(self) -> None:
        """The proof of all consents of each patient."""
        patient, consent = _reflected(self._bind, "patient"), _reflected(self._bind, "consent")
        papers = (
            sa.select(patient.c.id, patient.c.key, patient.c.version, consent.c.id.label("number"), consent.c.digest)
            .join(consent, consent.c.patient == patient.c.id)
            .order_by(patient.c.id, consent.c.id)
        )
        change = sa.update(patient).where(patient.c.id == sa.bindparam("it")).values(seal=sa.bindparam("proof"))
        rows = self._bind.execute(papers).all()
        for (number, key, version), several in groupby(rows, key=lambda row: tuple(row[:3])):
            named = [part for row in several for part in (row.number, row.digest)]
            proof = self._vault.mark(("fhirbridge_patient", "seal", number, key, version, *named))
            self._bind.execute(change, {"it": number, "proof": proof})


def _proofs(sealing: _Sealing) -> None:
    """The columns of the tables that hide nothing."""
    empty = sa.text("x''" if op.get_bind().dialect.name == "sqlite" else "''::bytea")
    op.add_column("fhirbridge_patient", sa.Column("seal", sa.LargeBinary(), nullable=True))
    op.add_column("fhirbridge_lane", sa.Column("deliveries", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("fhirbridge_lane", sa.Column("seal", sa.LargeBinary(), nullable=True))
    for name in ("bundle", "event"):
        column = sa.Column("seal", sa.LargeBinary(), nullable=False, server_default=empty)
        op.add_column(f"fhirbridge_{name}", column)
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column("fhirbridge_lane", "deliveries", server_default=None)
        op.alter_column("fhirbridge_bundle", "seal", server_default=None)
        op.alter_column("fhirbridge_event", "seal", server_default=None)
    sealing.marked("bundle", _BUNDLE)
    sealing.marked("event", _EVENT)
    sealing.tallies()


def _reflected(bind: sa.Connection, name: str) -> sa.Table:
    return sa.Table(f"fhirbridge_{name}", sa.MetaData(), autoload_with=bind, resolve_fks=False)


def _batches(bind: sa.Connection, there: sa.Table, rows: sa.Select[Any], size: int) -> Iterator[list[Row]]:
    """The rows of a table by number, each batch read before the next is asked for."""
    after: int | None = None
    while True:
        page = rows if after is None else rows.where(there.c.id > after)
        found = [dict(row) for row in bind.execute(page.order_by(there.c.id).limit(size)).mappings()]
        if not found:
            return
        yield found
        after = found[-1]["id"]


def _read(bind: sa.Connection, name: str, size: int) -> Iterator[list[Row]]:
    """The rows of a table, each with the key of its patient as ``owner``."""
    there = _reflected(bind, name)
    rows = sa.select(there)
    if name == "kept":
        # Few rows, and their names change.
        return iter([[dict(row) for row in bind.execute(rows).mappings()]])
    for of in ("lane", "patient"):
        if of in there.c:
            owners = _reflected(bind, of)
            rows = rows.add_columns(owners.c.key.label("owner")).join(owners, owners.c.id == there.c[of])
    return _batches(bind, there, rows, size)


Make = Callable[[Row], Row]


def _altered(name: str, make: Make, size: int) -> None:
    """PostgreSQL changes a table in place."""
    bind, table = op.get_bind(), f"fhirbridge_{name}"
    added = [column for column in _columns(name) if column.name in _ADDED[name]]
    for column in added:
        op.add_column(table, sa.Column(column.name, column.type, nullable=True))
    if name == "consent":
        op.drop_constraint("fhirbridge_consent_revision", table)
        op.drop_constraint("fhirbridge_consent_body", table)
    there = _reflected(bind, name)
    keys = [column.name for column in there.primary_key.columns]
    for rows in _read(bind, name, size):
        made = [make(row) for row in rows]
        if not made:
            continue
        changed = [one for one in made[0] if one != "sealed" and (one in _ADDED[name] or one in _CHANGED[name])]
        change = (
            sa.update(there)
            .where(*[there.c[one] == sa.bindparam(f"old_{one}") for one in keys])
            .values({there.c[_at(one, name)]: sa.bindparam(f"new_{one}") for one in changed})
        )
        values = [
            {f"new_{one}": new[one] for one in changed} | {f"old_{one}": old[one] for one in keys}
            for old, new in zip(rows, made, strict=True)
        ]
        bind.execute(change, values)
    for one in _DROPPED[name]:
        op.drop_column(table, one)
    if name == "kept":
        op.alter_column(table, "sealed", new_column_name="value")
    for column in added:
        if not column.nullable:
            op.alter_column(table, "value" if name == "kept" else column.name, nullable=False)
    if name == "consent":
        op.create_unique_constraint("fhirbridge_consent_revision", table, ["patient", "digest"])


def _at(column: str, name: str) -> str:
    # Its type changes, so it is made under another name first.
    return "sealed" if (name, column) == ("kept", "value") else column


_ADDED = {
    "kept": ("sealed", "value"),
    "payload": (),
    "consent": ("digest", "seal"),
    "decision": ("seal",),
    "resource": ("seal", "standing"),
    "delivery": ("seal", "mark"),
}
_CHANGED = {
    "kept": ("name",),
    "payload": ("data",),
    "consent": ("body",),
    "decision": ("digest",),
    "resource": ("record",),
    "delivery": (),
}
_DROPPED = {
    "kept": ("value",),
    "payload": ("codec",),
    "consent": ("record", "revision", "rank", "content", "codec", "reason"),
    "decision": ("consents", "trail"),
    "resource": ("revision", "rank"),
    "delivery": ("revision", "rank", "subject"),
}


def _anew(name: str, make: Make, size: int) -> None:
    """SQLite changes columns and constraints only by writing the table anew."""
    bind, table = op.get_bind(), f"fhirbridge_{name}"
    columns = _columns(name, value="value")
    options = {"sqlite_autoincrement": True} if name == "payload" else {}
    made = op.create_table(f"{table}_anew", *columns, *_constraints(name), **options)
    for rows in _read(bind, name, size):
        if rows:
            bind.execute(sa.insert(made), [make(row) for row in rows])
    op.drop_table(table)
    op.rename_table(f"{table}_anew", table)
    for index, indexed, where in _INDEXES.get(name, ()):
        op.create_index(
            f"{table}_{index}", table, indexed, unique=False, sqlite_where=None if where is None else sa.text(where)
        )


def _columns(name: str, value: str = "sealed") -> list[sa.Column[Any]]:
    """The columns as they are from this version on; ``value`` is what that of ``kept`` is called for now."""

    def column(called: str, kind: Any, nullable: bool = False) -> sa.Column[Any]:
        return sa.Column(called, kind, nullable=nullable)

    text, number, blob, whole, truth = sa.Text(), _NUMBER, sa.LargeBinary(), sa.Integer(), sa.Boolean()
    double: Any = sa.Double()
    columns: dict[str, list[sa.Column[Any]]] = {
        "kept": [column("scope", text), column("name", text), column("at", double), column(value, blob)],
        "payload": [column("id", number), column("lane", number), column("data", blob)],
        "consent": [
            *(column("id", number), column("patient", number), column("source", text), column("body", blob, True)),
            *(column("at", double), column("digest", text), column("seal", blob)),
        ],
        "decision": [
            *(column("id", number), column("at", double), column("site", text), column("patient", number)),
            *(column(one, text) for one in ("act", "effect", "reason", "digest")),
            column("seal", blob),
        ],
        "resource": [
            *(column("id", number), column("site", text), column("kind", text), column("record", text)),
            *(column("role", text), column("generation", whole), column("lane", number)),
            *(column("resource_type", text), column("resource_id", text), column("withdrawn", truth)),
            *(column("server", text), column("version", text, True), column("server_id", text, True)),
            *(column("acked", number, True), column("seal", blob), column("standing", blob)),
        ],
        "delivery": [
            *(column("id", number), column("resource", number), column("lane", number), column("state", text)),
            *(column("event", double), column("next_at", double), column("settled_at", double, True)),
            *(column("attempts", whole), column("looks", whole), column("bundle", text, True)),
            *(column("reason", text), column("version", text, True)),
            *(column(one, text) for one in ("action", "content", "mapping")),
            *(column("urgent", truth), column("run", text), column("enqueued_at", double)),
            *(column("payload", number, True), column("start", whole), column("length", whole)),
            *(column("decision", number, True), column("review_at", double, True)),
            *(column("seal", blob), column("mark", blob, True)),
        ],
    }
    return columns[name]


def _constraints(name: str) -> list[Any]:
    lane = sa.ForeignKeyConstraint(["lane"], ["fhirbridge_lane.id"])
    patient = sa.ForeignKeyConstraint(["patient"], ["fhirbridge_patient.id"])
    of = ("site", "kind", "record", "role", "generation")
    own: dict[str, list[Any]] = {
        "kept": [],
        "payload": [lane],
        "consent": [patient, sa.UniqueConstraint("patient", "digest", name="fhirbridge_consent_revision")],
        "decision": [
            patient,
            sa.UniqueConstraint("digest", name="fhirbridge_decision_digest"),
            sa.CheckConstraint("(effect = 'deny' OR effect = 'permit')", name="fhirbridge_decision_effect"),
        ],
        "resource": [
            lane,
            sa.UniqueConstraint(*of, name="fhirbridge_resource_identity"),
            sa.CheckConstraint(_SERVER, name="fhirbridge_resource_server"),
        ],
        "delivery": [
            lane,
            sa.ForeignKeyConstraint(["resource"], ["fhirbridge_resource.id"]),
            sa.CheckConstraint("(action = 'put' OR action = 'retract')", name="fhirbridge_delivery_action"),
            sa.CheckConstraint(_SETTLED, name="fhirbridge_delivery_settled"),
        ],
    }
    return [sa.PrimaryKeyConstraint(*(("scope", "name") if name == "kept" else ("id",))), *own[name]]


_INDEXES: dict[str, tuple[tuple[str, list[str], str | None], ...]] = {
    "resource": (
        ("address", ["site", "resource_type", "resource_id"], None),
        ("lane", ["lane"], None),
    ),
    "delivery": (
        ("blocked", ["lane", "review_at"], "state = 'blocked'"),
        ("failed", ["id"], "(state = 'parked' OR state = 'rejected')"),
        ("open", ["lane", "event", "id"], "settled_at IS NULL"),
        ("resource", ["resource", "id"], None),
        ("run", ["run"], None),
        ("unknown", ["lane"], "state = 'unknown'"),
        ("urgent", ["lane"], "urgent AND settled_at IS NULL"),
    ),
}
