"""Whom the hospital has in its own directory: practitioners, organisations, locations, encounters.

What a crosswalk lists gets a literal reference, if the site holds exactly one such resource; everything else stays
logical, which is valid FHIR. Nobody is ever made there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from fhirbridge.client.rest import Client
from fhirbridge.crosswalk import CrosswalkFile
from fhirbridge.errors import ConfigError, SiteRefused
from fhirbridge.fhir.bundle import Address, is_id
from fhirbridge.fhir.json import Tree
from fhirbridge.patients import bearers
from fhirbridge.remembered import Remembered

Pointer: TypeAlias = tuple[str, str, str]  # type, identifier system, identifier value
# The site does not have the type, or does not let us look.
_NOT_TO_BE_SEEN = frozenset({400, 403, 404, 405, 501})


@dataclass(frozen=True, slots=True)
class Listing:
    """What of one type is listed. With a ``system`` the file has identifiers of it, without one literal addresses."""

    crosswalk: CrosswalkFile
    system: str | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    address: Address
    subject: str | None


class Directory:
    """The listings of one site, by resource type. May be shared by threads."""

    def __init__(self, client: Client, listings: Mapping[str, Listing]) -> None:
        self._client = client
        self._listings = listings
        self._found: Remembered[Pointer, _Found] = Remembered()

    def check(self) -> None:
        """Raise :class:`ConfigError` where a crosswalk cannot be read."""
        for one in self._listings.values():
            one.crosswalk.now()

    def find(self, wanted: Iterable[Pointer], chart: Address | None, now: float) -> dict[Pointer, Address]:
        """The addresses of those that are listed and there; an encounter only in this ``chart``.

        Raises :class:`SiteError` where the server does not answer properly.
        """
        found: dict[Pointer, Address] = {}
        for pointer in wanted:
            one = self._one(pointer, now) if pointer[0] in self._listings else None
            if one is not None and (pointer[0] != "Encounter" or (chart is not None and one.subject == str(chart))):
                found[pointer] = one.address
        return found

    def _one(self, pointer: Pointer, now: float) -> _Found | None:
        kept = self._found.get(pointer, now)
        if kept is None:
            listing = self._listings[pointer[0]]
            try:
                there = listing.crosswalk.now().entries.get(pointer[1:])
            except ConfigError:
                return None
            kept = None if there is None else self._ask(pointer[0], listing.system, there.hospital)
            if kept is not None:
                self._found.put(pointer, kept, now)
        return kept

    def _ask(self, resource_type: str, system: str | None, hospital: str) -> _Found | None:
        own = hospital.removeprefix(f"{resource_type}/")
        if system is None and not is_id(own):
            return None
        try:
            if system is None:
                read = self._client.read(Address(resource_type, own))
                several = [] if read is None else [read]
            else:
                several = bearers(self._client, resource_type, system, hospital) or []
        except SiteRefused as refused:
            if refused.status not in _NOT_TO_BE_SEEN:
                raise
            return None
        if len(several) != 1 or several[0].get("active") is False:
            return None
        (only,) = several
        named = only.get("id")
        return _Found(Address(resource_type, named), _subject(only)) if isinstance(named, str) else None


def _subject(resource: Tree) -> str | None:
    subject = resource.get("subject")
    literal = subject.get("reference") if isinstance(subject, dict) else None
    # Absolute or relative, with or without a version.
    return "/".join(literal.partition("/_history/")[0].split("/")[-2:]) if isinstance(literal, str) else None
