"""The rows that everybody locks, in one order: lanes first, then patients, each by their numbers.

Who holds a patient changes its consents; who shares it decides by them, or begins to send, and knows that they stay as
they are until the end of the transaction. SQLite has one lock for all, taken by the transaction itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, bindparam, select

from fhirbridge.ledger.moves import chunks
from fhirbridge.ledger.schema import lane, patient
from fhirbridge.ledger.store import upsert


class Seen(NamedTuple):
    """The row of a patient: its number, and the version of its consents."""

    id: int
    version: int


_LANES = select(lane.c.id).where(lane.c.id.in_(bindparam("lanes", expanding=True))).order_by(lane.c.id)
_LOCK = _LANES.with_for_update()
_TRY_LANES = _LANES.with_for_update(skip_locked=True)
_BY_KEY = (
    select(lane.c.key, lane.c.id)
    .where(lane.c.site == bindparam("site"), lane.c.key.in_(bindparam("keys", expanding=True)))
    .order_by(lane.c.id)
    .with_for_update()
)
_PATIENTS = (
    select(patient.c.key, patient.c.id, patient.c.version)
    .where(patient.c.key.in_(bindparam("keys", expanding=True)))
    .order_by(patient.c.id)
)
_HOLD = _PATIENTS.with_for_update()
_TRY_HOLD = _PATIENTS.with_for_update(skip_locked=True)
_SHARE = _PATIENTS.with_for_update(read=True)
_TRY_SHARE = _PATIENTS.with_for_update(read=True, skip_locked=True)


def lanes(connection: Connection, numbers: Iterable[int]) -> None:
    """Lock lanes."""
    for chunk in chunks(sorted(set(numbers))):
        connection.execute(_LOCK, {"lanes": chunk}).all()


def try_lanes(connection: Connection, numbers: Iterable[int]) -> set[int]:
    """Lock those of the lanes that nobody else has locked; their numbers."""
    return {
        number
        for chunk in chunks(sorted(set(numbers)))
        for number in connection.execute(_TRY_LANES, {"lanes": chunk}).scalars()
    }


def lanes_of(connection: Connection, site: str, keys: Iterable[str]) -> dict[str, int]:
    """Lock the lanes of these patients at a site, made where they are not there; their numbers by key."""
    wanted = sorted(set(keys))
    found = _numbers(connection, site, wanted)
    missing = [key for key in wanted if key not in found]
    if missing:
        rows = [{"site": site, "key": key, "priority": 1, "fence": 0, "held": 0, "deliveries": 0} for key in missing]
        connection.execute(upsert(connection, lane).on_conflict_do_nothing(), rows)
        found |= _numbers(connection, site, missing)
        make_patients(connection, missing)
    return found


def _numbers(connection: Connection, site: str, keys: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for chunk in chunks(keys):
        found.update((key, number) for key, number in connection.execute(_BY_KEY, {"site": site, "keys": chunk}))
    return found


def make_patients(connection: Connection, keys: Iterable[str]) -> None:
    """Make the patients that are not there, without any consents."""
    rows = [{"key": key, "version": 0, "effective_version": 0} for key in sorted(set(keys))]
    connection.execute(upsert(connection, patient).on_conflict_do_nothing(), rows)


def hold_patients(connection: Connection, keys: Iterable[str]) -> dict[str, Seen]:
    """Lock patients, to change their consents."""
    return _patients(connection, _HOLD, keys)


def try_hold_patients(connection: Connection, keys: Iterable[str]) -> dict[str, Seen]:
    """The same with those only that nobody else has locked or shares."""
    return _patients(connection, _TRY_HOLD, keys)


def share_patients(connection: Connection, keys: Iterable[str]) -> dict[str, Seen]:
    """Keep the consents of patients as they are; waits for who changes them."""
    return _patients(connection, _SHARE, keys)


def try_share_patients(connection: Connection, keys: Iterable[str]) -> dict[str, Seen]:
    """The same with those only whose consents nobody is changing."""
    return _patients(connection, _TRY_SHARE, keys)


def _patients(connection: Connection, statement: Select[Any], keys: Iterable[str]) -> dict[str, Seen]:
    return {
        key: Seen(number, version)
        for chunk in chunks(sorted(set(keys)))
        for key, number, version in connection.execute(statement, {"keys": chunk})
    }
