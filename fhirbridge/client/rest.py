"""FHIR's interactions over one transport: what is asked, what proves that it was done, what the server had to say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import quote, urlencode

from fhirbridge.client.transport import FHIR_JSON, Answer, Transport
from fhirbridge.client.witness import REQUEST_ID, Nobody, Request, Witness
from fhirbridge.errors import FhirbridgeError, SiteRefused, SiteUntrusted
from fhirbridge.fhir.bundle import Address, etag_version, location_address
from fhirbridge.fhir.capability import Capabilities, SmartConfiguration, capabilities, smart_configuration
from fhirbridge.fhir.json import Tree, dump
from fhirbridge.fhir.outcome import Issue, issues, signals

# A server that does not know search by POST says one of these.
NO_POST_SEARCH = frozenset({400, 404, 405, 415, 501})

Listener: TypeAlias = Callable[[Issue], None]
Parameters: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Stored:
    """What proves a write: where the resource is and in which version. ``created`` is true for a new one (201)."""

    address: Address
    version: str | None
    created: bool
    resource: Tree | None = field(default=None, repr=False)


class Client:
    """A FHIR server. ``listener`` hears every issue with the server's own words, which may hold patient data.

    ``witness`` hears of each request before it leaves, and gives it its ``X-Request-Id``. Every method raises
    :class:`SiteRefused` for an error status, :class:`SiteUnreachable` and :class:`SiteUntrusted`, and whatever the
    witness raises, after which nothing has left.
    """

    def __init__(self, transport: Transport, listener: Listener | None = None, witness: Witness | None = None) -> None:
        self._transport = transport
        self._listener = listener
        self._witness = witness or Nobody()
        # What a search names stands in the address then, and in every log on the way.
        self.searches_by_get = False

    @property
    def base(self) -> str:
        """The server's address, without a slash at its end."""
        return self._transport.base

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def before_each(self, wait: Callable[[], object]) -> None:
        """Have ``wait`` called before each request leaves, by the thread that asks: so a pace is kept."""
        self._transport.turn = wait

    def permit_each(self, permit: Callable[[], float | None]) -> None:
        """Have ``permit`` called right before each request leaves, by the thread that asks.

        It says until when (``time.monotonic``) the request may leave, ``None`` for a request that nobody limits, or
        raises. A request that is sent with ``not_after`` is not asked about.
        """
        self._transport.permit = permit

    def turn(self) -> None:
        """Wait for the turn, for whoever is about to send with ``not_after``."""
        if self._transport.turn is not None:
            self._transport.turn()

    def hear(self, said: tuple[Issue, ...]) -> None:
        """Pass issues on to the listener."""
        if self._listener is not None:
            for issue in said:
                self._listener(issue)

    def capabilities(self) -> Capabilities:
        """What the server declares."""
        return capabilities(self._tree(self._done("GET", "metadata")))

    def smart_configuration(self) -> SmartConfiguration | None:
        """What the server says of tokens; ``None`` where it says nothing, as a server without SMART does."""
        answer = self._exchange("GET", ".well-known/smart-configuration")
        return smart_configuration(answer.tree) if answer.status == 200 else None

    def ask(
        self, method: str, address: str, resource: Tree | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request and give back its answer whatever its status, with its headers: nothing is judged here."""
        return self.send(method, address, None if resource is None else dump(resource), headers)

    def send(
        self,
        method: str,
        address: str,
        body: bytes | None,
        headers: Mapping[str, str] | None = None,
        *,
        not_after: float | None = None,
        announced: str | None = None,
    ) -> Answer:
        """The same with these very bytes, for whoever has to know beforehand what will leave, and until when it may.

        ``announced`` is the id of a request of which the caller has told the witness already, and tells the end.
        """
        answer = self._exchange(method, address, body, headers, not_after=not_after, announced=announced)
        self.hear(issues(answer.tree))
        return answer

    def read(self, address: Address) -> Tree | None:
        """A resource; ``None`` when it does not exist (404) or was deleted (410)."""
        answer = self._exchange("GET", path_of(address))
        if answer.status in (404, 410):
            return None
        return self._tree(self._checked(answer, "GET"))

    def create(self, resource: Tree, if_none_exist: str | None = None) -> Stored:
        """POST a resource; with ``if_none_exist``, a search query, only if nothing matches it."""
        headers = {"If-None-Exist": if_none_exist} if if_none_exist else {}
        answer = self._done("POST", resource["resourceType"], dump(resource), headers)
        return stored_in(answer, resource["resourceType"])

    def update(self, resource: Tree, if_match: str | None = None) -> Stored:
        """PUT a resource to its own address; with ``if_match``, a version, only over that version."""
        headers = {"If-Match": if_match_header(if_match)} if if_match else {}
        address = Address(resource["resourceType"], resource["id"])
        stored = stored_in(self._done("PUT", path_of(address), dump(resource), headers), address.type, address)
        if stored.address != address:
            raise SiteUntrusted("the answer to an update names another resource", code="site.wrong_resource")
        return stored

    def delete(
        self,
        address: Address,
        if_match: str | None = None,
        *,
        not_after: float | None = None,
        announced: str | None = None,
    ) -> bool:
        """DELETE a resource; with ``if_match``, only that version. False when it was not there (404) or gone (410).

        ``not_after`` and ``announced`` as in :meth:`send`.
        """
        headers = {"If-Match": if_match_header(if_match)} if if_match else {}
        answer = self._exchange("DELETE", path_of(address), headers=headers, not_after=not_after, announced=announced)
        if answer.status in (404, 410):
            return False
        self._checked(answer, "DELETE")
        return True

    def search(self, resource_type: str, parameters: Parameters) -> Tree:
        """The first page of a search. The parameters stand in the address: nothing secret, no patient data."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        return self._tree(self._done("GET", resource_type + query))

    def search_by_post(self, resource_type: str, parameters: Parameters) -> Tree:
        """The first page of a search whose parameters no log on the way will see."""
        body = urlencode(parameters).encode("ascii")
        form = "application/x-www-form-urlencoded"
        answer = self._exchange("POST", f"{resource_type}/_search", body, content_type=form)
        return self._tree(self._checked(answer, "POST"))

    def find(self, resource_type: str, parameters: Parameters) -> Tree:
        """The first page of a search that names a patient or a record: by POST, or as the site is set to take it.

        Raises :class:`SiteRefused`, with one of :data:`NO_POST_SEARCH`, where the server takes no search by POST.
        """
        ask = self.search if self.searches_by_get else self.search_by_post
        return ask(resource_type, parameters)

    def page(self, address: str) -> Tree:
        """A further page, by the link of the one before; one that leads out of the site is :class:`SiteUntrusted`."""
        return self._tree(self._done("GET", address))

    def post_bundle(self, bundle: Tree) -> Tree:
        """Send a transaction or a batch and give back the response bundle."""
        inside = [(one["request"]["method"], one["request"]["url"]) for one in bundle.get("entry", ())]
        return self._tree(self._checked(self._exchange("POST", self.base, dump(bundle), inside=inside), "POST"))

    def _done(
        self, method: str, address: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        return self._checked(self._exchange(method, address, body, headers), method)

    def _exchange(
        self,
        method: str,
        address: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        content_type: str = FHIR_JSON,
        not_after: float | None = None,
        announced: str | None = None,
        inside: Iterable[tuple[str, str]] = (),
    ) -> Answer:
        """One exchange, announced before its first byte leaves. Every request of a client is made here."""
        if announced is not None:
            named = {**(headers or {}), REQUEST_ID: announced}
            return self._transport.exchange(
                method, address, body=body, content_type=content_type, headers=named, not_after=not_after
            )
        told = self._witness.asks(Request(method, address, body, inside))
        named = {**(headers or {}), REQUEST_ID: told.id}
        try:
            answer = self._transport.exchange(
                method, address, body=body, content_type=content_type, headers=named, not_after=not_after
            )
        except BaseException as error:
            told.ended(None, error.code if isinstance(error, FhirbridgeError) else "stopped")
            raise
        told.ended(answer.status)
        return answer

    def _checked(self, answer: Answer, method: str) -> Answer:
        said = issues(answer.tree)
        self.hear(said)
        if 200 <= answer.status < 300:
            return answer
        faults = [issue.as_fault() for issue in said]
        detail = f": {'; '.join(map(str, faults))}" if faults else ""
        raise SiteRefused(
            f"the site answered {method} with status {answer.status}{detail}",
            status=answer.status,
            issues=faults,
            hint=_HINTS.get(answer.status, ""),
            retry_after=answer.headers.get("retry-after"),
            signals=signals(said),
        )

    @staticmethod
    def _tree(answer: Answer) -> Tree:
        if not isinstance(answer.tree, dict):
            raise SiteUntrusted("the answer holds no resource", code="site.no_resource")
        return answer.tree


_HINTS = {
    401: "check the site's token",
    403: "the token does not allow this",
    404: "check base_url",
    413: "lower bundle_entries",
    429: "the site asks for patience: try again later",
    503: "the site asks for patience: try again later",
}


def path_of(address: Address) -> str:
    """A resource's address relative to the base."""
    return f"{quote(address.type, safe='')}/{quote(address.id, safe='')}"


def if_match_header(version: str) -> str:
    """The ``If-Match`` for a version: a weak ETag, as FHIR has it."""
    return f'W/"{version}"'


def place_in(answer: Answer, resource_type: str) -> tuple[Address | None, str | None, Tree | None]:
    """Where an answer to a write says that the resource is, in which version, and the resource if it holds it.

    The headers count first. What they do not say is taken from the resource, if that is of the type.
    """
    location = answer.headers.get("location") or answer.headers.get("content-location") or ""
    address, version = location_address(location)
    version = etag_version(answer.headers.get("etag", "")) or version
    resource = answer.tree if isinstance(answer.tree, dict) else {}
    if resource.get("resourceType") != resource_type:
        return address, version, None
    own, meta = resource.get("id"), resource.get("meta")
    if address is None and isinstance(own, str):
        address = Address(resource_type, own)
    if version is None and isinstance(meta, dict) and isinstance(meta.get("versionId"), str):
        version = meta["versionId"]
    return address, version, resource


def stored_in(answer: Answer, resource_type: str, written: Address | None = None) -> Stored:
    """What an answer to a write proves. Some servers answer 201 with an empty body and say all in the headers.

    ``written`` is the address it was PUT to. Raises :class:`SiteUntrusted` where the answer names no place.
    """
    address, version, resource = place_in(answer, resource_type)
    # The answer to a PUT need not repeat where it was put.
    address = address or written
    if address is None or address.type != resource_type:
        raise SiteUntrusted("the answer to a write does not say where it went", code="site.no_location")
    return Stored(address, version, answer.status == 201, resource)
