"""The judge of a withdrawal: what came to a site's door after a patient had withdrawn, and what became of it all.

The ledger says when a withdrawal is *requested* (written down) and when it is *effective*
(``fhirbridge_patient.requested_at``, ``effective_at``); worker, ledger, proxy and judge read the clock of one machine.
What came is what the proxy saw, by the moment of its first byte: who stalls or repeats a request on the way is not the
worker. What a withdrawal forbids is said in :mod:`tests.faults.disclosure`: everything that names the patient but the
withdrawn consent itself, what is taken back, and the reads that belong to these. Then:

``disclosed``   no forbidden request has its first byte at the door after ``effective_at``, and of those after
                ``requested_at`` there is at most one: a lane is at one request at a time, and that one was begun before
``overdue``     ``effective_at`` is no later than ``requested_at`` + the longest request + :data:`MARGIN`
``untold``      what of the patient is not at the site as the clinic has it is shown as blocked because of the
                withdrawal, or was taken back, or waits for a person with a reason
``unfollowed``  what the patient wants of the past is done: at the site everything but consents is retracted, or
                deleted, where that is wanted, and nothing where it is to be kept; and a site that has been given
                anything holds the withdrawn consent; where not, it waits for a person with a reason
``lost``        everything of the other patients is there

Then consent is given again, what waits for a person because of the withdrawal is replayed, and records that were taken
back are pushed again. When all is done nothing is blocked (``unfollowed``), and the server holds what the clinic has:
that is for :mod:`tests.faults.judge`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeAlias, get_args

from fhirbridge.ledger import State
from tests.faults.disclosure import Allowed, Person, forbidden
from tests.faults.judge import Event, Report, judge
from tests.faults.proxy import Arrival
from tests.faults.store import Commit

Handling: TypeAlias = Literal["keep", "retract", "delete"]
HANDLINGS: tuple[Handling, ...] = get_args(Handling)
# Seconds: a worker looks every quarter of one, but it has to be started, and the machine has other things to do.
MARGIN = 3.0
_RESOLUTION = time.get_clock_info("time").resolution
_BECAUSE = "consent.withdrawn"
_LEFT_TO_PEOPLE = frozenset({State.PARKED, State.REJECTED})


class Fate(NamedTuple):
    """How the newest delivery of an identity stands in the ledger, and whether it, or one before it that was another
    resource, takes back what is at the site.
    """

    state: State | None
    reason: str
    retracts: bool


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A patient's withdrawal as the ledger tells it once all work is done.

    ``patient`` is the identifier as the marks have it, ``notice`` identity and revision of the withdrawn consent,
    ``longest`` the seconds that a request may last; ``effective_at`` is None where it never became effective.
    """

    patient: str
    person: Person
    handling: Handling
    notice: tuple[str, str]
    requested_at: float
    effective_at: float | None
    longest: float
    fates: Mapping[str, Fate]


def findings(
    events: Iterable[Event], commits: Sequence[Commit], arrivals: Iterable[Arrival], told: Withdrawn
) -> Report:
    """What is wrong after a withdrawal and before consent is given again."""
    queued = list(events)
    others = [one for one in queued if one.patient != told.patient]
    own = [one for one in queued if one.patient == told.patient]
    ours = [one for one in commits if one.patient == told.patient]
    elsewhere = judge(others, [one for one in commits if one.patient != told.patient])
    return Report(
        len(queued),
        len(commits),
        lost=elsewhere.lost,
        dropped=elsewhere.dropped,
        disclosed=tuple(_disclosed(arrivals, told)),
        overdue=tuple(_overdue(told)),
        untold=tuple(one for one in judge(own, ours).lost if not _is_told(one, told)),
        unfollowed=tuple(_unfollowed(own, ours, told)),
        effective_after=0.0 if told.effective_at is None else told.effective_at - told.requested_at,
    )


def together(before: Report, after: Report, fates: Mapping[str, Fate]) -> Report:
    """Both parts of a run; ``fates`` are those after consent was given again."""
    still = [one for one, fate in fates.items() if fate.state is State.BLOCKED or fate.reason.startswith("consent.")]
    return replace(
        after,
        lost=before.lost + after.lost,
        dropped=before.dropped + after.dropped,
        disclosed=before.disclosed,
        overdue=before.overdue,
        untold=before.untold,
        unfollowed=(*before.unfollowed, *still),
        effective_after=before.effective_after,
    )


def _disclosed(arrivals: Iterable[Arrival], told: Withdrawn) -> list[str]:
    taken_back = frozenset(identity for identity, fate in told.fates.items() if fate.retracts)
    allowed = Allowed(told.notice if _is_notified(told) else ("", ""), taken_back)
    late = [
        one for one in arrivals if one.at > told.requested_at + _RESOLUTION and forbidden(one, told.person, allowed)
    ]
    effective_at = told.effective_at
    after = [one for one in late if effective_at is not None and one.at > effective_at + _RESOLUTION]
    begun = [one for one in late if one not in after]
    return [_line(one, told) for one in (*begun[1:], *after)]


def _line(one: Arrival, told: Withdrawn) -> str:
    method, _, rest = one.request.partition(b"\r\n")[0].decode("latin-1").partition(" ")
    since = "" if told.effective_at is None else f", effective {one.at - told.effective_at:+.3f} s"
    return f"{method} {rest.partition('?')[0].partition(' ')[0]} {one.at - told.requested_at:+.3f} s{since}"


def _overdue(told: Withdrawn) -> list[str]:
    if told.effective_at is None:
        return ["never"]
    took = told.effective_at - told.requested_at
    return [f"{took:.1f} s"] if took > told.longest + MARGIN else []


def _is_told(identity: str, told: Withdrawn) -> bool:
    fate = told.fates.get(identity)
    if fate is None:
        return False
    blocked = fate.state is State.BLOCKED and fate.reason == _BECAUSE
    return blocked or fate.retracts or (fate.state in _LEFT_TO_PEOPLE and bool(fate.reason))


def _is_notified(told: Withdrawn) -> bool:
    fate = told.fates.get(told.notice[0])
    return fate is not None and fate.state is not State.BLOCKED


def _unfollowed(own: Iterable[Event], ours: Sequence[Commit], told: Withdrawn) -> list[str]:
    last = {one.address: one for one in ours}.values()
    given = any(one.by == "client" for one in ours)
    known = any((one.identity, one.revision) == told.notice for one in last)
    missing = [told.notice[0]] if given and not known else []
    voided = {one.identity for one in own if one.retracts}
    data = [one for one in last if one.identity not in voided]
    if told.handling == "keep":
        wrong = [one.identity for one in data if one.retracts]
    else:
        enough = told.handling == "retract"
        wrong = [
            one.identity for one in data if one.type != "Consent" and one.is_there and not (enough and one.retracts)
        ]
    return [one for one in (*missing, *wrong) if not _waits_for_people(one, told)]


def _waits_for_people(identity: str, told: Withdrawn) -> bool:
    fate = told.fates.get(identity)
    return fate is not None and fate.state in _LEFT_TO_PEOPLE and bool(fate.reason)
