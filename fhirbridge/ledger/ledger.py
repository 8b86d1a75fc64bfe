"""The ledger: every delivery's durable state, behind one object.

with Ledger.open("sqlite:///fhirbridge-ledger.db", key_check=key_check(id_key)) as ledger:
    ledger.enqueue(items, site="north", run="2026-11-22")
    for claim in ledger.claim("north", "worker-1"): ...

Each method is one transaction: all of it happens or nothing. Objects may be shared by threads. Every failure is a
:class:`LedgerError`; after one that is a :class:`LedgerUnavailable` the same call may be made again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType, TracebackType
from typing import Self

from sqlalchemy import Connection

from fhirbridge.ledger import enqueue, history, keep, lease, look, mend, settle
from fhirbridge.ledger.failures import translated
from fhirbridge.ledger.migrate import upgrade
from fhirbridge.ledger.payload import ZLIB, Codec
from fhirbridge.ledger.states import FAILED, Server, State
from fhirbridge.ledger.store import Store
from fhirbridge.ledger.words import (
    Adopted,
    Claim,
    Ended,
    Enqueued,
    Entry,
    Item,
    Kept,
    Known,
    Lease,
    Outgoing,
    Rescued,
    Result,
    Row,
    Standing,
    Where,
)

NOTHING: Mapping[str, str] = MappingProxyType({})
_MARKS = "marks"


class Ledger:
    """The durable state of every delivery. Made by :meth:`open`."""

    def __init__(self, store: Store, check: str, clock: Callable[[], float], codec: Codec) -> None:
        self._store, self._check, self._clock, self._codec = store, check, clock, codec

    @classmethod
    def open(
        cls,
        url: str,
        *,
        key_check: str,
        clock: Callable[[], float] = time.time,
        codec: Codec = ZLIB,
        patience: float = 30.0,
    ) -> Self:
        """Open a ledger, made or upgraded where needed.

        ``url``: ``sqlite:///file`` or ``postgresql+psycopg://…``. ``key_check``: see :func:`keep.key_check`. ``clock``
        gives epoch seconds. ``patience``: seconds to wait for a lock. Raises :class:`LedgerMismatch` (another key, a
        newer schema, no ledger), :class:`LedgerUnavailable`, :class:`LedgerError` for a URL that is of no use.
        """
        store = Store(url, patience=patience)
        try:
            upgrade(store)
            with store.write() as connection:
                keep.check_key(connection, key_check, keep=True)
        except BaseException:
            store.close()
            raise
        return cls(store, key_check, clock, codec)

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
        connection: Connection | None = None,
    ) -> list[Enqueued]:
        """Offer items; what is new or changed is queued. One answer for each, in their order.

        ``marks`` are set along with it (see :meth:`mark`). With ``connection``, one to the same database, everything is
        part of the caller's own transaction: it is there when that commits, and not if it does not. ``resend`` sends
        what only a new version of the mapping changed.
        """
        offered = list(items)
        with self._joined(connection) as joined:
            now = self._clock()
            answers = enqueue.enqueue(joined, offered, site=site, run=run, resend=resend, now=now, codec=self._codec)
            keep.put_all(joined, _MARKS, marks, now)
            return answers

    @contextmanager
    def _joined(self, connection: Connection | None) -> Iterator[Connection]:
        if connection is None:
            with self._store.write() as own:
                yield own
        else:
            with translated():
                keep.check_key(connection, self._check, keep=False)
                yield connection

    def preview(self, items: Iterable[Item], *, site: str, resend: bool = False) -> list[Enqueued]:
        """The answers that :meth:`enqueue` would give now; nothing is written."""
        with self._store.read() as connection:
            return enqueue.planned(connection, list(items), site=site, resend=resend).answers

    def adopt(self, found: Iterable[Adopted], *, site: str, run: str) -> int:
        """Take over what was read from the site after the ledger was lost; how many were not known yet."""
        with self._store.write() as connection:
            return mend.adopt(connection, list(found), site=site, run=run, now=self._clock())

    # Sending.

    def claim(self, site: str, worker: str, *, lanes: int = 64, limit: int = 2_000, lease: float = 60.0) -> list[Claim]:
        """Lease up to ``lanes`` lanes for ``lease`` seconds, and hand out what is due of them, about ``limit`` in all.

        Lanes with something urgent come first, then those that wait longest. A lane in which something is in doubt
        hands out its doubts alone; else its queue in order, a record's resources never parted. What was handed out is
        held until it is settled. Leases that ran out are taken back first.
        """
        with self._store.write() as connection:
            now = self._clock()
            _rescue(connection, site, now)
            return _claim(connection, site, worker, lanes=lanes, limit=limit, lease=lease, now=now, codec=self._codec)

    def begin(self, bundles: Iterable[Outgoing]) -> None:
        """Write down what is about to leave; when this returns, bytes may.

        Raises :class:`LeaseLost` where a lease is lost or past its end, :class:`LedgerError` where a delivery is not
        claimed; then nothing is begun.
        """
        with self._store.write() as connection:
            settle.begin(connection, list(bundles), self._clock())

    def settle(self, results: Iterable[Result], *, ended: Iterable[Ended] = ()) -> None:
        """Write down what became of deliveries. A lane of which nothing is held any more is given back.

        Raises :class:`LeaseLost` where somebody else has taken a lane, :class:`LedgerError` for a move that does not
        exist; then nothing is changed.
        """
        with self._store.write() as connection:
            settle.settle(connection, list(results), list(ended), self._clock())

    def renew(self, leases: Iterable[Lease], seconds: float) -> list[Lease]:
        """Hold on to lanes for ``seconds`` from now. Raises :class:`LeaseLost`; then none is renewed."""
        with self._store.write() as connection:
            return lease.renew(connection, list(leases), self._clock() + seconds)

    def release(self, leases: Iterable[Lease]) -> Rescued:
        """Give lanes back: what has not gone is queued, what was begun and not settled is in doubt."""
        with self._store.write() as connection:
            return lease.release(connection, list(leases), self._clock())

    def rescue(self, site: str) -> Rescued:
        """The same for lanes of which the lease is over."""
        with self._store.write() as connection:
            return lease.rescue(connection, site, self._clock())

    def next_due(self, site: str) -> float | None:
        """When a lane has something to hand out, or a lease ends; None where there is nothing to wait for."""
        with self._store.read() as connection:
            return lease.next_due(connection, site)

    def bodies(self, ids: Iterable[int]) -> dict[int, bytes]:
        """The kept bodies by number of the delivery."""
        with self._store.read() as connection:
            return look.bodies(connection, ids, self._codec)

    # Looking.

    def known(self, site: str, records: Iterable[tuple[str, str]]) -> list[Known]:
        """What is known of records, given as (kind, record): every role and generation."""
        with self._store.read() as connection:
            return look.known(connection, site, records)

    def at_address(self, site: str, addresses: Iterable[tuple[str, str]]) -> list[Known]:
        """What is known of resources, given as (resource type, resource id)."""
        with self._store.read() as connection:
            return look.at_address(connection, site, addresses)

    def each_known(self, site: str, *, page: int = 1_000) -> Iterator[Known]:
        """Everything that is known of a site, a page at a time, no transaction left open between them."""
        after = 0
        while True:
            with self._store.read() as connection:
                found = look.page(connection, site, after, page)
            if not found:
                return
            yield from found
            after = found[-1].resource

    def standing(self, site: str | None = None) -> Standing:
        """Counts and ages, of one site or of all."""
        with self._store.read() as connection:
            return look.standing(connection, site)

    def find(self, where: Where, *, after: int = 0, limit: int = 1_000) -> list[Row]:
        """Deliveries, by number behind ``after``."""
        with self._store.read() as connection:
            return look.find(connection, where, after, limit)

    def failed(self, site: str | None = None, *, after: int = 0, limit: int = 1_000) -> list[Row]:
        """Deliveries that wait for a person."""
        return self.find(Where(site=site, states=tuple(sorted(FAILED))), after=after, limit=limit)

    def of_run(self, run: str, site: str | None = None) -> dict[State, int]:
        """How many deliveries of a run stand where."""
        with self._store.read() as connection:
            return look.of_run(connection, run, site)

    def history(self, site: str, kind: str, record: str) -> list[Entry]:
        """Everything that ever happened to a record, in time order."""
        with self._store.read() as connection:
            return history.history(connection, site, kind, record)

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
            return mend.resend(connection, list(resources), run=run, now=self._clock())

    def replay(self, where: Where) -> int:
        """Queue failed deliveries again, as if never tried; how many. Not those that a newer revision overtook."""
        with self._store.write() as connection:
            return mend.replay(connection, where, self._clock())

    def prune(self, before: float) -> int:
        """Delete the bodies settled before then that nothing needs any more; how many blobs went."""
        with self._store.write() as connection:
            return mend.prune(connection, before)

    # Keeping.

    def keep_proof(self, site: str, document: str) -> None:
        """Keep what was proven of a site."""
        with self._store.write() as connection:
            keep.put(connection, f"proof:{site}", "proof", document, self._clock())

    def proof(self, site: str) -> Kept | None:
        """What was proven of a site, and when."""
        with self._store.read() as connection:
            return keep.get(connection, f"proof:{site}", "proof")

    def learn_limit(self, site: str, name: str, value: int) -> int:
        """Remember a limit of a site; the lowest ever learnt holds, and is returned."""
        with self._store.write() as connection:
            lowest = min(value, keep.numbers(connection, f"limits:{site}").get(name, value))
            keep.put(connection, f"limits:{site}", name, str(lowest), self._clock())
            return lowest

    def limits(self, site: str) -> dict[str, int]:
        """The limits learnt of a site."""
        with self._store.read() as connection:
            return keep.numbers(connection, f"limits:{site}")

    def forget_limits(self, site: str) -> None:
        """Learn a site's limits anew."""
        with self._store.write() as connection:
            keep.forget(connection, f"limits:{site}")

    def set_mark(self, source: str, value: str) -> None:
        """Remember how far a source was read. With what was read from it: ``marks`` of :meth:`enqueue`."""
        with self._store.write() as connection:
            keep.put(connection, _MARKS, source, value, self._clock())

    def mark(self, source: str) -> str | None:
        """How far a source was read."""
        with self._store.read() as connection:
            found = keep.get(connection, _MARKS, source)
        return None if found is None else found.text


# The parameter ``lease`` of ``claim`` has the name of the module.
_claim, _rescue = lease.claim, lease.rescue
