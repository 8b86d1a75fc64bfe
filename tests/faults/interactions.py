"""One request's work over the store: what each interaction does under a personality.

Nothing is written here. An interaction gives an :class:`Effect`; its change, if it has one, is committed by the caller,
alone or together with others, and only then is there an answer to render.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from fhirbridge.fhir.json import canonical
from tests.faults.personalities import Personality
from tests.faults.searching import UnknownParameter, fits, found, page, parsed
from tests.faults.store import Address, Change, Commit, Store

Tree: TypeAlias = dict[str, Any]
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_CODES = {404: "not-found", 409: "conflict", 410: "deleted", 412: "conflict", 413: "too-long", 422: "business-rule"}


class Refusal(Exception):
    """An error status; ``body`` takes the place of the OperationOutcome where the server sends something else."""

    def __init__(self, status: int, text: str, body: Tree | None = None, **headers: str) -> None:
        super().__init__(status)
        self.status, self.headers = status, {name.replace("_", "-"): value for name, value in headers.items()}
        self.body = body or outcome(_CODES.get(status, "processing"), text)


@dataclass(frozen=True, slots=True)
class Effect:
    """What came of one interaction: a change to commit, a version that was there, or another body to answer with."""

    status: int
    change: Change | None = None
    held: Commit | None = None
    body: Tree | None = field(default=None, repr=False)
    unchanged: bool = False


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditional headers of a request, or their namesakes in a bundle's entry; empty when absent."""

    if_match: str = ""
    if_none_match: str = ""
    if_none_exist: str = ""
    key: str = ""


