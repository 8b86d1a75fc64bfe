"""Every way in which a withdrawal can fall among the steps of workers, tried on a real ledger.

A world is the ledger's tables, the clock, and what each actor remembers. From every world each step of each actor is
tried; worlds that were seen before are not tried again. Steps are: a worker claims, asks whether it may read, the first
and the last byte of its question leave, it begins, the first and the last byte of its bundle leave, it settles; it
crashes, and comes back under another name; somebody takes back lanes of which the lease is over; the withdrawal is
written within a transaction, which is committed later; somebody makes it effective; somebody draws what follows; the
clock ticks. A worker that is not chosen for long is one that is stopped, also past its lease.

    python -m tests.ledger.interleavings  # what the tests leave out: a worker at each of two sites, 25,000 worlds
    python -m tests.ledger.interleavings --crashes 1 --reads --url postgresql+psycopg://…  # an empty database

At each byte it is judged whether that byte may be; where the time is over it is judged whether the withdrawal is
effective.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from fhirbridge.errors import ConsentChanged, LeaseLost, LedgerUnavailable
from fhirbridge.ledger import Action, Delivery, Ledger, Outgoing, Result, State
from fhirbridge.ledger.schema import bundle, consent, decision, delivery, lane, patient, payload, resource
from tests.ledger.bench import VAULT, Clock, item
from tests.ledger.gates import PATIENT, Signed
from tests.ledger.gates import consent as signed
from tests.ledger.snapshots import Snapshots, Tables

# The history is in none of them: nobody looks at it.
_TABLES = (patient, consent, decision, lane, resource, payload, bundle, delivery)
_START = 1_000.0
WITHDRAWN = 2


@dataclass(frozen=True)
class Setting:
    """Who is there, and how long things may last, in seconds: all of it multiples of a tick.

    Each site has one worker; with ``reads`` it asks the site about the patient before it sends.
    """

    sites: tuple[str, ...] = ("north",)
    lease: float = 20.0
    timeouts: tuple[float, ...] = (20.0,)
    tick: float = 10.0
    crashes: int = 1
    reads: bool = True


@dataclass(frozen=True)
class Actor:
    """A worker, and what it remembers: where it is, what it was handed, and by when its request has to be over."""

    site: str
    name: str
    at: str = "idle"
    held: Delivery | None = None
    bundle: str | None = None
    not_after: float = 0.0


@dataclass(frozen=True)
class World:
    """Everything that decides what can happen next."""

    tables: Tables
    clock: float
    actors: tuple[Actor, ...]
    # When the withdrawal was written in a transaction that is open; -1: not yet; -2: committed.
    asked: float = -1.0
    crashes: int = 0


class Violation(AssertionError):
    """Something that must never be, and the steps that lead to it."""


@dataclass
class Search:
    """All worlds that can be reached. ``late`` breaks the workers: they reckon the time of a request by themselves."""

    url: str
    setting: Setting
    late: bool = False
    worlds: int = 0
    steps: int = 0
    reached: set[str] = field(default_factory=set)

    def run(self) -> None:
        """Try everything. Raises :class:`Violation`."""
        clock = Clock(_START)
        with Ledger.open(self.url, vault=VAULT, clock=clock, patience=0.01) as ledger:
            sa.event.listen(ledger._store.engine, "connect", _without_syncs)
            ledger._store.engine.dispose()
            tables = Snapshots(self.url, *_TABLES)
            try:
                _Run(self, ledger, clock, tables).everything()
            finally:
                tables.close()


class _Run:
    def __init__(self, search: Search, ledger: Ledger, clock: Clock, tables: Snapshots) -> None:
        self.search, self.setting, self.ledger, self.clock = search, search.setting, ledger, clock
        self.tables, self.engine = tables, ledger._store.engine
        self.gate, self.bundles = Signed(), 0
        self.open: sa.Connection | None = None

    def everything(self) -> None:
        self.ledger.keep_evidence([signed("yes")])
        self.ledger.effect()
        for site in sorted(set(self.setting.sites)):
            self.ledger.enqueue([item("r1")], site=site, run="run")
        actors = tuple(Actor(site, f"w{n}") for n, site in enumerate(self.setting.sites))
        first = World(self.tables.take(), self.clock.now, actors)
        seen = {repr(self._name(first))}
        # The nearest first, so that what is found is told in the fewest steps.
        waiting: deque[tuple[World, tuple[str, ...]]] = deque([(first, ())])
        while waiting:
            world, way = waiting.popleft()
            self.search.worlds += 1
            for name, step in self._steps(world):
                self.search.steps += 1
                self._restore(world)
                try:
                    after = step(world)
                except LedgerUnavailable:
                    # Somebody else holds the lock: to be tried again, which changes nothing.
                    continue
                except Violation as found:
                    raise Violation(f"{found}: {' → '.join((*way, name))}") from None
                # A committed withdrawal changed the tables by itself.
                after = replace(after, tables=self.tables.take())
                self.search.reached.add(name.split()[-1])
                known = repr(self._name(after))
                if known not in seen:
                    seen.add(known)
                    waiting.append((after, (*way, name)))
        self._close()

    def _restore(self, world: World) -> None:
        self._close()
        self.tables.put(world.tables)
        if world.asked > 0:
            self.clock.now = world.asked
            self._ask()
        self.clock.now = world.clock

    def _ask(self) -> None:
        self.open = self.engine.connect()
        self.open.begin()
        self.ledger.keep_evidence([signed("no", 2)], connection=self.open)

    def _close(self) -> None:
        if self.open is not None:
            self.open.rollback()
            self.open.close()
            self.open = None

    def _name(self, world: World) -> Any:
        """What tells worlds apart: no numbers, no histories, and of times how far away they are, if they are ahead.

        So there are only so many worlds, however long the clock goes on.
        """
        people, lanes, rows = (self.tables.named(world.tables, one) for one in (patient, lane, delivery))
        owner = {(one["worker"], one["fence"]) for one in lanes}
        latest = {one["bundle"] for one in rows}
        longest = max(self.setting.timeouts)

        def away(moment: float | None, least: float = 0.0) -> float | None:
            return None if moment is None else max(moment - world.clock, least)

        return (
            away(world.asked, -longest) if world.asked > 0 else world.asked,
            world.crashes,
            [(one["version"], one["effective_version"], away(one["requested_at"], -longest)) for one in people],
            [
                (
                    one["site"],
                    away(one["ready_at"]),
                    one["worker"] is not None,
                    # A lease is over a moment after its end.
                    away(one["until"], -self.setting.tick),
                    one["held"],
                    one["consents"],
                    away(one["stray_until"] or 0.0),
                    one["following"],
                )
                for one in lanes
            ],
            [(one["lane"], one["action"], one["state"], away(one["next_at"])) for one in rows],
            [(one.site, one.at, away(one.not_after), self._held(one, owner, latest)) for one in world.actors],
        )

    def _held(self, actor: Actor, owner: set[tuple[str, int]], latest: set[str]) -> Any:
        if actor.held is None:
            return None
        lease = actor.held.lease
        mine = (lease.worker, lease.fence) in owner
        return actor.held.action, actor.held.state, lease.consents, mine, actor.bundle in latest

    # What can happen.

    def _steps(self, world: World) -> Iterator[tuple[str, Callable[[World], World]]]:
        for number, actor in enumerate(world.actors):
            for name, move in self._moves(actor):
                yield f"w{number} {name}", self._by(number, move)
            if actor.at != "idle" and world.crashes < self.setting.crashes:
                yield f"w{number} crash", self._crash(number)
        if world.asked == -1.0:
            yield "ask", self._asks
        elif world.asked > 0:
            yield "commit", self._commits
        else:
            yield "effect", self._effects
            yield "follow", self._follows
        yield "rescue", self._rescues
        yield "tick", lambda one: replace(one, clock=one.clock + self.setting.tick)

    def _by(self, number: int, move: Callable[[Actor], Actor]) -> Callable[[World], World]:
        def step(world: World) -> World:
            actors = list(world.actors)
            actors[number] = move(actors[number])
            return replace(world, actors=tuple(actors))

        return step

    def _crash(self, number: int) -> Callable[[World], World]:
        def step(world: World) -> World:
            actors = list(world.actors)
            one = actors[number]
            actors[number] = Actor(one.site, f"{one.name}'")
            return replace(world, actors=tuple(actors), crashes=world.crashes + 1)

        return step

    def _asks(self, world: World) -> World:
        self._ask()
        return replace(world, asked=world.clock)

    def _commits(self, world: World) -> World:
        assert self.open is not None
        self.open.commit()
        self.open.close()
        self.open = None
        return replace(world, asked=-2.0)

    def _effects(self, world: World) -> World:
        self.ledger.effect()
        one = self.ledger.patient(PATIENT)
        assert one is not None
        assert one.requested_at is not None
        if one.effective < one.version and world.clock >= one.requested_at + max(self.setting.timeouts):
            raise Violation("not effective when its time was over")
        return world

    def _rescues(self, world: World) -> World:
        """What every claim of another worker begins with."""
        for site in self.setting.sites:
            self.ledger.rescue(site)
        return world

    def _follows(self, world: World) -> World:
        for site in sorted(set(self.setting.sites)):
            for key, version in self.ledger.to_follow(site):
                retraction = item("r1", 1, "a tombstone", action=Action.RETRACT)
                self.ledger.follow(site, key, version, [retraction], run="run")
        return world

    # What a worker does.

    def _moves(self, actor: Actor) -> Iterator[tuple[str, Callable[[Actor], Actor]]]:
        match actor.at:
            case "idle":
                yield "claim", self._claim
            case "claimed":
                yield "read-check", self._check
            case "reading":
                yield "read-first-byte", lambda one: self._byte(one, "asking", self._give_back)
            case "asking":
                yield "read-last-byte", lambda one: self._byte(one, "read", self._give_back)
            case "read":
                assert actor.held is not None
                if actor.held.state is State.UNKNOWN:
                    yield "settle-doubt", lambda one: self._settle(one, State.QUEUED)
                else:
                    yield "begin", self._begin
            case "begun":
                yield "first-byte", lambda one: self._byte(one, "sending", lambda one: self._settle(one, State.QUEUED))
            case "sending":
                yield "last-byte", lambda one: self._byte(one, "sent", lambda one: self._settle(one, State.UNKNOWN))
            case "sent":
                yield "settle", lambda one: self._settle(one, State.ACKED)

    def _claim(self, actor: Actor) -> Actor:
        timeout = self.setting.timeouts[self.setting.sites.index(actor.site) % len(self.setting.timeouts)]
        claims = self.ledger.claim(
            actor.site, actor.name, gate=self.gate, timeout=timeout, lanes=1, lease=self.setting.lease
        )
        if not claims:
            return actor
        return replace(actor, at="claimed" if self.setting.reads else "read", held=claims[0].deliveries[0])

    def _check(self, actor: Actor) -> Actor:
        assert actor.held is not None
        try:
            until = self.ledger.still_permitted(actor.held.lease)
        except LeaseLost:
            return _idle(actor)
        return self._give_back(actor) if until is None else replace(actor, at="reading", not_after=self._until(until))

    def _until(self, told: float) -> float:
        return float("inf") if self.search.late else told

    def _begin(self, actor: Actor) -> Actor:
        assert actor.held is not None
        self.bundles += 1
        name = f"b{self.bundles}"
        try:
            until = self.ledger.begin([Outgoing(name, [actor.held], "digest")])
        except LeaseLost:
            return _idle(actor)
        except ConsentChanged:
            return self._give_back(actor)
        return replace(actor, at="begun", bundle=name, not_after=self._until(until))

    def _byte(self, actor: Actor, then: str, otherwise: Callable[[Actor], Actor]) -> Actor:
        """The connection sends, if it is not too late for that."""
        assert actor.held is not None
        if self.clock.now >= actor.not_after:
            return otherwise(actor)
        one = self.ledger.patient(PATIENT)
        assert one is not None
        if one.effective >= WITHDRAWN:
            if actor.held.lease.consents < WITHDRAWN:
                raise Violation("a byte that was permitted before the withdrawal")
            if actor.held.action is not Action.RETRACT:
                raise Violation("a byte of what the withdrawal forbids")
        return replace(actor, at=then)

    def _settle(self, actor: Actor, to: State) -> Actor:
        assert actor.held is not None
        with suppress(LeaseLost):
            self.ledger.settle([Result(actor.held, to, actor.bundle)])
        return _idle(actor)

    def _give_back(self, actor: Actor) -> Actor:
        assert actor.held is not None
        self.ledger.release([actor.held.lease])
        return _idle(actor)


def _idle(actor: Actor) -> Actor:
    return Actor(actor.site, actor.name)


def _without_syncs(connection: Any, _record: object) -> None:
    """Nothing here is to outlive the power."""
    if hasattr(connection, "backup"):
        connection.execute("PRAGMA synchronous = OFF")
    else:
        with connection.cursor() as cursor:
            cursor.execute("SET synchronous_commit = off")
        connection.commit()


def main() -> None:
    """The large search: the same patient at two sites, each with its own time for a request."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", help="of an empty database; a SQLite file of its own by default")
    parser.add_argument("--crashes", type=int, default=0)
    parser.add_argument("--reads", action="store_true", help="workers ask the site about the patient first")
    chosen = parser.parse_args()
    setting = Setting(("north", "south"), timeouts=(10.0, 20.0), crashes=chosen.crashes, reads=chosen.reads)
    with tempfile.TemporaryDirectory() as folder:
        search = Search(chosen.url or f"sqlite:///{folder}/ledger.db", setting)
        search.run()
    sys.stdout.write(f"{search.worlds:,} worlds, {search.steps:,} steps: no byte that may not be, and none too late\n")


if __name__ == "__main__":
    main()
