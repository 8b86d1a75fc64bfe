"""Where the clinic's patients are on a server: one exact, active chart of the right person, or a reason; never a guess.

Where the site has a crosswalk, a patient is known there by the hospital's identifier, and the chart's fingerprint must
be the one that was enrolled: a number that was given to somebody else, or a merge, shows in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from fhirbridge.client.rest import NO_POST_SEARCH, Client
from fhirbridge.crosswalk import CrosswalkFile
from fhirbridge.errors import ConfigError, Fault, SiteRefused
from fhirbridge.fhir.bundle import Address, is_id, next_link, resources, search_token
from fhirbridge.fhir.json import Json, Tree
from fhirbridge.fingerprint import fingerprints_of
from fhirbridge.lists import Pair
from fhirbridge.records import Ref
from fhirbridge.remembered import Remembered


@dataclass(frozen=True, slots=True)
class Known:
    """How the hospital knows the clinic's patients: its identifier ``system`` (else the clinic's own), and the file."""

    crosswalk: CrosswalkFile
    system: str | None = None


class Patients:
    """The patients of one site. ``key`` is the clinic's id key; without ``known`` its own identifiers are looked for.

    May be shared by threads.
    """

    def __init__(self, client: Client, key: bytes = b"", known: Known | None = None) -> None:
        self.known = known
        self._client = client
        self._key = key
        self._found: Remembered[Pair, Address] = Remembered()

    def check(self) -> None:
        """Raise :class:`ConfigError` where the crosswalk cannot be read."""
        if self.known is not None:
            self.known.crosswalk.now()

    def find(self, patient: Ref, now: float | None = None) -> Address | Fault:
        """The address of a record's chart. Raises :class:`SiteError` when the server does not answer properly.

        ``now`` are the epoch seconds of the caller's clock: what was found less than a minute before is believed
        still. Without it the server is asked. Only what was found is kept: somebody may be mending the others.
        """
        identifier = patient.identifier
        if identifier is None or identifier.value is None:
            return self._literal(patient.literal)
        own = (identifier.system or "", identifier.value)
        found = self._found.get(own, now)
        if found is not None:
            return found
        asked = self._enrolled(*own) if self.known is not None else _address(chart(self._client, *own))
        if isinstance(asked, Address):
            self._found.put(own, asked, now)
        else:
            self._found.forget(own)
        return asked

    def _literal(self, literal: str | None) -> Address | Fault:
        type_, _, own = (literal or "").partition("/")
        if type_ != "Patient" or not is_id(own):
            return Fault("patient.no_identifier", "patient", "the patient has no identifier", "add patient.identifier")
        if self.known is not None:
            return _NOT_ENROLLED
        found = self._client.read(Address("Patient", own))
        return _NOT_FOUND if found is None else _address(usable([found]))

    def _enrolled(self, system: str, value: str) -> Address | Fault:
        assert self.known is not None
        try:
            crosswalk = self.known.crosswalk.now()
        except ConfigError:
            return _UNREADABLE
        there = crosswalk.entries.get((system, value))
        if there is None:
            return _NOT_ENROLLED
        if there.hospital in crosswalk.shared:
            return _SHARED
        theirs = (self.known.system or system, there.hospital)
        found = _address(chart(self._client, *theirs))
        if isinstance(found, Fault):
            return found
        # A search may be answered from an index that lags: the chart itself is read.
        read = self._client.read(found)
        if read is None or not carries(read, *theirs):
            return _NOT_FOUND
        still = _address(usable([read]))
        known = not there.fingerprint or there.fingerprint in fingerprints_of(read, self._key)
        return DIFFERS if isinstance(still, Address) and not known else still


def chart(client: Client, system: str, value: str) -> Tree | Fault:
    """The one active Patient with an identifier, or why there is none. Raises :class:`SiteError`.

    The identifier travels in the body, so that no log on the way sees it. Where a server refuses that, nothing is asked
    in another way, unless the site is set so (``can.post_search = false``).
    """
    try:
        found = bearers(client, "Patient", system, value)
    except SiteRefused as refused:
        if refused.status not in NO_POST_SEARCH:
            raise
        return _NO_SEARCH
    return AMBIGUOUS if found is None else usable(found)


def bearers(client: Client, resource_type: str, system: str, value: str) -> list[Tree] | None:
    """The resources that carry an identifier; ``None`` where there are more than a page. Raises :class:`SiteError`."""
    page = client.find(resource_type, {"identifier": search_token(system, value), "_count": "5"})
    # A server that ignores the parameter answers with everybody.
    carrying = [one for one in resources(page) if one.get("resourceType") == resource_type]
    carrying = [one for one in carrying if carries(one, system, value)]
    return None if next_link(page) is not None else carrying


def carries(resource: Tree, system: str, value: str) -> bool:
    """Whether a resource has this identifier."""
    return any(one == (system, value) for one in identifiers(resource))


def identifiers(resource: Tree) -> list[Pair]:
    """The identifiers of a resource, those that have a value."""
    listed = resource.get("identifier")
    return [
        (_text(one.get("system", "")), one["value"])
        for one in (listed if isinstance(listed, list) else ())
        if isinstance(one, dict) and isinstance(one.get("value"), str)
    ]


def _text(member: Json) -> str:
    return member if isinstance(member, str) else ""


def usable(found: list[Tree]) -> Tree | Fault:
    """The one of ``found`` into whose chart something may be written, or why none is."""
    if not found:
        return _NOT_FOUND
    if len(found) > 1:
        return AMBIGUOUS
    (patient,) = found
    links = patient.get("link")
    if any(
        isinstance(link, dict) and link.get("type") == "replaced-by"
        for link in (links if isinstance(links, list) else ())
    ):
        return _MERGED
    return _INACTIVE if patient.get("active") is False else patient


def _address(found: Tree | Fault) -> Address | Fault:
    if isinstance(found, Fault):
        return found
    own = found.get("id")
    return Address("Patient", own) if isinstance(own, str) else _NOT_FOUND


_NO_SEARCH = Fault(
    "patient.no_search", "patient", "the server refuses a search whose identifier stands in the body",
    "if its logs, and those on the way, may hold identifiers: can.post_search = false",
)  # fmt: skip
_NOT_FOUND = Fault(
    "patient.not_found", "patient", "the server has no patient with that identifier", "register the patient there first"
)
AMBIGUOUS = Fault(
    "patient.ambiguous", "patient", "the server has several patients for that identifier", "have them merged there"
)
_INACTIVE = Fault(
    "patient.inactive", "patient", "the server's patient is inactive", "find out which chart is the patient's"
)
_MERGED = Fault(
    "patient.merged", "patient", "the server's patient was merged into another",
    "find out the number of the chart that stays, enrol the patient with it, then replay",
)  # fmt: skip
DIFFERS = Fault(
    "patient.differs", "patient", "birth date or name of the server's patient are not those that were enrolled",
    "find out whose chart it is; when one side has been corrected, enrol the patient again, then replay",
)  # fmt: skip
_NOT_ENROLLED = Fault(
    "patient.not_enrolled", "patient", "the site's crosswalk does not list the patient's identifier",
    "fhirbridge enrol, then replay",
)  # fmt: skip
_SHARED = Fault(
    "patient.shared", "patient", "the crosswalk leads several of the clinic's patients to this chart",
    "find out whose it is, correct the crosswalk, then replay",
)  # fmt: skip
_UNREADABLE = Fault(
    "patient.crosswalk", "patient", "the site's crosswalk cannot be read", "correct it: fhirbridge enrol; then replay"
)
