"""Bundles: build a transaction or a batch, and tell from the response what became of each entry.

A response is believed only entry by entry (design §4.5): HAPI leaves entries out, other servers reorder them, and a 2xx
of the bundle says nothing about its parts. An entry that is not proven is ``unknown``, never sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from fhirbridge.fhir.json import Json, Tree
from fhirbridge.fhir.outcome import ERRORS, Issue, issues

BundleType: TypeAlias = Literal["transaction", "batch"]
State: TypeAlias = Literal["created", "updated", "unchanged", "refused", "failed", "unknown", "blocked"]

_STATUS = re.compile(r"([1-5][0-9]{2})(?:\s.*)?", re.DOTALL)
_ID = r"[A-Za-z0-9.-]{1,64}"
_WHOLE_ID = re.compile(_ID)
_LOCATION = re.compile(rf"(?:.*/)?([A-Z][A-Za-z]+)/({_ID})(?:/_history/({_ID}))?/?", re.DOTALL)
_ETAG = re.compile(rf'(?:W/)?"?({_ID})"?')
# Refusals that speak of the moment or of who is asking: the entry was not wrong.
PASSING = frozenset({401, 403, 408, 423, 425, 429})


_SEARCH_SPECIAL = str.maketrans({one: f"\\{one}" for one in "\\,$|"})


def is_id(text: str) -> bool:
    """Whether a text is a FHIR id. It becomes a part of URLs: nothing but FHIR's own alphabet gets that far."""
    return _WHOLE_ID.fullmatch(text) is not None


def search_token(system: str, value: str) -> str:
    """The token by which a search finds an identifier or a coding, its special characters escaped."""
    return f"{system.translate(_SEARCH_SPECIAL)}|{value.translate(_SEARCH_SPECIAL)}"


@dataclass(frozen=True, slots=True)
class Address:
    """A resource's place on a server: its type and its id."""

    type: str
    id: str

    def __str__(self) -> str:
        return f"{self.type}/{self.id}"


@dataclass(frozen=True, slots=True)
class Copy:
    """What a server holds at an address: a resource, nothing (404), or the mark of one that was deleted (410)."""

    resource: Tree | None = field(default=None, repr=False)
    gone: bool = False


ABSENT = Copy()
GONE = Copy(gone=True)


@dataclass(frozen=True, slots=True)
class EntryOutcome:
    """What became of one entry. ``status`` is its HTTP status, ``version`` the server's version of the resource.

    ``blocked``: it was not even asked for, since the patient's consents do not permit it.
    """

    state: State
    status: int | None = None
    version: str | None = None
    issues: tuple[Issue, ...] = ()


def address_of(resource: Tree) -> Address:
    """The address under which a resource of ours is written."""
    return Address(resource["resourceType"], resource["id"])


def puts(kind: BundleType, base: str, resources: Sequence[Tree]) -> Tree:
    """A bundle of ``PUT Type/id`` entries, in the order given; ``base`` is the server's address.

    Raises ``ValueError`` when one address comes twice: servers refuse it (HAPI, 400) or drop one in silence.
    """
    entries: list[Tree] = []
    for resource in resources:
        address = str(address_of(resource))
        entries.append(
            {"fullUrl": f"{base}/{address}", "resource": resource, "request": {"method": "PUT", "url": address}}
        )
    if len({entry["request"]["url"] for entry in entries}) != len(entries):
        raise ValueError("one resource stands twice in a bundle")
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


def reads(addresses: Iterable[Address]) -> Tree:
    """A batch that reads resources by their address."""
    entries = [{"request": {"method": "GET", "url": str(address)}} for address in addresses]
    return {"resourceType": "Bundle", "type": "batch", "entry": entries}


def resources(bundle: Json) -> list[Tree]:
    """The matches of a search, in the server's order: no OperationOutcome, nothing that was only included."""
    return [
        entry["resource"]
        for entry in _entries(bundle)
        if isinstance(entry.get("resource"), dict)
        and entry["resource"].get("resourceType") != "OperationOutcome"
        and _member(entry, "search").get("mode", "match") == "match"
    ]


def next_link(bundle: Json) -> str | None:
    """The address of the next page, as the server wrote it; it is not to be followed unchecked."""
    for link in bundle.get("link", ()) if isinstance(bundle, dict) and isinstance(bundle.get("link"), list) else ():
        if isinstance(link, dict) and link.get("relation") == "next" and isinstance(link.get("url"), str):
            return str(link["url"])
    return None


