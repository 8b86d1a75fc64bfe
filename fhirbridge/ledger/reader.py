"""What only reads the ledger: it waits for no writer, and no writer waits for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from fhirbridge.ledger import enqueue, evidence, history, keep, lease, look, rekey, tampering, withdrawal
from fhirbridge.ledger.consents import Consents, Decided, Patient
from fhirbridge.ledger.states import FAILED, State
from fhirbridge.ledger.store import Store
from fhirbridge.ledger.tampering import Tampered
from fhirbridge.ledger.words import Enqueued, Entry, Item, Kept, Known, Row, Standing, Where
from fhirbridge.vault import Vault


class Reader:
    """The part of :class:`Ledger` that changes nothing. Each method is one transaction, unless it says otherwise."""

    def __init__(self, store: Store, vault: Vault, clock: Callable[[], float]) -> None:
        self._store, self._vault = store, vault
        # Marks are made over times as a database gives them back.
        self._clock: Callable[[], float] = lambda: float(clock())

    # Deliveries.

    def preview(self, items: Iterable[Item], *, site: str, resend: bool = False) -> list[Enqueued]:
        """The answers that :meth:`Ledger.enqueue` would give now; nothing is written."""
        with self._store.read() as connection:
            return enqueue.planned(connection, self._vault, list(items), site=site, resend=resend).answers

    def next_due(self, site: str) -> float | None:
        """When a lane has something to hand out, a lease ends, or changed consents become effective at the latest.

        None where there is nothing to wait for.
        """
        with self._store.read() as connection:
            return lease.next_due(connection, site, self._clock())

    def bodies(self, ids: Iterable[int]) -> dict[int, bytes]:
        """The kept bodies by number of the delivery."""
        with self._store.read() as connection:
            return look.bodies(connection, self._vault, ids)

    def known(self, site: str, records: Iterable[tuple[str, str]]) -> list[Known]:
        """What is known of records, given as (kind, record): every role and generation."""
        with self._store.read() as connection:
            return look.known(connection, self._vault, site, records)

    def at_address(self, site: str, addresses: Iterable[tuple[str, str]]) -> list[Known]:
        """What is known of resources, given as (resource type, resource id)."""
        with self._store.read() as connection:
            return look.at_address(connection, self._vault, site, addresses)

    def each_known(self, site: str, *, page: int = 1_000) -> Iterator[Known]:
        """Everything that is known of a site, a page at a time, no transaction left open between them."""
        after = 0
        while True:
            with self._store.read() as connection:
                found = look.page(connection, self._vault, site, after, page)
            if not found:
                return
            yield from found
            after = found[-1].resource

    def of_patient(self, site: str, patient: str) -> list[Known]:
        """What is known of a patient's resources at a site: every role and generation."""
        with self._store.read() as connection:
            return look.of_patient(connection, self._vault, site, patient)

    def standing(self, site: str | None = None) -> Standing:
        """Counts and ages, of one site or of all."""
        with self._store.read() as connection:
            return look.standing(connection, site)

    def find(self, where: Where, *, after: int = 0, limit: int = 1_000) -> list[Row]:
        """Deliveries, by number behind ``after``."""
        with self._store.read() as connection:
            return look.find(connection, self._vault, where, after, limit)

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
            return history.history(connection, self._vault, site, kind, record)

    # Consents.

    def consents(self, patient: str) -> Consents:
        """The newest revision of each consent of a patient, by the key of the lanes."""
        return self.consents_of([patient])[patient]

    def consents_of(self, patients: Iterable[str]) -> dict[str, Consents]:
        """The same of several, by key; version 0 for those of whom nothing is known."""
        with self._store.read() as connection:
            return evidence.consents_of(connection, self._vault, patients)

    def patient(self, key: str) -> Patient | None:
        """How far the newest change of a patient's consents has come."""
        with self._store.read() as connection:
            return evidence.one(connection, key)

    def patient_of(self, kind: str, record: str) -> list[str]:
        """The keys of the patients whose a record is or was."""
        with self._store.read() as connection:
            return look.patients_of(connection, self._vault, kind, record)

    def requested(self, limit: int = 1_000) -> list[Patient]:
        """The patients of whom a change is not effective yet."""
        with self._store.read() as connection:
            return evidence.requested(connection, limit)

    def to_follow(self, site: str, limit: int = 100) -> list[tuple[str, int]]:
        """Patients, and the effective version of their consents of which nobody has drawn the consequences at a site.

        Only those of whom something was ever handed out there, or adopted.
        """
        with self._store.read() as connection:
            return withdrawal.to_follow(connection, site, limit)

    def decisions(self, site: str, kind: str, record: str) -> list[Decided]:
        """Each decision on each delivery of a record, the oldest first."""
        with self._store.read() as connection:
            return history.decisions(connection, self._vault, site, kind, record)

    # What proves that it is as it was written, and under which keys it is sealed.

    def tampered(self) -> Iterator[Tampered]:
        """Every row that is not as the ledger wrote it: see :mod:`fhirbridge.ledger.tampering` for what is not seen.

        A page is a transaction, so workers may go on meanwhile.
        """
        return tampering.tampered(self._store, self._vault)

    def sealed_under(self) -> dict[str, int]:
        """How many values are sealed under each key, by its name."""
        with self._store.read() as connection:
            return rekey.sealed_under(connection)

    # What is kept by name.

    def proof(self, site: str) -> Kept | None:
        """What was proven of a site, and when."""
        with self._store.read() as connection:
            return keep.get(connection, self._vault, f"proof:{site}", "proof")

    def limits(self, site: str) -> dict[str, int]:
        """The limits learnt of a site."""
        with self._store.read() as connection:
            return keep.numbers(connection, self._vault, f"limits:{site}")

    def mark(self, source: str) -> str | None:
        """How far a source was read."""
        with self._store.read() as connection:
            found = keep.get(connection, self._vault, keep.MARKS, source)
        return None if found is None else found.text
