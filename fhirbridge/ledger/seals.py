"""What of each row is sealed, and to what it is bound: the one table of it is at the end of this module.

A sealed part opens only beside the columns it was bound to, so reading it proves that none of them was edited, and that
the row is where it was written. Rows without anything secret, and what changes in a row's life, carry a mark instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import Column, Table
from sqlalchemy.sql.elements import Label

from fhirbridge.errors import LedgerError, VaultError
from fhirbridge.ledger.schema import bundle, consent, decision, delivery, event, lane, patient, payload, resource
from fhirbridge.vault import Vault

_encode = msgspec.msgpack.Encoder().encode


class Named(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Of a resource: the id of its record, and the newest revision that was offered, with its rank."""

    record: str
    revision: str
    rank: str


class Matter(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Of a delivery: its revision, and what a decision on it looks at ("" where there was none yet)."""

    revision: str
    subject: str


class Paper(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Of a consent: which revision of which it is, the hash of what it says, and why it cannot be read."""

    record: str
    revision: str
    rank: str
    content: str
    reason: str


class Grounds(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Of a decision: the consents by revision, and the provisions that said so, for people."""

    consents: str
    trail: str


T = TypeVar("T")


def name_of(table: Table) -> str:
    """A table's name as plain text; SQLAlchemy's is of a class of its own."""
    return str(table.name)


@dataclass(frozen=True)
class _Bound:
    """A column of a table that is bound to others of its row; the first of ``bound`` is the row's number."""

    table: Table
    bound: tuple[str, ...]
    column: str
    _head: tuple[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_head", (name_of(self.table), self.column))

    def columns(self, table: Any = None, prefix: str = "") -> list[Column[Any] | Label[Any]]:
        """What is needed of a row to check or open it, in its order; of an alias of the table, or under other names."""
        source = self.table if table is None else table
        return [source.c[name].label(prefix + name) for name in (*self.bound, self.column)]

    @property
    def width(self) -> int:
        """How many columns that are."""
        return len(self.bound) + 1


@dataclass(frozen=True)
class Sealed(_Bound, Generic[T]):
    """The sealed part of a table's rows."""

    shape: type[T]
    _read: Callable[[bytes], T] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "_read", msgspec.msgpack.Decoder(self.shape).decode)

    def place(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """To what the sealed part of a row is bound, by the values of the bound columns in their order."""
        return (*self._head, *values)

    def seal(self, vault: Vault, owner: str, row: Mapping[str, Any], hidden: T) -> bytes:
        """The sealed part of a row that is about to be written."""
        return vault.seal(owner, self.place([row[name] for name in self.bound]), _encode(hidden))

    def open(self, vault: Vault, owner: str, values: Sequence[Any]) -> T:
        """What is hidden in a row of :meth:`columns`. Raises :class:`LedgerError`."""
        try:
            plain = vault.open(owner, self.place(values[:-1]), values[-1])
        except VaultError as error:
            raise unopened(self.table, values[0], error) from None
        return self._read(plain)


@dataclass(frozen=True)
class Marked(_Bound):
    """The mark of a table's rows, which proves the columns it is bound to."""

    def mark(self, vault: Vault, *values: Any) -> bytes:
        """The mark of a row with these values of the bound columns, in their order."""
        return vault.mark((*self._head, *values))

    def of(self, vault: Vault, row: Mapping[str, Any]) -> bytes:
        """The mark of a row by the names of its columns."""
        return self.mark(vault, *[row[name] for name in self.bound])

    def check(self, vault: Vault, values: Sequence[Any]) -> None:
        """Raises :class:`LedgerError` (``ledger.tampered``) where a row of :meth:`columns` is not as it was written."""
        if not vault.marked((*self._head, *values[:-1]), values[-1]):
            raise tampered(self.table, values[0])


def tampered(table: Table, number: object) -> LedgerError:
    """A row that is not as the ledger wrote it."""
    return LedgerError(
        f"row {number} of {table.name} is not as it was written",
        code="ledger.tampered",
        hint="nothing of it is believed: fhirbridge audit verify --ledger lists such rows, the backup has them right",
    )


def unopened(table: Table, number: object, error: VaultError) -> LedgerError:
    """A row whose sealed part does not open: its key is missing, or it was edited or moved."""
    if error.code != "vault.unknown_key":
        return tampered(table, number)
    return LedgerError(
        f"row {number} of {table.name}: {error.message}", code="ledger.vault_key_missing", hint=error.hint
    )


RESOURCE = Sealed(
    resource,
    ("id", "site", "kind", "record", "role", "generation", "lane", "resource_type", "resource_id", "withdrawn"),
    "seal",
    Named,
)
DELIVERY = Sealed(
    delivery,
    (
        *("id", "resource", "lane", "event", "action", "content", "mapping", "urgent", "run", "enqueued_at"),
        *("payload", "start", "length"),
    ),
    "seal",
    Matter,
)
CONSENT = Sealed(consent, ("id", "patient", "source", "at", "digest"), "seal", Paper)
DECISION = Sealed(decision, ("id", "at", "site", "patient", "act", "effect", "reason", "digest"), "seal", Grounds)
# What the site is known to hold; it changes with every acknowledgement.
STANDING = Marked(resource, ("id", "server", "version", "server_id", "acked"), "standing")
# How a delivery ended; NULL while it is open.
SETTLED = Marked(delivery, ("id", "state", "settled_at", "version", "bundle", "reason"), "mark")
BUNDLE = Marked(bundle, ("id", "lane", "worker", "fence", "attempt", "entries", "digest", "begun_at"), "seal")
EVENT = Marked(
    event,
    ("resource", "delivery", "at", "event", "before", "after", "bundle", "reason", "decision"),
    "seal",
)
# How many deliveries there are of a lane; NULL while there is none.
TALLY = Marked(lane, ("id", "site", "key", "deliveries"), "seal")


def consents_mark(vault: Vault, number: int, key: str, version: int, papers: Sequence[tuple[int, str]]) -> bytes:
    """The mark of a patient with these consents (number, digest), in the order of their numbers."""
    return vault.mark((name_of(patient), "seal", number, key, version, *[part for one in papers for part in one]))


def payload_place(number: int, on: int) -> tuple[Any, ...]:
    """To what a blob of bodies is bound beside its patient: its number, and its lane."""
    return name_of(payload), number, on


def body_place(number: int, digest: str) -> tuple[Any, ...]:
    """To what the body of a consent is bound: its number, and which revision it is."""
    return name_of(consent), "body", number, digest
