"""One write as its strategy has it: the request, or the bundle's entry, and what proves that it was done. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from urllib.parse import quote

from fhirbridge.client.rest import if_match_header, path_of, place_in
from fhirbridge.client.transport import Answer
from fhirbridge.fhir.bundle import Address, Answered, answered, search_token
from fhirbridge.fhir.json import Json, Tree
from fhirbridge.fhir.outcome import ERRORS, Issue, issues
from fhirbridge.sync.strategy import Strategy

ProvenState: TypeAlias = Literal["created", "updated", "existed", "refused", "look"]
_NAMESPACE = uuid.UUID("5f3c7f0a-8d0e-5f0e-9f1b-6d1c0c7d9a11")


@dataclass(frozen=True, slots=True)
class Target:
    """Which resource is written: our id, our identifier, the tag with the record's key (each system and value); and
    what the server has told of it: its own id and version."""

    type: str
    id: str
    identifier: tuple[str, str] | None = None
    tag: tuple[str, str] | None = None
    server_id: str | None = None
    version: str | None = None


def target_of(resource: Tree, tag_system: str, server_id: str | None = None, version: str | None = None) -> Target:
    """The target of a resource as a mapping wrote it; ``tag_system`` is the code system of record keys."""
    listed = resource.get("identifier")
    identifier = listed[0] if isinstance(listed, list) and listed else listed
    named = (identifier.get("system", ""), identifier["value"]) if isinstance(identifier, dict) else None
    tags = [tag for tag in resource.get("meta", {}).get("tag", ()) if tag.get("system") == tag_system]
    tag = (tag_system, tags[0]["code"]) if tags else None
    return Target(resource["resourceType"], resource["id"], named, tag, server_id, version)


@dataclass(frozen=True, slots=True)
class Write:
    """A write that is ready to be sent. ``url`` is relative to the base, ``expected`` the address that the answer must
    name, if it is known beforehand; ``full_url`` is what other entries of the bundle refer to."""

    strategy: Strategy
    method: Literal["PUT", "POST"]
    url: str
    full_url: str
    resource: Tree = field(repr=False)
    expected: Address | None = None
    if_match: str | None = None
    if_none_match: str | None = None
    if_none_exist: str | None = None
    key: str | None = None

    @property
    def versioned(self) -> bool:
        """Whether a version, or that there is none, is a condition."""
        return self.if_match is not None or self.if_none_match is not None

    @property
    def guarded(self) -> bool:
        """Whether the server itself keeps a repetition from making a second resource."""
        return self.expected is not None or self.strategy.rung.guarded

    @property
    def conditional(self) -> bool:
        """Whether a search is a condition."""
        return self.if_none_exist is not None or "?" in self.url

    def headers(self) -> dict[str, str]:
        """The headers of a request of its own."""
        query = self.if_none_exist
        named = {
            "If-Match": self.if_match,
            "If-None-Match": self.if_none_match,
            "If-None-Exist": query.partition("?")[2] or query if query is not None else None,
            self.strategy.header: self.key,
        }
        return {name: value for name, value in named.items() if value is not None}

    def entry(self) -> Tree:
        """The entry of a bundle. Raises ``ValueError`` for a strategy that goes alone."""
        if self.strategy.rung.alone:
            raise ValueError(f"{self.strategy.name} needs a request of its own")
        request = {
            "method": self.method,
            "url": self.url,
            "ifMatch": self.if_match,
            "ifNoneMatch": self.if_none_match,
            "ifNoneExist": self.if_none_exist,
        }
        said = {name: value for name, value in request.items() if value is not None}
        return {"fullUrl": self.full_url, "resource": self.resource, "request": said}


@dataclass(frozen=True, slots=True)
class Proven:
    """What an answer proves of one write.

    ``existed``: the condition found something; it is to be read and compared. ``look``: nothing is proven, nothing is
    excluded. ``refused``: an error status, for the retry table. ``address`` holds the server's own id.
    """

    state: ProvenState
    status: int | None = None
    address: Address | None = None
    version: str | None = None
    issues: tuple[Issue, ...] = ()


def write(strategy: Strategy, target: Target, resource: Tree, base: str) -> Write:
    """The write of a resource: an update where the server's own id is known, else a first write as the strategy has it.

    ``base`` is the server's address. Raises ``ValueError`` where the target lacks what the strategy finds it by.
    """
    rung = strategy.rung
    if target.server_id is not None or rung.name == "client-id":
        return _put(strategy, target, resource, base)
    body = {name: member for name, member in resource.items() if name != "id"}
    urn = f"urn:uuid:{uuid.uuid5(_NAMESPACE, f'{target.type}/{target.id}')}"
    if rung.name == "idempotency-key":
        # One creation, whatever it says: a correction of what is in doubt must not make a second resource.
        key = str(uuid.uuid5(_NAMESPACE, f"{target.type}/{target.id}"))
        return Write(strategy, "POST", target.type, urn, body, key=key)
    if rung.name == "search-then-create":
        return Write(strategy, "POST", target.type, urn, body)
    query = condition(strategy, target)
    if rung.name == "conditional-update":
        return Write(strategy, "PUT", f"{target.type}?{query}", urn, body)
    bare = query if strategy.bare else f"{target.type}?{query}"
    return Write(strategy, "POST", target.type, urn, body, if_none_exist=bare)


def _put(strategy: Strategy, target: Target, resource: Tree, base: str) -> Write:
    address = Address(target.type, target.server_id or target.id)
    path = path_of(address)
    known = target.version if strategy.if_match else None
    first = strategy.create_guard and target.server_id is None and target.version is None
    return Write(
        strategy,
        "PUT",
        path,
        f"{base}/{path}",
        resource if resource.get("id") == address.id else {**resource, "id": address.id},
        expected=address,
        if_match=if_match_header(known) if known is not None else None,
        if_none_match="*" if first else None,
    )


def condition(strategy: Strategy, target: Target) -> str:
    """The search that a conditional request names, encoded: a proxy may collapse a bare ``//``.

    Raises ``ValueError`` where the target has no such key.
    """
    parameter: Literal["identifier", "_tag"] = "_tag" if strategy.rung.key == "_tag" else "identifier"
    return f"{parameter}={quote(token(target, parameter), safe='')}"


def token(target: Target, parameter: Literal["identifier", "_tag"]) -> str:
    """The token by which a search finds a target, its special characters escaped."""
    pair = target.tag if parameter == "_tag" else target.identifier
    if pair is None:
        raise ValueError(f"the resource has no {parameter} of ours")
    return search_token(*pair)


def proved(writes: Sequence[Write], response: Json) -> tuple[Proven, ...]:
    """What a response bundle proves of each entry that was sent, in the order sent.

    Entries count by position only if there are as many as were sent. With another number (HAPI leaves some out) only
    those are believed that name an address known beforehand, once.
    """
    said = answered(response)
    if len(said) == len(writes):
        return tuple(_proven(one, entry) for one, entry in zip(writes, said, strict=True))
    found: list[Proven] = []
    for one in writes:
        named = [entry for entry in said if one.expected is not None and entry.address == one.expected]
        found.append(_proven(one, named[0]) if len(named) == 1 else Proven("look"))
    return tuple(found)


def proved_alone(one: Write, answer: Answer) -> Proven:
    """What the answer to a request of its own proves."""
    address, version, _ = place_in(answer, one.strategy.resource_type)
    # The answer to a PUT need not repeat where it was put.
    place = address or (one.expected if 200 <= answer.status < 300 else None)
    return _proven(one, Answered(answer.status, place, version, issues(answer.tree)))


def _proven(one: Write, said: Answered) -> Proven:
    """One entry: a success needs a status, the right address and a version; anything less is looked at."""
    status, address = said.status, said.address
    if status is None or (address is not None and _elsewhere(one, address)):
        return Proven("look", status, issues=said.issues)
    found = Proven("look", status, address, said.version, said.issues)
    if not 200 <= status < 300:
        return Proven("refused", status, address, said.version, said.issues)
    if any(issue.severity in ERRORS for issue in said.issues) or status not in (200, 201):
        return found
    if one.if_none_exist is not None and status == 200:
        return Proven("existed", status, address, said.version, said.issues)
    if address is None or said.version is None:
        return found
    return Proven("created" if status == 201 else "updated", status, address, said.version, said.issues)


def _elsewhere(one: Write, address: Address) -> bool:
    if one.expected is not None:
        return address != one.expected
    return address.type != one.strategy.resource_type
