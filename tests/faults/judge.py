"""The judge: what the server's commit log says about a list of enqueued events.

    report = judge(events, commits, charts=charts)
    assert report.clean, report

An event is one resource of one revision of one record. What was queued must be there once, in its newest revision, in
its patient's chart; an older revision never over a newer one, nothing after a retraction, nothing that nobody queued.
What was taken back altogether and is wanted again is a new resource.

What a withdrawn consent forbids is judged by the requests that came, in :mod:`tests.faults.revoked`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

from fhirbridge.records.text import Instant
from tests.faults.identity import marks
from tests.faults.store import Address, Commit

Tree: TypeAlias = dict[str, Any]
# What a delivery may bring along beside the events: never more than one of each content.
COMPANIONS = frozenset({"Provenance"})
# The findings of a report that nothing excuses.
OF_WITHDRAWAL = ("disclosed", "overdue", "untold", "unfollowed")
HARM = ("dropped", "extra", "inversions", "after_retraction", "wrong_patient", *OF_WITHDRAWAL)


@dataclass(frozen=True, slots=True)
class Event:
    """What was queued. ``hash`` may be empty when only the fact of a retraction counts."""

    identity: str
    revision: str
    patient: str
    retracts: bool = False
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """Findings by identity. ``rewrites`` are versions that changed nothing: allowed, but worth knowing.

    ``dropped`` are lost ones that the ledger did not show to anybody. The last five are about a withdrawal:
    :mod:`tests.faults.revoked`; ``effective_after`` is in seconds.
    """

    events: int
    commits: int
    lost: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    inversions: tuple[str, ...] = ()
    after_retraction: tuple[str, ...] = ()
    wrong_patient: tuple[str, ...] = ()
    rewrites: int = 0
    disclosed: tuple[str, ...] = ()
    overdue: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()
    unfollowed: tuple[str, ...] = ()
    effective_after: float = 0.0

    @property
    def unharmed(self) -> bool:
        """Nothing twice, nothing wrong, nothing lost in silence; doubts may be open."""
        return not any(getattr(self, name) for name in HARM)

    @property
    def clean(self) -> bool:
        """Every event has exactly its one effect."""
        return self.unharmed and not self.lost

    def __str__(self) -> str:
        counts = {name: len(getattr(self, name)) for name in ("lost", *HARM)}
        told = {name: count for name, count in counts.items() if count or name not in OF_WITHDRAWAL}
        words = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in told.items())
        return f"events {self.events}, commits {self.commits}: {words}, rewrites {self.rewrites}"


def events_of(resources: Iterable[Tree]) -> list[Event]:
    """The events of resources as they are queued."""
    told = map(marks, resources)
    return [Event(one.identity, one.revision, one.patient, one.retracts, one.hash) for one in told]


@dataclass
class _Case:
    """One identity of one patient: what was queued of it and what the server did."""

    events: list[Event] = field(default_factory=list)
    commits: list[Commit] = field(default_factory=list)
    moved: bool = False

    @property
    def newest(self) -> Event:
        return max(self.events, key=lambda one: (_order(one.revision), one.retracts))


def judge(
    events: Iterable[Event],
    commits: Iterable[Commit],
    *,
    charts: Mapping[str, str] | None = None,
    surfaced: Collection[str] = (),
) -> Report:
    """Compare. ``charts`` says which address a patient's identifier has; ``surfaced`` are identities that the ledger
    shows as in doubt, parked or rejected.
    """
    queued, done = list(events), list(commits)
    cases: dict[tuple[str, str], _Case] = {}
    latest: dict[str, str] = {}
    for event in queued:
        cases.setdefault((event.identity, event.patient), _Case()).events.append(event)
        latest[event.identity] = event.patient
    for (identity, patient), case in cases.items():
        case.moved = latest[identity] != patient
    ours = [one for one in done if one.by == "client"]
    extra, wrong, seen = [], [], dict.fromkeys(identity for identity, _ in cases)
    for commit in ours:
        known = cases.get((commit.identity, commit.patient))
        if known is not None:
            known.commits.append(commit)
        elif commit.identity in seen:
            wrong.append(commit.identity)
        elif commit.type not in COMPANIONS and commit.action == "create":
            extra.append(commit.identity)
        expected = (charts or {}).get(commit.patient)
        if commit.chart and expected is not None and commit.chart != expected:
            wrong.append(commit.identity)
    last = {one.address: one for one in done}
    lost = [identity for (identity, _), case in cases.items() if not _arrived(case, last)]
    gone = {one.address for one in done if one.action == "forget"}
    for (identity, _), case in cases.items():
        extra += [identity] * _surplus(_made(case), gone)
    extra += _doubled_companions(ours, gone)
    return Report(
        events=len(queued),
        commits=len(done),
        lost=tuple(lost),
        dropped=tuple(one for one in lost if one not in set(surfaced)),
        extra=tuple(extra),
        inversions=tuple(identity for (identity, _), case in cases.items() if _inverted(case)),
        after_retraction=tuple(_revived(ours, done)),
        wrong_patient=tuple(wrong),
        rewrites=sum(_rewrites(case) for case in cases.values()),
    )


def _arrived(case: _Case, last: Mapping[Address, Commit]) -> bool:
    alive = [
        one
        for one in {one.address: one for one in case.commits}.values()
        if last[one.address].is_there and not last[one.address].retracts
    ]
    wanted = case.newest
    if wanted.retracts or case.moved:
        return not alive
    # A newer revision that says the same is not sent again.
    return any(one.hash == wanted.hash if wanted.hash else one.revision == wanted.revision for one in alive)


def _made(case: _Case) -> set[Address]:
    """The resources that were made; not those that were taken back before it was made anew because it is wanted."""
    made: set[Address] = set()
    over: set[Address] = set()
    for one in case.commits:
        if one.action == "create":
            made = {*(made if case.newest.retracts else made - over), one.address}
        over = over | {one.address} if one.retracts else over - {one.address}
    return made


def _surplus(made: set[Address], gone: set[Address]) -> int:
    """How many resources too many; one of those ``gone``, which the server forgot, may be made again."""
    return max(0, len(made - gone) - 1)


def _doubled_companions(ours: list[Commit], gone: set[Address]) -> list[str]:
    made: dict[tuple[str, str], set[Address]] = {}
    for one in ours:
        if one.type in COMPANIONS and one.action == "create":
            made.setdefault((one.type, one.hash), set()).add(one.address)
    return [kind for (kind, _), several in made.items() for _ in range(_surplus(several, gone))]


def _inverted(case: _Case) -> bool:
    numbers = [_order(one.revision) for one in case.commits if one.revision]
    return any(later < earlier for earlier, later in pairwise(numbers))


def _revived(ours: list[Commit], done: list[Commit]) -> list[str]:
    """Writes of ours to what was retracted by us or deleted by anybody, unless a newer revision asked for it."""
    found: list[str] = []
    ended: dict[Address, Commit] = {}
    mine = {one.n for one in ours}
    for one in done:
        before = ended.get(one.address)
        if one.retracts or one.action in ("delete", "forget"):
            ended[one.address] = one
        elif before is not None and one.n in mine and before.action != "forget":
            newer = before.by == "client" and _newer(one.revision, before.revision)
            if not newer:
                found.append(one.identity)
    return found


def _newer(revision: str, than: str) -> bool:
    return bool(revision and than) and _order(revision) > _order(than)


def _rewrites(case: _Case) -> int:
    same = [(one.address, one.revision, one.hash) for one in case.commits]
    return sum(before == after for before, after in pairwise(same))


def _order(revision: str) -> tuple[int, Any]:
    """What orders revisions: numbers by value, instants by moment; a number never beats an instant, nothing either."""
    if not revision:
        return -1, 0
    return (0, int(revision)) if revision.isdecimal() else (1, Instant(revision).as_datetime())
