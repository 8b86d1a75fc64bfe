"""Looking into the ledger: what is known, how things stand, which deliveries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, or_, select

from fhirbridge.errors import VaultError
from fhirbridge.ledger import moves
from fhirbridge.ledger.payload import unpack
from fhirbridge.ledger.schema import FREE, IS_FAILED, IS_OPEN, LEASED, delivery, lane, payload, resource
from fhirbridge.ledger.seals import DELIVERY, RESOURCE, SETTLED, STANDING, Matter, payload_place, unopened
from fhirbridge.ledger.states import OPEN, Action, Server, State
from fhirbridge.ledger.words import Known, Row, Standing, Where
from fhirbridge.vault import Vault

_newest = delivery.alias("newest")
_acked = delivery.alias("acked")
_NEWEST = (
    select(func.max(delivery.c.id)).where(delivery.c.resource == resource.c.id).correlate(resource).scalar_subquery()
)
_KNOWN = (
    select(
        *RESOURCE.columns(),
        *STANDING.columns(prefix="there_"),
        *DELIVERY.columns(_newest, "newest_"),
        *SETTLED.columns(_newest, "end_"),
        *DELIVERY.columns(_acked, "acked_"),
        lane.c.key,
        _acked.c.settled_at.label("acked_at"),
    )
    .join(lane, lane.c.id == resource.c.lane)
    .outerjoin(_newest, _newest.c.id == _NEWEST)
    .outerjoin(_acked, _acked.c.id == resource.c.acked)
)
# Where the parts of a row of it end.
_NAMED = RESOURCE.width
_THERE = _NAMED + STANDING.width
_MATTER = _THERE + DELIVERY.width
_END = _MATTER + SETTLED.width
_ACKED = _END + DELIVERY.width
_BY_RECORD = _KNOWN.where(
    resource.c.site == bindparam("site"),
    resource.c.kind == bindparam("kind"),
    resource.c.record.in_(bindparam("values", expanding=True)),
).order_by(resource.c.id)
_BY_ADDRESS = _KNOWN.where(
    resource.c.site == bindparam("site"),
    resource.c.resource_type == bindparam("kind"),
    resource.c.resource_id.in_(bindparam("values", expanding=True)),
).order_by(resource.c.id)
_OF_PATIENT = _KNOWN.where(
    resource.c.lane
    == select(lane.c.id).where(lane.c.site == bindparam("site"), lane.c.key == bindparam("key")).scalar_subquery()
).order_by(resource.c.id)
_PATIENTS = (
    select(lane.c.key)
    .join(resource, resource.c.lane == lane.c.id)
    .where(resource.c.kind == bindparam("kind"), resource.c.record == bindparam("record"))
    .distinct()
    .order_by(lane.c.key)
)
_PAGE = (
    _KNOWN.where(resource.c.site == bindparam("site"), resource.c.id > bindparam("after"))
    .order_by(resource.c.id)
    .limit(bindparam("most"))
)
_BODY = (
    select(*DELIVERY.columns(), payload.c.lane.label("on"), payload.c.data, lane.c.key)
    .join(payload, payload.c.id == delivery.c.payload)
    .join(lane, lane.c.id == delivery.c.lane)
    .where(delivery.c.id.in_(bindparam("ids", expanding=True)))
)
_ROW = (
    select(
        *DELIVERY.columns(),
        *RESOURCE.columns(prefix="of_"),
        lane.c.key,
        delivery.c.state,
        delivery.c.reason,
        delivery.c.attempts,
        delivery.c.looks,
        delivery.c.next_at,
        delivery.c.settled_at,
        delivery.c.bundle,
        delivery.c.version,
        delivery.c.decision,
        delivery.c.review_at,
    )
    .join(resource, resource.c.id == delivery.c.resource)
    .join(lane, lane.c.id == delivery.c.lane)
)


def known(connection: Connection, vault: Vault, site: str, records: Iterable[tuple[str, str]]) -> list[Known]:
    """Every role and generation of (kind, record)s."""
    hashed = [(kind, vault.token(record)) for kind, record in set(records)]
    return list(_known(connection, vault, _BY_RECORD, site, hashed))


def at_address(connection: Connection, vault: Vault, site: str, addresses: Iterable[tuple[str, str]]) -> list[Known]:
    """The identities of (resource type, resource id)s."""
    return list(_known(connection, vault, _BY_ADDRESS, site, addresses))


def _known(
    connection: Connection, vault: Vault, statement: Select[Any], site: str, pairs: Iterable[tuple[str, str]]
) -> Iterator[Known]:
    for kind, several in groupby(sorted(set(pairs)), key=lambda pair: pair[0]):
        for chunk in moves.chunks([value for _, value in several]):
            for row in connection.execute(statement, {"site": site, "kind": kind, "values": chunk}):
                yield _as_known(vault, row)


def of_patient(connection: Connection, vault: Vault, site: str, key: str) -> list[Known]:
    """Every identity of a patient at a site."""
    return [_as_known(vault, row) for row in connection.execute(_OF_PATIENT, {"site": site, "key": key})]


def patients_of(connection: Connection, vault: Vault, kind: str, record: str) -> list[str]:
    """The keys of the patients whose a record is or was."""
    return list(connection.execute(_PATIENTS, {"kind": kind, "record": vault.token(record)}).scalars())


def page(connection: Connection, vault: Vault, site: str, after: int, most: int) -> list[Known]:
    """The next identities of a site behind ``after``, by their numbers."""
    rows = connection.execute(_PAGE, {"site": site, "after": after, "most": most})
    return [_as_known(vault, row) for row in rows]


def _as_known(vault: Vault, row: Any) -> Known:
    named = RESOURCE.open(vault, row.key, row[:_NAMED])
    STANDING.check(vault, row[_NAMED:_THERE])
    newest = None if row.newest_id is None else DELIVERY.open(vault, row.key, row[_THERE:_MATTER])
    if newest is not None and row.end_state not in OPEN:
        SETTLED.check(vault, row[_MATTER:_END])
    acked = None if row.acked_id is None else DELIVERY.open(vault, row.key, row[_END:_ACKED])
    return Known(
        resource=row.id,
        kind=row.kind,
        record=named.record,
        role=row.role,
        generation=row.generation,
        lane=row.key,
        resource_type=row.resource_type,
        resource_id=row.resource_id,
        server=Server(row.there_server),
        version=row.there_version,
        server_id=row.there_server_id,
        withdrawn=row.withdrawn,
        revision=named.revision,
        acked=row.there_acked,
        acked_revision=None if acked is None else acked.revision,
        acked_content=row.acked_content,
        acked_mapping=row.acked_mapping,
        acked_at=row.acked_at,
        newest=row.newest_id,
        state=None if newest is None else State(row.end_state),
        reason=row.end_reason or "",
        action=None if newest is None else Action(row.newest_action),
        content=row.newest_content,
        mapping=row.newest_mapping,
        subject=(acked or newest or Matter("", "")).subject,
    )


def bodies(connection: Connection, vault: Vault, ids: Iterable[int]) -> dict[int, bytes]:
    """The kept bodies of deliveries, by their numbers; those without one are left out."""
    found = {}
    for chunk in moves.chunks(sorted(set(ids))):
        for row in connection.execute(_BODY, {"ids": chunk}):
            DELIVERY.open(vault, row.key, row[: DELIVERY.width])
            try:
                blob = unpack(vault, row.key, payload_place(row.payload, row.on), row.data)
            except VaultError as error:
                raise unopened(payload, row.payload, error) from None
            found[row.id] = blob[row.start : row.start + row.length]
    return found


def conditions(vault: Vault, where: Where) -> list[ColumnElement[bool]]:
    """What ``where`` says, over ``delivery`` joined with ``resource``."""
    pairs = (
        (resource.c.site, where.site),
        (resource.c.kind, where.kind),
        (resource.c.record, None if where.record is None else vault.token(where.record)),
        (resource.c.role, where.role),
        (resource.c.resource_type, where.resource_type),
        (delivery.c.run, where.run),
    )
    found: list[ColumnElement[bool]] = [column == value for column, value in pairs if value is not None]
    if where.reason is not None:
        found.append(delivery.c.reason.startswith(where.reason, autoescape=True))
    if where.states:
        found.append(delivery.c.state.in_(where.states))
    if where.ids:
        found.append(delivery.c.id.in_(where.ids))
    if where.since is not None:
        found.append(delivery.c.enqueued_at >= where.since)
    if where.until is not None:
        found.append(delivery.c.enqueued_at <= where.until)
    return found


def find(connection: Connection, vault: Vault, where: Where, after: int, limit: int) -> list[Row]:
    """Deliveries by number behind ``after``."""
    statement = _ROW.where(delivery.c.id > after, *conditions(vault, where)).order_by(delivery.c.id).limit(limit)
    return [_as_row(vault, row) for row in connection.execute(statement)]


def _as_row(vault: Vault, row: Any) -> Row:
    matter = DELIVERY.open(vault, row.key, row[: DELIVERY.width])
    named = RESOURCE.open(vault, row.key, row[DELIVERY.width : DELIVERY.width + RESOURCE.width])
    return Row(
        id=row.id,
        resource=row.resource,
        site=row.of_site,
        kind=row.of_kind,
        record=named.record,
        role=row.of_role,
        generation=row.of_generation,
        revision=matter.revision,
        action=Action(row.action),
        resource_type=row.of_resource_type,
        resource_id=row.of_resource_id,
        content=row.content,
        mapping=row.mapping,
        run=row.run,
        urgent=row.urgent,
        state=State(row.state),
        reason=row.reason,
        attempts=row.attempts,
        looks=row.looks,
        next_at=row.next_at,
        enqueued_at=row.enqueued_at,
        settled_at=row.settled_at,
        bundle=row.bundle,
        version=row.version,
        decision=row.decision,
        review_at=row.review_at,
    )


def of_run(connection: Connection, run: str, site: str | None) -> dict[State, int]:
    """How many deliveries of a run stand where."""
    statement = select(delivery.c.state, func.count()).where(delivery.c.run == run).group_by(delivery.c.state)
    if site is not None:
        statement = statement.join(resource, resource.c.id == delivery.c.resource).where(resource.c.site == site)
    return {State(state): count for state, count in connection.execute(statement)}


def standing(connection: Connection, site: str | None) -> Standing:
    """Counts and ages, of one site or of all."""
    mine = [] if site is None else [resource.c.site == site]
    counted = (
        select(resource.c.site, resource.c.kind, delivery.c.state, func.count())
        .join(resource, resource.c.id == delivery.c.resource)
        .where(*mine)
        .group_by(resource.c.site, resource.c.kind, delivery.c.state)
    )
    counts: Mapping[tuple[str, str, State], int] = {
        (where, kind, State(state)): count for where, kind, state, count in connection.execute(counted)
    }
    held = select(func.count()).select_from(lane)
    if site is not None:
        held = held.where(lane.c.site == site)
    return Standing(
        counts,
        _oldest(connection, mine),
        _oldest(connection, [*mine, delivery.c.urgent]),
        connection.execute(held.where(LEASED)).scalar_one(),
        connection.execute(held.where(FREE)).scalar_one(),
    )


def _oldest(connection: Connection, conditions: list[ColumnElement[bool]]) -> float | None:
    statement = (
        select(func.min(delivery.c.enqueued_at))
        .join(resource, resource.c.id == delivery.c.resource)
        .where(or_(IS_OPEN, IS_FAILED), *conditions)
    )
    return connection.execute(statement).scalar()