def match(sent: Sequence[Address], response: Json) -> tuple[EntryOutcome, ...]:
    """One outcome for each address that was PUT, in its order.

    Position alone proves nothing: entries are taken by position only if there are as many as were sent, and each must
    then name the resource it speaks of. With another number only entries that name their resource are believed.
    """
    entries = _entries(response)
    if len(entries) == len(sent):
        return tuple(_outcome(address, entry) for address, entry in zip(sent, entries, strict=True))
    named: dict[Address, list[Tree]] = {}
    for entry in entries:
        address, _ = _place(entry)
        if address is not None:
            named.setdefault(address, []).append(entry)
    return tuple(
        _outcome(address, named[address][0]) if len(named.get(address, ())) == 1 else EntryOutcome("unknown")
        for address in sent
    )


@dataclass(frozen=True, slots=True)
class Answered:
    """One entry of a response, as it speaks: nothing is concluded yet."""

    status: int | None
    address: Address | None
    version: str | None
    issues: tuple[Issue, ...]


def answered(response: Json) -> list[Answered]:
    """What each entry of a response bundle says, in its order."""
    return [Answered(_status(entry), *_place(entry), _said(entry)) for entry in _entries(response)]


def match_reads(asked: Sequence[Address], response: Json) -> dict[Address, Copy] | None:
    """What a batch of reads found; ``None`` if an entry leaves it open."""
    entries = _entries(response)
    if len(entries) != len(asked):
        return None
    found: dict[Address, Copy] = {}
    for address, entry in zip(asked, entries, strict=True):
        status, resource = _status(entry), entry.get("resource")
        if status == 200 and isinstance(resource, dict) and _named_by(resource) == address:
            found[address] = Copy(resource)
        elif status in (404, 410):
            found[address] = GONE if status == 410 else ABSENT
        else:
            return None
    return found


def _outcome(address: Address, entry: Tree) -> EntryOutcome:
    status = _status(entry)
    said = _said(entry)
    place, version = _place(entry)
    result = EntryOutcome("unknown", status, version, said)
    if status is None or (place is not None and place != address):
        return replace(result, version=None)
    if 400 <= status < 500:
        return replace(result, state="failed" if status in PASSING else "refused")
    if not 200 <= status < 300 or place is None or version is None or any(one.severity in ERRORS for one in said):
        return result
    if any("SUCCESSFUL_UPDATE_NO_CHANGE" in one.vendor for one in said):
        return replace(result, state="unchanged")
    return replace(result, state="created" if status == 201 else "updated")


def location_address(location: str) -> tuple[Address | None, str | None]:
    """The address and version that a ``Location`` names: absolute or relative, with or without ``_history``."""
    found = _LOCATION.fullmatch(location)
    return (Address(found[1], found[2]), found[3]) if found else (None, None)


def etag_version(etag: str) -> str | None:
    """The version in an ETag: ``W/"1"``, ``"1"`` or, as HAPI writes it in bundles, ``1``."""
    found = _ETAG.fullmatch(etag.strip())
    return found[1] if found else None


def _place(entry: Tree) -> tuple[Address | None, str | None]:
    """The address and version an entry speaks of; no address when location and resource disagree."""
    response, resource = _member(entry, "response"), entry.get("resource")
    location, etag = response.get("location"), response.get("etag")
    address, version = location_address(location) if isinstance(location, str) else (None, None)
    if isinstance(etag, str):
        version = etag_version(etag) or version
    if isinstance(resource, dict) and resource.get("resourceType") != "OperationOutcome":
        named = _named_by(resource)
        if address is not None and named is not None and named != address:
            return None, None
        address = address or named
        own = _member(resource, "meta").get("versionId")
        version = version or (own if isinstance(own, str) else None)
    return address, version


def _said(entry: Tree) -> tuple[Issue, ...]:
    return issues(_member(entry, "response").get("outcome")) or issues(entry.get("resource"))


def _named_by(resource: Tree) -> Address | None:
    name, own = resource.get("resourceType"), resource.get("id")
    return Address(name, own) if isinstance(name, str) and isinstance(own, str) else None


def _status(entry: Tree) -> int | None:
    status = _member(entry, "response").get("status")
    found = _STATUS.fullmatch(status) if isinstance(status, str) else None
    return int(found[1]) if found else None


def _member(node: Tree, name: str) -> Tree:
    member = node.get(name)
    return member if isinstance(member, dict) else {}


def _entries(bundle: Json) -> list[Tree]:
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        return []
    entries = bundle.get("entry", [])
    return [entry if isinstance(entry, dict) else {} for entry in entries] if isinstance(entries, list) else []
