"""Looking into the ledger: what is known, how things stand, which deliveries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, or_, select

from fhirbridge.ledger import moves
from fhirbridge.ledger.payload import Codec, unpacked
from fhirbridge.ledger.schema import FREE, IS_FAILED, IS_OPEN, LEASED, delivery, lane, payload, resource
from fhirbridge.ledger.states import Action, Server, State
from fhirbridge.ledger.words import Known, Row, Standing, Where

_newest = delivery.alias("newest")
_acked = delivery.alias("acked")
_NEWEST = (
    select(func.max(delivery.c.id)).where(delivery.c.resource == resource.c.id).correlate(resource).scalar_subquery()
)
_KNOWN = (
    select(
        resource.c.id,
        resource.c.kind,
        resource.c.record,
        resource.c.role,
        resource.c.generation,
        lane.c.key,
        resource.c.resource_type,
        resource.c.resource_id,
        resource.c.server,
        resource.c.version,
        resource.c.server_id,
        resource.c.withdrawn,
        resource.c.revision,
        resource.c.acked,
        _acked.c.revision,
        _acked.c.content,
        _acked.c.mapping,
        _acked.c.settled_at,
        _newest.c.id,
        _newest.c.state,
        _newest.c.reason,
        _newest.c.action,
        _newest.c.content,
        _newest.c.mapping,
        func.coalesce(_acked.c.subject, _newest.c.subject, ""),
    )
    .join(lane, lane.c.id == resource.c.lane)
    .outerjoin(_newest, _newest.c.id == _NEWEST)
    .outerjoin(_acked, _acked.c.id == resource.c.acked)
)
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
    select(delivery.c.id, delivery.c.start, delivery.c.length, payload.c.codec, payload.c.data, lane.c.key)
    .join(payload, payload.c.id == delivery.c.payload)
    .join(lane, lane.c.id == delivery.c.lane)
    .where(delivery.c.id.in_(bindparam("ids", expanding=True)))
)
_ROW = select(
    delivery.c.id,
    delivery.c.resource,
    resource.c.site,
    resource.c.kind,
    resource.c.record,
    resource.c.role,
    resource.c.generation,
    delivery.c.revision,
    delivery.c.action,
    resource.c.resource_type,
    resource.c.resource_id,
    delivery.c.content,
    delivery.c.mapping,
    delivery.c.run,
    delivery.c.urgent,
    delivery.c.state,
    delivery.c.reason,
    delivery.c.attempts,
    delivery.c.looks,
    delivery.c.next_at,
    delivery.c.enqueued_at,
    delivery.c.settled_at,
    delivery.c.bundle,
    delivery.c.version,
    delivery.c.decision,
    delivery.c.review_at,
).join(resource, resource.c.id == delivery.c.resource)


def known(connection: Connection, site: str, records: Iterable[tuple[str, str]]) -> list[Known]:
    """Every role and generation of (kind, record)s."""
    return list(_known(connection, _BY_RECORD, site, records))


def at_address(connection: Connection, site: str, addresses: Iterable[tuple[str, str]]) -> list[Known]:
    """The identities of (resource type, resource id)s."""
    return list(_known(connection, _BY_ADDRESS, site, addresses))


def _known(
    connection: Connection, statement: Select[Any], site: str, pairs: Iterable[tuple[str, str]]
) -> Iterator[Known]:
    for kind, several in groupby(sorted(set(pairs)), key=lambda pair: pair[0]):
        for chunk in moves.chunks([value for _, value in several]):
            rows = connection.execute(statement, {"site": site, "kind": kind, "values": chunk})
            yield from map(_as_known, rows)


def of_patient(connection: Connection, site: str, key: str) -> list[Known]:
    """Every identity of a patient at a site."""
    return [_as_known(row) for row in connection.execute(_OF_PATIENT, {"site": site, "key": key})]


def patients_of(connection: Connection, kind: str, record: str) -> list[str]:
    """The keys of the patients whose a record is or was."""
    return list(connection.execute(_PATIENTS, {"kind": kind, "record": record}).scalars())


def page(connection: Connection, site: str, after: int, most: int) -> list[Known]:
    """The next identities of a site behind ``after``, by their numbers."""
    return [_as_known(row) for row in connection.execute(_PAGE, {"site": site, "after": after, "most": most})]


def _as_known(row: Any) -> Known:
    values = list(row)
    values[8] = Server(values[8])
    if values[19] is not None:
        values[19], values[21] = State(values[19]), Action(values[21])
    values[20] = values[20] or ""
    return Known(*values)


def bodies(connection: Connection, ids: Iterable[int], codec: Codec) -> dict[int, bytes]:
    """The kept bodies of deliveries, by their numbers; those without one are left out."""
    found = {}
    for chunk in moves.chunks(sorted(set(ids))):
        for number, start, length, name, data, key in connection.execute(_BODY, {"ids": chunk}):
            found[number] = unpacked(codec, name, data, key)[start : start + length]
    return found


def conditions(where: Where) -> list[ColumnElement[bool]]:
    """What ``where`` says, over ``delivery`` joined with ``resource``."""
    pairs = (
        (resource.c.site, where.site),
        (resource.c.kind, where.kind),
        (resource.c.record, where.record),
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


def find(connection: Connection, where: Where, after: int, limit: int) -> list[Row]:
    """Deliveries by number behind ``after``."""
    statement = _ROW.where(delivery.c.id > after, *conditions(where)).order_by(delivery.c.id).limit(limit)
    return [_as_row(row) for row in connection.execute(statement)]


def _as_row(row: Any) -> Row:
    values = list(row)
    values[8], values[15] = Action(values[8]), State(values[15])
    return Row(*values)


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
