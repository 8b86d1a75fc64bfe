"""From the moment that consents changed to the moment from which nothing older is under way, and what follows.

A change is *requested* when it is written down: from then on nothing is begun that was decided before it. It is
*effective* when nothing is under way either. Every request is preceded by a look at the patient's row, and is over when
the time that its site allows has passed; so a change is effective at the latest when that time has passed since it was
requested, whatever became of the workers.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, and_, bindparam, exists, or_, select, update

from fhirbridge.ledger import lease, locks, moves
from fhirbridge.ledger.claim import unblock
from fhirbridge.ledger.enqueue import enqueue
from fhirbridge.ledger.schema import IS_BLOCKED, IS_FOLLOWING, IS_REQUESTED, delivery, lane, patient
from fhirbridge.ledger.words import Enqueued, Item
from fhirbridge.vault import Vault

# A lane in which something older may be under way: its worker began by older consents, or lost the lane and does not
# know. Neither lasts longer than a request may.
_UNDER_WAY = exists().where(
    lane.c.key == patient.c.key,
    or_(
        and_(lane.c.worker.is_not(None), lane.c.consents < patient.c.version),
        lane.c.stray_until > bindparam("now"),
    ),
    patient.c.requested_at + lane.c.timeout > bindparam("now"),
)
_QUIET = select(patient.c.id, patient.c.key, patient.c.version).where(IS_REQUESTED, ~_UNDER_WAY)
_REQUESTED = _QUIET.order_by(patient.c.id).limit(bindparam("most"))
_STILL = _QUIET.where(patient.c.key.in_(bindparam("keys", expanding=True)))
_LANES = select(lane.c.id, lane.c.key).where(lane.c.key.in_(bindparam("keys", expanding=True)))
_OLDER = (
    select(lane.c.id, lane.c.worker)
    .join(patient, patient.c.key == lane.c.key)
    .where(patient.c.key.in_(bindparam("keys", expanding=True)), lane.c.consents < patient.c.version)
)
_BLOCKED = select(delivery.c.id, delivery.c.resource, delivery.c.decision).where(
    IS_BLOCKED, delivery.c.lane.in_(bindparam("lanes", expanding=True))
)
_EFFECTIVE = (
    update(patient)
    .where(patient.c.id == bindparam("it"))
    .values(effective_version=bindparam("reached"), effective_at=bindparam("now"))
)
_FOLLOWS = update(lane).where(lane.c.key == bindparam("of"), lane.c.fence > 0).values(following=bindparam("reached"))
_TO_FOLLOW = (
    select(lane.c.key, lane.c.following)
    .join(patient, patient.c.key == lane.c.key)
    .where(lane.c.site == bindparam("site"), IS_FOLLOWING, lane.c.following == patient.c.version)
    .order_by(lane.c.id)
    .limit(bindparam("most"))
)
_FOLLOWED = (
    update(lane).where(lane.c.id == bindparam("it"), lane.c.following == bindparam("reached")).values(following=None)
)


def effect(connection: Connection, vault: Vault, now: float, most: int) -> list[str]:
    """Make changes effective of which nothing older is under way; the keys of their patients.

    What a row is locked of by somebody else is left for the next time.
    """
    asked = {row.key: row.version for row in connection.execute(_REQUESTED, {"now": now, "most": most})}
    if not asked:
        return []
    lanes = {
        row.id: row.key for chunk in moves.chunks(sorted(asked)) for row in connection.execute(_LANES, {"keys": chunk})
    }
    locked = locks.try_lanes(connection, lanes)
    passed_by = {key for number, key in lanes.items() if number not in locked}
    held = locks.try_hold_patients(connection, asked.keys() - passed_by)
    # Whoever changed the consents in between may have been claimed from by a lane that was not there before.
    same = [key for key, seen in held.items() if seen.version == asked[key]]
    reached = {
        row.key: row
        for chunk in moves.chunks(sorted(same))
        for row in connection.execute(_STILL, {"keys": chunk, "now": now})
    }
    _turn(connection, vault, sorted(reached), now)
    moves.many(connection, _EFFECTIVE, [{"it": row.id, "reached": row.version, "now": now} for row in reached.values()])
    moves.many(connection, _FOLLOWS, [{"of": row.key, "reached": row.version} for row in reached.values()])
    return sorted(reached)


def _turn(connection: Connection, vault: Vault, keys: Sequence[str], now: float) -> None:
    """Lanes are taken from workers that are past their time; what the older consents blocked is decided anew."""
    for chunk in moves.chunks(keys):
        older = connection.execute(_OLDER, {"keys": chunk}).all()
        held = [row.id for row in older if row.worker is not None]
        lease.take_back(connection, vault, held, now, "consent-changed")
        lanes = [row.id for row in older]
        blocked = [row for some in moves.chunks(lanes) for row in connection.execute(_BLOCKED, {"lanes": some})]
        unblock(connection, vault, blocked, "consent-changed", now)
        moves.free(connection, lanes, now)


def to_follow(connection: Connection, site: str, most: int) -> list[tuple[str, int]]:
    """Patients and versions that are effective and whose consequences nobody has drawn at the site."""
    return [(key, version) for key, version in connection.execute(_TO_FOLLOW, {"site": site, "most": most})]


def follow(
    connection: Connection,
    vault: Vault,
    site: str,
    key: str,
    version: int,
    items: Sequence[Item],
    *,
    run: str,
    now: float,
) -> list[Enqueued] | None:
    """Queue what follows from a version at a site; None where it is not the one to be followed any more."""
    lanes = locks.lanes_of(connection, site, {key, *(one.lane for one in items)})
    seen = locks.share_patients(connection, [key])
    if seen[key].version != version:
        return None
    if not moves.many(connection, _FOLLOWED, [{"it": lanes[key], "reached": version}]):
        return None
    return enqueue(connection, vault, items, site=site, run=run, resend=False, now=now)
