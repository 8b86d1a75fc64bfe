"""What became of deliveries that nobody knows about: look as their strategy has it, and only then decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fhirbridge.errors import Fault
from fhirbridge.fhir.bundle import ABSENT, Address, Copy, EntryOutcome
from fhirbridge.fhir.bundle import State as EntryState
from fhirbridge.fhir.json import Tree
from fhirbridge.ledger import Action, Delivery, Server, State
from fhirbridge.sync.bench import Bench
from fhirbridge.sync.doubt import MOST_ATTEMPTS, Look, verdict
from fhirbridge.sync.draft import Settlement, acked, body_of, later, set_aside
from fhirbridge.sync.held import read_copies, says_the_same, version_of
from fhirbridge.sync.plan import newest_revision, revision_key, revision_of
from fhirbridge.sync.prepare import GONE, MISSING, OPEN, asked_for, search
from fhirbridge.sync.reason import Reason
from fhirbridge.sync.references import without_literals
from fhirbridge.sync.retraction import BY_DELETE, is_retracted
from fhirbridge.sync.strategy import Refusal, Strategy
from fhirbridge.sync.writing import target_of


def clear_up(bench: Bench, doubts: Sequence[Delivery]) -> list[Settlement]:
    """Look for each, and say what follows. Raises :class:`SiteError` where the site does not answer properly."""
    settled: list[Settlement] = []
    reading: dict[int, Address] = {}
    asked_of: dict[int, tuple[Delivery, Strategy, Tree | None, Look | None]] = {}
    for one in doubts:
        strategy = bench.ways.of(one.resource_type)
        if isinstance(strategy, Refusal):
            settled.append(set_aside(one, State.PARKED, "doubt.no_way", (_NO_WAY,)))
            continue
        body = body_of(one)
        asked = _look(bench, one, strategy, body)
        early = _too_early(bench, one, asked)
        if early is not None:
            settled.append(early)
        else:
            asked_of[one.id] = (one, strategy, body, asked)
            if asked is not None and asked.by == "read" and asked.address is not None:
                reading[one.id] = asked.address
    copies = read_copies(bench.site.client, reading.values(), bench.ways.limit.entries)
    for number, (one, strategy, body, asked) in asked_of.items():
        found: list[Tree] | None
        copy = ABSENT
        if number in reading:
            copy = copies[reading[number]]
            found = [] if copy.resource is None else [copy.resource]
        elif body is not None and asked is not None and asked.by == "search":
            found = search(bench.site.client, one.resource_type, asked, body, bench.record_key)
        else:
            found = []
        settled.append(_conclude(bench, one, strategy, body, asked, found, copy))
    return settled


def _look(bench: Bench, one: Delivery, strategy: Strategy, body: Tree | None) -> Look | None:
    if body is None:
        own = one.server_id or (one.resource_id if strategy.rung.key == "id" else None)
        return None if own is None else Look("read", Address(one.resource_type, own))
    target = target_of(body, bench.record_key, one.server_id, one.version if one.acked else None)
    return asked_for(bench, strategy, target, body)


def _too_early(bench: Bench, one: Delivery, asked: Look | None) -> Settlement | None:
    """A look at an index that has not caught up proves nothing."""
    if asked is None or not asked.wait or one.begun_at is None:
        return None
    reason = Reason.read(one.reason)
    due = one.begun_at + asked.wait * (1 + reason.looked)
    # A clock that was set back must not make it wait for ever.
    if bench.clock() >= due or due - bench.clock() > asked.wait * (2 + reason.looked):
        return None
    return later(one, State.UNKNOWN, reason, due, ())


def _conclude(
    bench: Bench,
    one: Delivery,
    strategy: Strategy,
    body: Tree | None,
    asked: Look | None,
    found: list[Tree] | None,
    copy: Copy,
) -> Settlement:
    reason = Reason.read(one.reason)
    if one.action is Action.RETRACT:
        return _retracted(one, reason, found, copy)
    looked = reason.looked + 1
    what = verdict(asked, strategy, None if found is None else len(found), looked, gone=copy.gone)
    if what == "adopt":
        assert found is not None
        assert body is not None
        return _found(bench, one, reason, body, found[0])
    if what == "look":
        assert asked is not None
        return later(one, State.UNKNOWN, replace(reason, looked=looked), bench.clock() + asked.wait, ())
    if what == "resend":
        if reason.then == "park":
            return set_aside(one, State.PARKED, reason.why, (_GAVE_UP,), outcome=EntryOutcome("failed"))
        return later(one, State.QUEUED, replace(reason, looked=0, then="again"), None, (_NOT_DONE,))
    if copy.gone:
        return set_aside(one, State.PARKED, GONE.code, (GONE,), server=Server.GONE)
    if asked is not None and asked.known and not found:
        return set_aside(one, State.PARKED, MISSING.code, (MISSING,))
    return set_aside(one, State.PARKED, OPEN.code, (OPEN,), outcome=EntryOutcome("unknown"))


def _found(bench: Bench, one: Delivery, reason: Reason, body: Tree, theirs: Tree) -> Settlement:
    """One resource of our identity is there: is it what was sent, or what stood there before?"""
    own, version = theirs.get("id"), version_of(theirs)
    state: EntryState = "updated" if one.acked is not None else "created"
    if says_the_same(body, without_literals(theirs)):
        return acked(one, state, version=version, server_id=own)
    newest = newest_revision(theirs, bench.revision_systems)
    first = one.acked is None and one.server in (Server.UNSEEN, Server.ABSENT)
    # A server that ignores elements still holds what was sent: it carries our revision, or no tags at all.
    if first and (newest is None or newest == revision_key(revision_of(one.revision))):
        return acked(one, state, reason="site.altered", version=version, server_id=own)
    # Another version than we know of: ours as the site makes it each time, or somebody else's, and not ours.
    if version not in (None, one.version) and one.attempts >= MOST_ATTEMPTS:
        return set_aside(one, State.PARKED, _DIFFERS.code, (_DIFFERS,), outcome=EntryOutcome("unknown"))
    if reason.then == "park":
        return set_aside(one, State.PARKED, reason.why, (_GAVE_UP,), outcome=EntryOutcome("failed"))
    other = own if own != one.resource_id else None
    return later(one, State.QUEUED, replace(reason, looked=0, then="again"), None, (_NOT_DONE,), server_id=other)


def _retracted(one: Delivery, reason: Reason, found: list[Tree] | None, copy: Copy) -> Settlement:
    if copy.gone:
        return acked(one, "updated", server=Server.GONE)
    if found and is_retracted(found[0]) and one.subject != BY_DELETE:
        return acked(one, "updated", version=version_of(found[0]), server_id=found[0].get("id"))
    # To retract twice does no harm: it is looked at again before anything is written.
    return later(one, State.QUEUED, replace(reason, looked=0, then="again"), None, (_NOT_DONE,))


_NO_WAY = Fault("doubt.no_way", "", "nobody can find out whether it arrived", "ask the site, then replay or leave it")
_DIFFERS = Fault(
    "doubt.differs", "", "what the site holds is not what was sent, and it does not say whether it took it",
    "compare the two; then replay it, or push a new revision",
)  # fmt: skip
_NOT_DONE = Fault(
    "site.not_done", "", "the site has not taken it yet", "it is sent again; push or sync goes on with it"
)
_GAVE_UP = Fault("site.gave_up", "", "the site did not take it after several attempts", "push it again")
