"""The ledger: every delivery's durable state, behind one object.

with Ledger.open("sqlite:///fhirbridge-ledger.db", vault=vault) as ledger:
    ledger.enqueue(items, site="north", run="2026-11-22")
    for claim in ledger.claim("north", "worker-1", gate=gate, timeout=30.0): ...

Each method is one transaction: all of it happens or nothing; a claim that finds only what may not go is several. What
only reads is in :mod:`fhirbridge.ledger.reader`. Objects may be shared by threads. Every failure is a
:class:`LedgerError`; after one that is a :class:`LedgerUnavailable` the same call may be made again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType, TracebackType
from typing import Self

from sqlalchemy import Connection

from fhirbridge.errors import ConsentChanged
from fhirbridge.ledger import enqueue, evidence, keep, lease, mend, purge, rekey, settle, withdrawal
from fhirbridge.ledger.claim import Terms, claim
from fhirbridge.ledger.consents import Evidence
from fhirbridge.ledger.failures import translated
from fhirbridge.ledger.gate import Gate
from fhirbridge.ledger.migrate import upgrade
from fhirbridge.ledger.purge import Purged
from fhirbridge.ledger.reader import Reader
from fhirbridge.ledger.states import Server
from fhirbridge.ledger.store import Store
from fhirbridge.ledger.words import (
    Adopted,
    Claim,
    Ended,
    Enqueued,
    Item,
    Lease,
    Outgoing,
    Rescued,
    Result,
    Where,
)
from fhirbridge.vault import Vault

NOTHING: Mapping[str, str] = MappingProxyType({})
# Changed consents that one claim makes effective at most; each patient is a few statements.
_EFFECTS = 500


class Ledger(Reader):
    """The durable state of every delivery. Made by :meth:`open`."""

    @classmethod
    def open(
        cls,
        url: str,
        *,
        vault: Vault,
        clock: Callable[[], float] = time.time,
        patience: float = 30.0,
    ) -> Self:
        """Open a ledger, made or upgraded where needed; one of before it was sealed is sealed.

        ``url``: ``sqlite:///file`` or ``postgresql+psycopg://…``. ``vault`` has the clinic's keys. ``clock`` gives
        epoch seconds. ``patience``: seconds to wait for a lock. Raises :class:`LedgerMismatch` (another key, a newer
        schema, no ledger), :class:`LedgerUnavailable`, :class:`LedgerError` for a URL that is of no use.
        """
        store = Store(url, patience=patience)
        try:
            upgrade(store, vault)
            with store.write() as connection:
                keep.check_key(connection, vault, keep=True)
                keep.check_vault(connection, vault)
        except BaseException:
            store.close()
            raise
        return cls(store, vault, clock)

    def close(self) -> None:
        """Give all connections back."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Filling.

    def enqueue(
        self,
        items: Iterable[Item],
        *,
        site: str,
        run: str,
        resend: bool = False,
        marks: Mapping[str, str] = NOTHING,
        evidence: Iterable[Evidence] = (),
        connection: Connection | None = None,
    ) -> list[Enqueued]:
        """Offer items; what is new or changed is queued. One answer for each, in their order.

        ``marks`` are set along with it (see :meth:`mark`), ``evidence`` is kept (see :meth:`keep_evidence`). With
        ``connection``, one to the same database, everything is part of the caller's own transaction: it is there when
        that commits, and not if it does not. ``resend`` sends what only a new version of the mapping changed.
        """
        offered, found = list(items), list(evidence)
        with self._joined(connection) as joined:
            now = self._clock()
            answers = enqueue.enqueue(joined, self._vault, offered, site=site, run=run, resend=resend, now=now)
            keep.put_all(joined, self._vault, keep.MARKS, marks, now)
            _keep_evidence(joined, self._vault, found, self._clock)
            return answers

    def keep_evidence(self, evidence: Iterable[Evidence], *, connection: Connection | None = None) -> list[str]:
        """Keep revisions of consents; the keys of the patients for whom that changes anything.

        From the commit on nothing is begun that was decided by the consents before; see :meth:`effect`. Of a consent
        the highest revision counts, of the same revision the content that came last. ``connection`` as in
        :meth:`enqueue`. Raises :class:`LedgerError` for a revision without an order.
        """
        found = list(evidence)
        with self._joined(connection) as joined:
            return _keep_evidence(joined, self._vault, found, self._clock)

    @contextmanager
    def _joined(self, connection: Connection | None) -> Iterator[Connection]:
        if connection is None:
            with self._store.write() as own:
                yield own
        else:
            with translated():
                keep.check_key(connection, self._vault, keep=False)
                yield connection

    def adopt(self, found: Iterable[Adopted], *, site: str, run: str) -> int:
        """Take over what was read from the site after the ledger was lost; how many were not known yet."""
        with self._store.write() as connection:
            return mend.adopt(connection, self._vault, list(found), site=site, run=run, now=self._clock())

    # Sending.

    def claim(
        self,
        site: str,
        worker: str,
        *,
        gate: Gate,
        timeout: float,
        lanes: int = 64,
        limit: int = 2_000,
        lease: float = 60.0,
    ) -> list[Claim]:
        """Lease up to ``lanes`` lanes for ``lease`` seconds, and hand out what is due of them, about ``limit`` in all.

        ``gate`` decides about each delivery in the same transaction: what may not go is blocked, a doubt that may not
        be looked at is parked. ``timeout`` is how many seconds a request of the worker may last, from before
        :meth:`begin` to its end. Lanes with something urgent come first, then those that wait longest. A lane in which
        something is in doubt hands out its doubts alone; else its queue in order, a record's resources never parted.
        What was handed out is held until it is settled. Leases that ran out are taken back first, and changed consents
        become effective (:meth:`effect`).
        """
        terms = Terms(lanes, limit, lease, timeout)
        with self._store.write() as connection:
            now = self._clock()
            _rescue(connection, self._vault, site, now)
            withdrawal.effect(connection, self._vault, now, _EFFECTS)
            handed = claim(connection, self._vault, site, worker, terms, gate=gate, now=now)
        stopped: set[int] = set()
        # Where all that was due may not go, there may be more behind it.
        while not handed.claims and handed.stopped - stopped:
            stopped |= handed.stopped
            with self._store.write() as connection:
                handed = claim(connection, self._vault, site, worker, terms, gate=gate, now=self._clock())
        return handed.claims

    def begin(self, bundles: Iterable[Outgoing]) -> float:
        """Write down what is about to leave; when this returns, bytes may, until the moment it returns.

        Raises :class:`LeaseLost` where a lease is lost or past its end, :class:`ConsentChanged` where a patient's
        consents are not those by which the lane was handed out, :class:`LedgerError` where a delivery is not claimed;
        then nothing is begun.
        """
        with self._store.write() as connection:
            return settle.begin(connection, self._vault, list(bundles), self._clock())

    def still_permitted(self, held: Lease) -> float | None:
        """Until when a request may last that only reads, for a lane; None where it has to be decided anew.

        Asked before each: it names the patient to the site. Raises :class:`LeaseLost`.
        """
        # Like one that writes: it has to wait for who is changing the consents at this moment.
        with self._store.write() as connection:
            now = self._clock()
            lease.check(connection, [held], not_after=now)
            try:
                lease.permitted(connection, [held], now)
            except ConsentChanged:
                return None
        return now + held.timeout

    def settle(self, results: Iterable[Result], *, ended: Iterable[Ended] = ()) -> None:
        """Write down what became of deliveries. A lane of which nothing is held any more is given back.

        Raises :class:`LeaseLost` where somebody else has taken a lane, :class:`LedgerError` for a move that does not
        exist; then nothing is changed.
        """
        with self._store.write() as connection:
            settle.settle(connection, self._vault, list(results), list(ended), self._clock())

    def renew(self, leases: Iterable[Lease], seconds: float) -> list[Lease]:
        """Hold on to lanes for ``seconds`` from now. Raises :class:`LeaseLost`; then none is renewed."""
        with self._store.write() as connection:
            return lease.renew(connection, list(leases), self._clock() + seconds)

    def release(self, leases: Iterable[Lease]) -> Rescued:
        """Give lanes back: what has not gone is queued, what was begun and not settled is in doubt.

        It says that no request of these lanes is under way any more.
        """
        with self._store.write() as connection:
            return lease.release(connection, self._vault, list(leases), self._clock())

    def rescue(self, site: str) -> Rescued:
        """The same for lanes of which the lease is over."""
        with self._store.write() as connection:
            return lease.rescue(connection, self._vault, site, self._clock())

    # Consents.

    def effect(self) -> list[str]:
        """Make changed consents effective of which nothing older is under way at any site; the patients' keys.

        That is so at the latest when the longest request that was begun before the change is over: what a worker has
        not settled by then is in doubt, and its lanes are taken from it. What the older consents blocked is queued, to
        be decided anew. A patient that somebody else is busy with is left for the next time.
        """
        with self._store.write() as connection:
            return withdrawal.effect(connection, self._vault, self._clock(), _EFFECTS)

    def follow(
        self, site: str, patient: str, version: int, items: Iterable[Item], *, run: str
    ) -> list[Enqueued] | None:
        """Queue what follows from a version, and write down that it was drawn, both or neither.

        None, and nothing is written, where it is not the one to be followed: somebody did, or it changed again.
        """
        offered = list(items)
        with self._store.write() as connection:
            now = self._clock()
            return withdrawal.follow(connection, self._vault, site, patient, version, offered, run=run, now=now)

    # Mending.

    def learn(
        self,
        resource: int,
        *,
        server: Server,
        version: str | None = None,
        server_id: str | None = None,
        reason: str = "",
    ) -> None:
        """Write down what was found at the site under an identity (``Known.resource``)."""
        with self._store.write() as connection:
            mend.learn(
                connection,
                self._vault,
                resource,
                server=server,
                version=version,
                server_id=server_id,
                reason=reason,
                now=self._clock(),
            )

    def resend(self, resources: Iterable[int], *, run: str) -> int:
        """Queue what the site had acknowledged once more; how many. Not what is withdrawn, or under way already."""
        with self._store.write() as connection:
            return mend.resend(connection, self._vault, list(resources), run=run, now=self._clock())

    def replay(self, where: Where) -> int:
        """Queue failed deliveries again, as if never tried; how many. Not those that a newer revision overtook."""
        with self._store.write() as connection:
            return mend.replay(connection, self._vault, where, self._clock())

    # Deleting.

    def purge_patient(self, patient: str, *, rehearse: bool = False) -> Purged:
        """Delete the bodies of a patient at all sites, and what else nothing needs; see :mod:`.purge`.

        ``rehearse`` only counts. Raises :class:`LedgerError` (``ledger.open``) while anything is on its way.
        """
        with self._rehearsed(rehearse) as connection:
            done = purge.of_patient(connection, self._vault, patient)
        if not rehearse:
            self._store.forget()
        return done

    def purge(self, before: float, *, site: str | None = None, rehearse: bool = False) -> Purged:
        """Delete the bodies, and what decisions looked at, of what was over before then.

        What is the last of its identity stays, for merging and for ``verify``. Some lanes are a transaction.
        """
        done, after = purge.Purged(), 0
        while True:
            with self._rehearsed(rehearse) as connection:
                lanes = purge.each_lane(connection, site, after)
                done = done.plus(purge.of_lanes(connection, self._vault, lanes, before))
            if not lanes:
                break
            after = lanes[-1][0]
        if not rehearse:
            self._store.forget()
        return done

    @contextmanager
    def _rehearsed(self, only: bool) -> Iterator[Connection]:
        with self._store.write() as connection:
            yield connection
            if only:
                connection.rollback()

    def rekey(self) -> Iterator[int]:
        """Seal everything under the active key of the vault while workers go on; how many values after each batch.

        What was broken off is gone on with by calling it again. Afterwards :meth:`sealed_under` names no other key, and
        the others may be taken out of the ring.
        """
        return rekey.rekey(self._store, self._vault)

    # Keeping.

    def keep_proof(self, site: str, document: str) -> None:
        """Keep what was proven of a site."""
        with self._store.write() as connection:
            keep.put(connection, self._vault, f"proof:{site}", "proof", document, self._clock())

    def learn_limit(self, site: str, name: str, value: int) -> int:
        """Remember a limit of a site; the lowest ever learnt holds, and is returned."""
        with self._store.write() as connection:
            lowest = min(value, keep.numbers(connection, self._vault, f"limits:{site}").get(name, value))
            keep.put(connection, self._vault, f"limits:{site}", name, str(lowest), self._clock())
            return lowest

    def forget_limits(self, site: str) -> None:
        """Learn a site's limits anew."""
        with self._store.write() as connection:
            keep.forget(connection, f"limits:{site}")

    def set_mark(self, source: str, value: str) -> None:
        """Remember how far a source was read. With what was read from it: ``marks`` of :meth:`enqueue`."""
        with self._store.write() as connection:
            keep.put(connection, self._vault, keep.MARKS, source, value, self._clock())


# Parameters have the names of these modules.
_rescue, _keep_evidence = lease.rescue, evidence.keep
