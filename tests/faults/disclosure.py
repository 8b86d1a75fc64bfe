"""Which of the requests that came to a site's door were about a patient, and which of those a withdrawal forbids.

A request is about a patient if anything in it names one: the patient's identifier or chart, or the identifier, id or
address of one of the patient's resources, in its path, its search or its body.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import unquote_plus

from fhirbridge.errors import JsonError
from fhirbridge.fhir.json import dump, parse_object
from tests.faults.identity import marks
from tests.faults.proxy import Arrival

Tree: TypeAlias = dict[str, Any]
_READS = frozenset({"GET", "HEAD"})
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Interaction:
    """One thing that a request asks: alone, or as an entry of a bundle. ``place`` is its address below the base.

    ``resource`` is what it writes; ``search`` the form of a search by POST.
    """

    method: str
    place: str
    resource: Tree | None = field(default=None, repr=False)
    search: str = field(default="", repr=False)

    @property
    def reads(self) -> bool:
        """Whether it only asks."""
        return self.method in _READS or self.type_and_rest[1].startswith("_search")

    @property
    def type_and_rest(self) -> tuple[str, str]:
        """The resource type, and what stands behind it."""
        kind, _, rest = self.place.partition("?")[0].partition("/")
        return kind, rest

    @property
    def text(self) -> str:
        """All that it says."""
        body = "" if self.resource is None else dump(self.resource).decode()
        return f"{unquote_plus(self.place)} {unquote_plus(self.search)} {body}"


class Person:
    """What names a patient: ``own`` are identifier and chart; ``names`` says of which of the patient's resources (their
    identities) each identifier, id or address is. Resources of one record share its identifier.
    """

    def __init__(self, own: Iterable[str], names: Mapping[str, Collection[str]]) -> None:
        self._names = {name: frozenset(identities) for name, identities in names.items()}
        self._names |= dict.fromkeys(own, _NONE)
        words = "|".join(re.escape(name) for name in sorted(self._names, key=len, reverse=True))
        self._words = re.compile(rf"(?<![A-Za-z0-9.-])(?:{words})(?![A-Za-z0-9-]|\.[A-Za-z0-9])")

    def named(self, text: str) -> set[frozenset[str]]:
        """What a text names: for each name the identities it may mean, none for the patient."""
        return {self._names[found] for found in self._words.findall(text)}


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may still be asked about a patient once a withdrawal is effective.

    ``notice`` is the withdrawn consent, by identity and revision, or empty where the site is not to be told;
    ``taken_back`` are the identities that are retracted or deleted.
    """

    notice: tuple[str, str] = ("", "")
    taken_back: frozenset[str] = frozenset()

    @property
    def identities(self) -> frozenset[str]:
        """All that may be written or looked for."""
        return self.taken_back | ({self.notice[0]} - {""})


def interactions(request: bytes) -> Iterator[Interaction]:
    """What a request asks. One that broke off, or that is no FHIR, is one interaction that says all that came."""
    head, _, body = request.partition(b"\r\n\r\n")
    line = head.split(b"\r\n")[0].decode("latin-1")
    method, _, rest = line.partition(" ")
    place = rest.partition(" ")[0].removeprefix("/fhir").lstrip("/")
    tree = _tree(body)
    if tree is not None and tree.get("resourceType") == "Bundle":
        for entry in tree.get("entry", ()):
            asked = entry.get("request", {})
            yield Interaction(
                str(asked.get("method", "")), str(asked.get("url", "")).lstrip("/"), entry.get("resource")
            )
    else:
        yield Interaction(method, place, tree, "" if tree is not None else body.decode("latin-1"))


def forbidden(arrival: Arrival, person: Person, allowed: Allowed) -> bool:
    """Whether a request asks or tells anything about the patient that is not allowed."""
    return any(_forbidden(one, person, allowed) for one in interactions(arrival.request))


def _forbidden(one: Interaction, person: Person, allowed: Allowed) -> bool:
    named = person.named(one.text)
    if not named:
        return False
    resources = named - {_NONE}
    if one.reads:
        return not _may_be_read(one, resources, allowed.identities)
    if one.resource is None:
        return one.method != "DELETE" or not _all(resources, allowed.taken_back)
    if one.resource.get("resourceType") == "Provenance":
        return not _all(resources, allowed.identities)
    told = marks(one.resource)
    # A copy of a site that keeps no tags is known by its place.
    there = person.named(one.place) - {_NONE} or {frozenset({told.identity})}
    is_notice = (told.identity, told.revision) == allowed.notice
    return not is_notice and not (told.retracts and _all(there, allowed.taken_back))


def _may_be_read(one: Interaction, resources: Collection[frozenset[str]], allowed: frozenset[str]) -> bool:
    """What is looked for belongs to what may be written. The chart alone is looked for before the notice goes, and in
    searches for what has no identifier."""
    kind = one.type_and_rest[0]
    if resources or kind == "Patient":
        return bool(allowed) and _all(resources, allowed)
    return any(identity.startswith(f"{kind}|") for identity in allowed)


def _all(named: Iterable[frozenset[str]], allowed: frozenset[str]) -> bool:
    return all(one & allowed for one in named)


def _tree(body: bytes) -> Tree | None:
    try:
        return parse_object(body) if body else None
    except JsonError:
        return None
