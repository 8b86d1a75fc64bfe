"""What a server really does, one trial for each ability that writing safely depends on (specification §9.3).

Some forty requests in all, a dozen small resources, never two requests at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from uuid import UUID, uuid5

from fhirbridge.client.laboratory import Laboratory, responses, statuses
from fhirbridge.client.proof import AbilityName, Limit
from fhirbridge.client.rest import Stored, if_match_header, path_of
from fhirbridge.client.specimen import DECIMAL, by_identifier, by_tag, post_entry, put_entry
from fhirbridge.client.transport import Answer
from fhirbridge.errors import SiteUntrusted
from fhirbridge.fhir.bundle import Address
from fhirbridge.fhir.json import Tree

IDEMPOTENCY_HEADER = "x-amz-fhir-idempotency-key"
# 412 as FHIR has it, 409 as HAPI has it, 428 for a condition that was missing.
_STALE = frozenset({409, 412})
_CONDITION_WANTED = frozenset({409, 412, 428})
# Seconds for an index to find what was stored, and to the second look for it; each further one takes twice as long.
_LONGEST_LAG = 15.0
_FIRST_WAIT = 0.25
_BUNDLE = 3


class Trials:
    """The trials of one laboratory and what they found. ``proven`` has what was tried, with a status or a word."""

    def __init__(self, laboratory: Laboratory, most_entries: int, idempotency_header: str) -> None:
        self.proven: dict[AbilityName, tuple[bool | None, str]] = {}
        self.entries: Limit | None = None
        self.index_lag: float | None = None
        self.notices: list[str] = []
        self._lab = laboratory
        self._most_entries = most_entries
        self._header = idempotency_header
        self._first: Tree = laboratory.new()
        self._place: Address | None = None
        self._takes_our_ids = False

    @property
    def can_write(self) -> bool:
        """Whether the server took a resource at all."""
        return self._place is not None

    def begin(self) -> None:
        """Store a first resource, by POST and by PUT; without one there is nothing more to try."""
        self._each({"create": self._create, "update_create": self._update_create})

    def go_on(self, progress: Callable[[str], None]) -> None:
        """The other trials."""
        trials: dict[str, Callable[[], None]] = {
            "searches": self._searches,
            "conditional create": self._conditional_create,
            "conditional update": self._conditional_update,
            "conditions": self._conditions,
            "decimals": self._decimals,
            "idempotency key": self._idempotency_key,
            "transaction": self._transaction,
            "batch": self._batch,
            "bundle limit": self._limit,
            "delete": self._delete,
        }
        self._each(trials, progress)

    def _each(self, trials: Mapping[str, Callable[[], None]], progress: Callable[[str], None] = lambda _: None) -> None:
        for name, trial in trials.items():
            progress(name)
            try:
                trial()
            except SiteUntrusted as error:
                # One answer that cannot be believed does not end the probe; what it was about stays unproven.
                self.notices.append(f"{name}: {error.code}")

    def _create(self) -> None:
        answer = self._lab.post(self._first)
        stored = self._lab.stored(answer)
        self._note("create", stored is not None, answer)
        self._place = stored.address if stored is not None else None

    def _update_create(self) -> None:
        own = self._lab.new()
        address = Address(self._lab.type, own["id"])
        answer = self._lab.put(own)
        stored = self._lab.stored(answer, address)
        self._takes_our_ids = stored is not None and stored.address == address and self._lab.there(address)
        self._note("update_create", self._takes_our_ids, answer)
        if self._place is None and self._takes_our_ids:
            self._first, self._place = own, address

    def _searches(self) -> None:
        self.index_lag = self._search("identifier_search", by_identifier, _LONGEST_LAG)
        lag = self.index_lag
        # What one index has found the other one has, or never will.
        self._search("tag_search", by_tag, _LONGEST_LAG if lag is None else max(2 * lag, 1.0))

    def _search(self, name: AbilityName, query: Callable[[Tree], str], patience: float) -> float | None:
        """Whether a search finds the one resource, and nothing where there is nothing; the seconds that it took.

        It is looked for until ``patience``, in seconds, is at an end.
        """
        started = self._lab.clock()
        nothing = self._lab.search(query(self._lab.new()))
        if nothing is None or nothing:
            self.proven[name] = (False, "refused" if nothing is None else "ignored")
            return None
        waited, wait = 0.0, _FIRST_WAIT
        while True:
            found = self._lab.search(query(self._first))
            if found and [one.get("id") for one in found] == [self._there.id]:
                self.proven[name] = (True, "")
                return self._lab.clock() - started if waited else 0.0
            if waited >= patience:
                self.proven[name] = (False, "not found")
                return None
            self._lab.sleep(wait)
            waited, wait = waited + wait, wait * 2

    def _conditional_create(self) -> None:
        queries: dict[AbilityName, str] = {
            "conditional_create": by_identifier(self._first),
            "conditional_create_tag": by_tag(self._first),
        }
        for name, query in queries.items():
            answer = self._lab.post(self._first, {"If-None-Exist": query})
            stored = self._lab.stored(answer)
            same = answer.status == 200 and (stored is None or stored.address == self._there)
            self._note(name, same, answer)
        if not self._has("conditional_create"):
            return
        # HAPI since 5.4.1 may want the type in front of the query, in bundles only (hapi-fhir #2842).
        query = by_identifier(self._first)
        for bare, form in ((True, query), (False, f"{self._lab.type}?{query}")):
            if statuses(self._lab.bundle("transaction", [post_entry(self._first, form)])) == ["200"]:
                self.proven["bare_if_none_exist"] = (bare, "")
                return

    def _conditional_update(self) -> None:
        answer = self._lab.put_where(self._lab.changed(self._first, "conditional update"))
        stored = self._lab.stored(answer)
        same = answer.status == 200 and (stored is None or stored.address == self._there)
        self._note("conditional_update", same, answer)

    def _conditions(self) -> None:
        """If-Match and If-None-Match on an update; each version has other content, or a server might see no change."""
        old = self._version()
        answer = self._change("update", {"If-Match": if_match_header(old)} if old else {})
        self._note("update", self._lab.stored(answer, self._there) is not None, answer)
        if not self._has("update"):
            return
        if old is not None:
            stale = self._change("stale", {"If-Match": if_match_header(old)})
            self._note("if_match", stale.status in _STALE, stale)
        without = self._change("no condition", {})
        if without.status in _CONDITION_WANTED:
            # It would refuse the next one for the same reason.
            self.proven["update"] = (True, "needs If-Match")
            return
        again = self._change("If-None-Match", {"If-None-Match": "*"})
        self._note("if_none_match", again.status in _STALE, again)

    def _change(self, words: str, headers: Mapping[str, str]) -> Answer:
        return self._lab.put({**self._lab.changed(self._first, words), "id": self._there.id}, headers)

    def _version(self) -> str | None:
        stored = self._lab.stored(self._lab.ask("GET", path_of(self._there)), self._there)
        return stored.version if stored is not None else None

    def _decimals(self) -> None:
        answer = self._lab.ask("GET", path_of(self._there))
        text = self._lab.specimens.decimal_in(answer.tree) if isinstance(answer.tree, dict) else None
        self.proven["decimals"] = (text == DECIMAL, "" if text == DECIMAL else "changed" if text else "dropped")

    def _idempotency_key(self) -> None:
        if not self._has("create"):
            return
        resource = self._lab.new()
        key = {self._header: str(uuid5(UUID(int=0), self._lab.specimens.run))}
        first, second = (self._place_of(self._lab.post(resource, key)) for _ in range(2))
        if first is not None:
            self.proven["idempotency_key"] = (first == second, "" if first == second else "ignored")

    def _place_of(self, answer: Answer) -> Address | None:
        """Where a resource is; a repeated key is answered with 409 and the resource (HealthLake)."""
        found: Stored | None = self._lab.stored(answer)
        tree = answer.tree
        if found is None and isinstance(tree, dict) and tree.get("resourceType") == self._lab.type:
            return Address(self._lab.type, tree["id"]) if isinstance(tree.get("id"), str) else None
        return found.address if found is not None else None

    def _transaction(self) -> None:
        answer = self._lab.bundle("transaction", [self._entry(self._lab.new()) for _ in range(_BUNDLE)])
        said = statuses(answer)
        if not 200 <= answer.status < 300 or not all(one.startswith("2") for one in said):
            self._note("transaction", proven=False, answer=answer)
            return
        self.proven["every_entry"] = (len(said) == _BUNDLE, f"{len(said)} of {_BUNDLE}")
        bad = self._failing_entry()
        if bad is None:
            self.proven["transaction"] = (None, "nothing to roll back")
            return
        good = self._lab.new()
        answer = self._lab.bundle("transaction", [self._entry(good), bad])
        said = statuses(answer)
        if 200 <= answer.status < 300 and said[-1:] and said[-1].startswith("2"):
            self.proven["transaction"] = (None, "nothing failed")
        else:
            kept = self._is_kept(good)
            self.proven["transaction"] = (not kept, "not rolled back" if kept else f"{answer.status}, rolled back")

    def _batch(self) -> None:
        bad = self._failing_entry()
        entries = [self._entry(self._lab.new()), *([bad] if bad else [])]
        answer = self._lab.bundle("batch", entries)
        said = statuses(answer)
        # Answered entry by entry is what makes it a batch; one that is throttled is no other thing.
        self._note("batch", answer.status == 200 and len(said) == len(entries), answer)
        if "every_entry" not in self.proven and answer.status == 200:
            self.proven["every_entry"] = (len(said) == len(entries), f"{len(said)} of {len(entries)}")

    def _entry(self, resource: Tree) -> Tree:
        return put_entry(self._lab.client.base, resource) if self._takes_our_ids else post_entry(resource)

    def _failing_entry(self) -> Tree | None:
        """An entry that is well formed and that this server will refuse all the same."""
        if not self._has("if_match"):
            return None
        stale = {**self._lab.changed(self._first, "rolled back"), "id": self._there.id}
        return put_entry(self._lab.client.base, stale, if_match="0")

    def _is_kept(self, resource: Tree) -> bool:
        if self._takes_our_ids:
            return self._lab.there(Address(self._lab.type, resource["id"]))
        if self.index_lag:
            self._lab.sleep(self.index_lag)
        return bool(self._lab.search(by_identifier(resource)))

    def _limit(self) -> None:
        """The entries that one bundle may have, up to what will be sent; tried with reads, which leave nothing."""
        if self._reads(self._most_entries):
            self.entries = Limit(self._most_entries)
            return
        if not self._reads(1):
            self.notices.append("bundle limit: no batch of reads")
            return
        passed, refused = 1, self._most_entries
        while refused - passed > 1:
            middle = (passed + refused) // 2
            passed, refused = (middle, refused) if self._reads(middle) else (passed, middle)
        self.entries = Limit(passed, refused)

    def _reads(self, count: int) -> bool:
        entry = {"request": {"method": "GET", "url": path_of(self._there)}}
        answer = self._lab.bundle("batch", [entry] * count)
        return answer.status == 200 and len(responses(answer)) == count

    def _delete(self) -> None:
        """Delete one and look whether it is gone; the rest is deleted at the end anyway."""
        resource = self._lab.new()
        place = self._place_of(self._lab.put(resource) if self._takes_our_ids else self._lab.post(resource))
        if place is None:
            return
        answer = self._lab.ask("DELETE", path_of(place))
        after = self._lab.ask("GET", path_of(place)).status
        self.proven["delete"] = (after in (404, 410), str(after if after in (404, 410) else answer.status))

    @property
    def _there(self) -> Address:
        assert self._place is not None
        return self._place

    def _has(self, name: AbilityName) -> bool:
        return self.proven.get(name, (None, ""))[0] is True

    def _note(self, name: AbilityName, proven: bool, answer: Answer) -> None:
        """What a trial showed; a 2xx that did not do what was asked means that the server ignored it."""
        ignored = not proven and 200 <= answer.status < 300
        self.proven[name] = (proven, "ignored" if ignored else str(answer.status))
