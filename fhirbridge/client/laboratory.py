"""Where trials are made: every resource is remembered before it is sent, and removed again, also on Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fhirbridge.client.patience import retry_after
from fhirbridge.client.rest import Client, Stored, path_of, stored_in
from fhirbridge.client.specimen import Specimens, by_identifier, without_id
from fhirbridge.client.transport import Answer
from fhirbridge.errors import SiteError, SiteUntrusted
from fhirbridge.fhir.bundle import Address, location_address, resources
from fhirbridge.fhir.json import Tree

_BUSY = frozenset({429, 503})
_NO_BUNDLES = frozenset({404, 405, 501})
_MOST_WAITS = 3
_LONGEST_WAIT = 60.0
_SHORTEST_WAIT = 1.0
# How often a resource that no answer named is looked for before it counts as never made.
_LOOKS = 3


class Laboratory:
    """One run of trials on one server. ``clock`` gives epoch seconds, ``sleep`` takes seconds.

    ``left`` names what could not be removed, after :meth:`clear`.
    """

    def __init__(
        self, client: Client, specimens: Specimens, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self.client = client
        self.specimens = specimens
        self.clock = clock
        self.sleep = sleep
        self.left: list[str] = []
        self._count = 0
        self._made: dict[Address, None] = {}
        self._open: dict[str, None] = {}

    @property
    def type(self) -> str:
        """The resource type that trials are made with."""
        return self.specimens.type

    def new(self) -> Tree:
        """A resource that is nowhere yet."""
        self._count += 1
        return self.specimens.make(self._count)

    def changed(self, resource: Tree, words: str) -> Tree:
        """The same resource with other content."""
        return {**resource, "code": {"text": f"fhirbridge probe, not a finding ({words})"}}

    def ask(
        self, method: str, address: str, resource: Tree | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request; a busy server is given the time it asks for, up to a minute, three times.

        Raises :class:`SiteUnreachable` and :class:`SiteUntrusted`.
        """
        for _ in range(_MOST_WAITS):
            answer = self.client.ask(method, address, resource, headers)
            if answer.status not in _BUSY:
                return answer
            now = self.clock()
            wait = max((retry_after(answer.headers.get("retry-after"), now).until or now) - now, _SHORTEST_WAIT)
            if wait > _LONGEST_WAIT:
                return answer
            self.sleep(wait)
        return self.client.ask(method, address, resource, headers)

    def put(self, resource: Tree, headers: Mapping[str, str] | None = None) -> Answer:
        """PUT a resource to its own address."""
        address = Address(self.type, resource["id"])
        self._made[address] = None
        return self.ask("PUT", path_of(address), resource, headers)

    def post(self, resource: Tree, headers: Mapping[str, str] | None = None) -> Answer:
        """POST a resource, whose id the server chooses."""
        return self._send("POST", self.type, resource, headers)

    def put_where(self, resource: Tree) -> Answer:
        """PUT a resource to wherever its identifier is found."""
        return self._send("PUT", f"{self.type}?{by_identifier(resource)}", resource, None)

    def _send(self, method: str, address: str, resource: Tree, headers: Mapping[str, str] | None) -> Answer:
        query = by_identifier(resource)
        self._open[query] = None
        answer = self.ask(method, address, without_id(resource), headers)
        stored = self.stored(answer)
        if stored is not None:
            self._made[stored.address] = None
        if stored is not None or 400 <= answer.status < 500:
            del self._open[query]
        return answer

    def bundle(self, kind: str, entries: Sequence[Tree]) -> Answer:
        """Send a transaction or a batch."""
        queries = []
        for entry in entries:
            if entry["request"]["method"] == "PUT":
                self._made[Address(self.type, entry["resource"]["id"])] = None
            elif entry["request"]["method"] == "POST":
                queries.append(by_identifier(entry["resource"]))
        self._open |= dict.fromkeys(queries)
        answer = self.ask("POST", self.client.base, {"resourceType": "Bundle", "type": kind, "entry": list(entries)})
        places = [location_address(str(one.get("location", "")))[0] for one in responses(answer)]
        self._made |= dict.fromkeys(place for place in places if place is not None)
        if answer.status in _NO_BUNDLES or (None not in places and len(places) == len(entries)):
            for query in queries:
                del self._open[query]
        return answer

    def stored(self, answer: Answer, written: Address | None = None) -> Stored | None:
        """What the answer to a write proves; ``None`` if it was not done or nothing is said of where."""
        if not 200 <= answer.status < 300:
            return None
        try:
            return stored_in(answer, self.type, written)
        except SiteUntrusted:
            return None

    def there(self, address: Address) -> bool:
        """Whether a resource can be read."""
        return self.ask("GET", path_of(address)).status == 200

    def search(self, query: str) -> list[Tree] | None:
        """What a search finds; ``None`` if the server refuses it."""
        answer = self.ask("GET", f"{self.type}?{query}")
        return resources(answer.tree) if answer.status == 200 else None

    def clear(self) -> None:
        """Remove everything again and list in ``left`` what cannot be removed. Another Ctrl-C ends that, too."""
        try:
            for query in list(self._open):
                if self._swept(query):
                    del self._open[query]
            for address in reversed(list(self._made)):
                if self._removed(address):
                    del self._made[address]
        finally:
            self.left = [*map(str, self._made), *(f"{self.type}?{query}" for query in self._open)]

    def _removed(self, address: Address) -> bool:
        try:
            status = self.ask("DELETE", path_of(address)).status
            return 200 <= status < 300 or status in (404, 410) or not self.there(address)
        except SiteError:
            return False

    def _swept(self, query: str) -> bool:
        """Look for what no answer named; it is removed with the rest."""
        for look in range(_LOOKS):
            if look:
                self.sleep(_SHORTEST_WAIT)
            try:
                found = self.search(query)
            except SiteError:
                return False
            if found is None:
                return False
            mine = [one["id"] for one in found if self.specimens.ours(one) and isinstance(one.get("id"), str)]
            if mine:
                self._made |= dict.fromkeys(Address(self.type, one) for one in mine)
                return True
        return True


def responses(answer: Answer) -> list[Tree]:
    """The ``response`` of each entry of a response bundle; empty ones where there is none."""
    entries = answer.tree.get("entry") if isinstance(answer.tree, dict) else None
    return [
        entry["response"] if isinstance(entry, dict) and isinstance(entry.get("response"), dict) else {}
        for entry in (entries if isinstance(entries, list) else [])
    ]


def statuses(answer: Answer) -> list[str]:
    """The statuses in a response bundle, three digits each, in its order."""
    return [str(one.get("status", ""))[:3] for one in responses(answer)]
