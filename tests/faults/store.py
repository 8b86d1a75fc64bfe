"""What the server holds: an append-only log of commits on disk, and everything else computed from it.

The log is the judge. A commit counts when its line is written, whatever the client was told. A server that is killed
reads its log again and goes on; the last line may be torn, and a transaction of which lines are missing never was.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from fhirbridge.errors import JsonError
from fhirbridge.fhir.json import dump, parse_object
from tests.faults.identity import Marks, identifiers_of, marks

Tree: TypeAlias = dict[str, Any]
Address: TypeAlias = tuple[str, str]
Action: TypeAlias = Literal["create", "update", "delete", "forget"]


@dataclass(frozen=True, slots=True)
class Change:
    """A write that has been judged and is to be committed; ``sent`` is what came, ``stored`` what is kept of it.

    ``key`` is a vendor's idempotency key, ``condition`` the search of a conditional create.
    """

    method: str
    type: str
    id: str
    action: Action
    sent: Tree = field(repr=False)
    stored: Tree | None = field(repr=False)
    key: str = ""
    condition: str = ""


@dataclass(frozen=True, slots=True)
class Commit:
    """One line of the log. ``n`` counts commits from 1, ``first`` and ``of`` are the transaction it belongs to.

    ``by`` is ``client`` for what came over FHIR and ``hospital`` for what the laboratory did behind its back.
    """

    n: int
    first: int
    of: int
    request: int
    by: str
    method: str
    action: Action
    type: str
    id: str
    version: int
    identity: str
    identifier: str
    revision: str
    patient: str
    chart: str
    retracts: bool
    hash: str
    key: str
    condition: str
    body: Tree | None = field(repr=False)

    @property
    def address(self) -> Address:
        return self.type, self.id

    @property
    def is_there(self) -> bool:
        return self.body is not None


class Store:
    """The resources of one server. Not safe for threads: the server takes its lock first.

    ``behind`` is how many transactions are acknowledged before they reach the log; killing the server loses them.
    """

    def __init__(self, log: Path, behind: int = 0) -> None:
        self.commits: list[Commit] = []
        self.by_key: dict[str, Commit] = {}
        self.by_condition: dict[str, Commit] = {}
        self._versions: dict[Address, list[Commit]] = {}
        self._index: dict[tuple[str, str, str], dict[Address, None]] = {}
        self._missed: set[Address] = set()
        self._waiting: list[bytes] = []
        self._behind = behind
        whole, size = read_log(log)
        for commit in whole:
            self._take(commit)
        self._file = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        os.ftruncate(self._file, size)

    @property
    def head(self) -> int:
        """The number of the newest commit."""
        return len(self.commits)

    def close(self) -> None:
        """Write what still waits and close the log."""
        self._flush(0)
        os.close(self._file)

    def history(self, address: Address) -> list[Commit]:
        """Every version of a resource, the oldest first; empty when there never was one."""
        return self._versions.get(address, [])

    def current(self, address: Address, head: int | None = None) -> Commit | None:
        """The newest version, or the newest one as of commit ``head``."""
        versions = self._versions.get(address, [])
        if head is not None:
            versions = [one for one in versions if one.n <= head]
        return versions[-1] if versions else None

    def holds(self, address: Address) -> bool:
        """Whether a resource is there and not deleted."""
        newest = self.current(address)
        return newest is not None and newest.is_there

    def indexed(self, resource_type: str, parameter: str, token: str) -> Iterable[Address]:
        """Resources that have or had a token, which is the first look of a search."""
        return list(self._index.get((resource_type, parameter, token), ()))

    def is_searchable(self, address: Address) -> bool:
        """Whether an index that learns from misses has a resource: one of a client only when it was missed before."""
        known = address in self._missed or self._versions[address][0].by != "client"
        self._missed.add(address)
        return known

    def of_type(self, resource_type: str) -> Iterator[Address]:
        """Every resource of a type that was ever there."""
        yield from (address for address in list(self._versions) if address[0] == resource_type)

    def commit(self, changes: list[Change], request: int, by: str = "client") -> list[Commit]:
        """Write changes to the log, all of them or none, and take them in."""
        first = self.head + 1
        made: list[Commit] = []
        for change in changes:
            n = first + len(made)
            told = self._told(change)
            version = self._next_version(change, made)
            made.append(_commit(change, told, n, first, len(changes), request, by, version))
        self._waiting.append(b"".join(dump(_members(one)) + b"\n" for one in made))
        self._flush(self._behind)
        for one in made:
            self._take(one)
        return made

    def _told(self, change: Change) -> Marks:
        """The marks of a change. Where they were not kept, and what is sent was made of what was, it is still that."""
        told, before = marks(change.sent), self.history((change.type, change.id))
        if told.revision or not before:
            return told
        return replace(told, identity=before[-1].identity, revision=before[-1].revision)

    def _next_version(self, change: Change, made: list[Commit]) -> int:
        address = (change.type, change.id)
        before = self.history(address) + [one for one in made if one.address == address]
        return before[-1].version + 1 if before else 1

    def _flush(self, keep: int) -> None:
        while len(self._waiting) > keep:
            os.write(self._file, self._waiting.pop(0))

    def _take(self, commit: Commit) -> None:
        self.commits.append(commit)
        if commit.key:
            self.by_key[commit.key] = commit
        if commit.condition:
            self.by_condition[commit.condition] = commit
        if commit.action == "forget":
            # As if the row had been deleted from the table: no tombstone.
            self._versions.pop(commit.address, None)
            return
        self._versions.setdefault(commit.address, []).append(commit)
        for parameter, token in tokens(commit.body or {}):
            self._index.setdefault((commit.type, parameter, token), {})[commit.address] = None


def read_log(log: Path) -> tuple[list[Commit], int]:
    """The whole transactions of a log, and how many bytes they take."""
    found: list[Commit] = []
    open_ones: list[Commit] = []
    size = whole = 0
    for line in log.read_bytes().splitlines(keepends=True) if log.exists() else ():
        try:
            commit = Commit(**parse_object(line))
        except (JsonError, TypeError):
            break
        if not line.endswith(b"\n"):
            break
        size += len(line)
        open_ones.append(commit)
        if commit.n == commit.first + commit.of - 1:
            found += open_ones
            open_ones, whole = [], size
    return found, whole


def tokens(resource: Tree) -> Iterator[tuple[str, str]]:
    """The tokens of a resource by which it is searched for: parameter and ``system|value``."""
    for one in identifiers_of(resource):
        yield "identifier", f"{one.get('system', '')}|{one.get('value', '')}"
    for one in resource.get("meta", {}).get("tag", ()):
        yield "_tag", f"{one.get('system', '')}|{one.get('code', '')}"


def _members(one: Any) -> Tree:
    """The fields of a dataclass, as they are: ``asdict`` would copy, and numbers that keep their text cannot be."""
    return {each.name: getattr(one, each.name) for each in fields(one)}


def _commit(change: Change, told: Marks, n: int, first: int, of: int, request: int, by: str, version: int) -> Commit:
    body = change.stored
    if body is not None:
        # No clock: the instant is the number of the commit.
        updated = f"2026-01-{1 + n // 86_400:02}T{n // 3600 % 24:02}:{n // 60 % 60:02}:{n % 60:02}Z"
        meta = {**body.get("meta", {}), "versionId": str(version), "lastUpdated": updated}
        body = {"resourceType": change.type, "id": change.id, **body, "meta": meta}
        body["id"] = change.id
    return Commit(
        n=n,
        first=first,
        of=of,
        request=request,
        by=by,
        method=change.method,
        action=change.action,
        type=change.type,
        id=change.id,
        version=version,
        key=change.key,
        condition=change.condition,
        body=body,
        **(_members(told) | {"retracts": told.retracts or change.action == "delete"}),
    )