class Visit:
    """The store as one request finds it.

    ``arrived`` is the head when the request came, which is all that a racy server looks at; ``searchable`` the head as
    the search index knows it. ``coming`` are addresses that the same transaction will write.
    """

    def __init__(
        self, ways: Personality, release: str, base: str, store: Store, *, arrived: int, searchable: int
    ) -> None:
        self.ways, self.store = ways, store
        self.coming: set[Address] = set()
        self._release, self._base = release, base
        self._arrived, self._searchable = arrived, searchable

    def read(self, address: Address, version: str = "") -> Effect:
        """Read a resource, or one version of it."""
        versions = self.store.history(address)
        wanted = [one for one in versions if str(one.version) == version] if version else versions[-1:]
        if not wanted:
            raise Refusal(404, "not known")
        if not wanted[0].is_there:
            raise Refusal(410, "deleted")
        return Effect(200, held=wanted[0])

    def search(self, resource_type: str, query: str) -> Effect:
        """Search, one page."""
        wanted = parsed(query)
        hits = self._found(resource_type, query, self._searchable)
        if self.ways.index_after_miss:
            hits = [one for one in hits if self.store.is_searchable(one.address)]
        return Effect(200, body=page(hits, wanted, self._base, resource_type))

    def target(self, resource_type: str, condition: str) -> Address | None:
        """What a conditional create or update would hit; ``None`` for nothing."""
        hits = self._found(resource_type, condition, self._head_for_conditions())
        if len(hits) > 1:
            raise Refusal(412, self.ways.text("many"))
        return hits[0].address if hits else None

    def create(self, resource: Tree, new_id: str, conditions: Conditions) -> Effect:
        """POST: a new resource, or the one that fits the condition or was made with the same key."""
        kind = str(resource["resourceType"])
        if self.ways.idempotency_key and conditions.key:
            if not _UUID.fullmatch(conditions.key):
                raise Refusal(400, "the key is no UUID")
            before = self.store.by_key.get(conditions.key)
            if before is not None:
                raise Refusal(409, "", body=before.body)
        condition = conditions.if_none_exist if self.ways.conditional_create != "ignored" else ""
        if condition:
            there = self.target(kind, condition)
            if there is not None:
                return Effect(200, held=self.store.current(there))
            self._guard(kind, condition, resource)
        unique = f"{kind}?{condition.rpartition('?')[2]}" if condition else ""
        return Effect(201, self._change("POST", (kind, new_id), resource, key=conditions.key, condition=unique))

    def update(self, address: Address, resource: Tree, conditions: Conditions) -> Effect:
        """PUT to an id."""
        newest = self.store.current(address)
        if resource.get("id") not in (None, address[1]) or resource.get("resourceType") != address[0]:
            raise Refusal(400, "the body names another resource")
        if newest is None and not self.ways.update_create:
            raise Refusal(404, self.ways.text("no-create"))
        if newest is None and address[1].isdecimal() and not self.ways.numeric_ids:
            raise Refusal(400, self.ways.text("id"))
        if newest is not None and newest.is_there and conditions.if_none_match == "*" and self.ways.if_none_match:
            raise Refusal(412, self.ways.text("present"))
        self._match(newest, conditions.if_match)
        self._race(address)
        change = self._change("PUT", address, resource)
        if newest is not None and newest.body is not None and self.ways.unchanged_keeps_version:
            assert change.stored is not None
            if _same(change.stored, newest.body):
                return Effect(200, held=newest, unchanged=True)
        return Effect(201 if change.action == "create" else 200, change)

    def update_where(self, resource: Tree, condition: str, new_id: str, conditions: Conditions) -> Effect:
        """PUT to a search: updates what fits, or creates."""
        kind = str(resource["resourceType"])
        if not self.ways.conditional_update:
            raise Refusal(405, "conditional updates are not supported")
        there = self.target(kind, condition)
        if there is None:
            return Effect(201, self._change("PUT", (kind, resource.get("id", new_id)), resource))
        # HAPI ignores If-Match here.
        match = "" if self.ways.if_match == "409" else conditions.if_match
        return self.update(there, {**resource, "id": there[1]}, Conditions(if_match=match))

    def delete(self, address: Address, conditions: Conditions) -> Effect:
        """DELETE; a second one changes nothing."""
        if not self.ways.deletes:
            raise Refusal(405, "deleting is not supported")
        newest = self.store.current(address)
        if newest is None:
            raise Refusal(404, "not known")
        if newest.body is None:
            return Effect(200, body=outcome("informational", "it was deleted before", "information"))
        if conditions.if_match:
            self._match(newest, conditions.if_match)
        return Effect(200, Change("DELETE", *address, "delete", newest.body, None))

    def _found(self, kind: str, query: str, head: int) -> list[Commit]:
        ignoring = self.ways.ignores_unknown_parameters
        try:
            return found(self.store, kind, parsed(query), head, release=self._release, ignoring=ignoring)
        except UnknownParameter:
            raise Refusal(400, self.ways.text("parameter")) from None

    def _head_for_conditions(self) -> int:
        if self.ways.conditional_create == "safe":
            return self.store.head
        if self.ways.conditional_create == "racy":
            return min(self._arrived, self._searchable)
        return self._searchable

    def _guard(self, kind: str, condition: str, resource: Tree) -> None:
        if self.ways.conditional_create != "guarded":
            return
        if not fits({"id": "", **resource}, parsed(condition)):
            raise Refusal(400, "HAPI-0929: the body does not satisfy the match URL")
        last = self.store.by_condition.get(f"{kind}?{condition.rpartition('?')[2]}")
        if last is not None and self.store.head - last.n < self.ways.guard_commits and self.store.holds(last.address):
            raise Refusal(409, self.ways.text("guard"))

    def _match(self, newest: Commit | None, if_match: str) -> None:
        way = self.ways.if_match
        if way == "ignored":
            return
        if not if_match:
            if way == "required" and newest is not None:
                raise Refusal(412, self.ways.text("required"))
            return
        if newest is None and way == "409":
            return  # HAPI creates, with 201
        if newest is None or if_match.removeprefix("W/").strip('"') != str(newest.version):
            raise Refusal(412 if way == "412" else 409, self.ways.text("stale"))

    def _race(self, address: Address) -> None:
        if self.ways.refuses_races and self.store.current(address, self._arrived) is not self.store.current(address):
            raise Refusal(409, self.ways.text("race"))

    def _change(self, method: str, address: Address, resource: Tree, *, key: str = "", condition: str = "") -> Change:
        if self.ways.refuses_modifiers and any(name == "modifierExtension" for name, _ in _members(resource)):
            raise Refusal(422, self.ways.text("modifier"))
        if self.ways.checks_references:
            for name, value in _members(resource):
                if name == "reference" and isinstance(value, str) and not self._leads_somewhere(value):
                    raise Refusal(400, self.ways.text("reference"))
        newest = self.store.current(address)
        stored = _without(resource, frozenset(self.ways.ignores))
        if self.ways.merges_tags and newest is not None and newest.body is not None:
            stored = _with_tags_of(newest.body, stored)
        there = newest is not None and newest.is_there
        return Change(method, *address, "update" if there else "create", resource, stored, key, condition)

    def _leads_somewhere(self, reference: str) -> bool:
        kind, _, own = reference.removeprefix(f"{self._base}/").partition("/")
        address = (kind, own.partition("/")[0])
        return reference.startswith("#") or address in self.coming or self.store.holds(address)


def outcome(code: str, text: str, severity: str = "error") -> Tree:
    """An OperationOutcome."""
    issue = {"severity": severity, "code": code, "diagnostics": text}
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def _members(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield name, value
            yield from _members(value)
    elif isinstance(node, list):
        for value in node:
            yield from _members(value)


def _without(node: Any, names: frozenset[str]) -> Any:
    if isinstance(node, dict):
        return {name: _without(value, names) for name, value in node.items() if name not in names}
    return [_without(value, names) for value in node] if isinstance(node, list) else node


def _with_tags_of(before: Tree, resource: Tree) -> Tree:
    meta = resource.get("meta", {})
    merged = {(one.get("system"), one.get("code")): one for one in before["meta"].get("tag", ())}
    merged |= {(one.get("system"), one.get("code")): one for one in meta.get("tag", ())}
    return {**resource, "meta": {**meta, "tag": list(merged.values())}} if merged else resource


def _same(stored: Tree, before: Tree) -> bool:
    return canonical(_timeless(stored)) == canonical(_timeless(before))


def _timeless(resource: Tree) -> Tree:
    meta = {name: value for name, value in resource.get("meta", {}).items() if name not in ("versionId", "lastUpdated")}
    return {name: value for name, value in resource.items() if name not in ("id", "meta")} | {"meta": meta}
