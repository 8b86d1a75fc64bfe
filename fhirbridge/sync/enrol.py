"""``enrol``: from the clinic's list of patients to the crosswalk of a site, each looked up there and compared.

Only who is found by number and known by fingerprint is enrolled. Nothing is ever written to the hospital.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from fhirbridge.audit import concerning
from fhirbridge.crosswalk import Crosswalk, There, read_crosswalk, write_crosswalk
from fhirbridge.errors import ConfigError, Fault
from fhirbridge.fhir.json import Tree
from fhirbridge.fingerprint import fingerprint, fingerprints_of
from fhirbridge.lists import Entry, Pair, entries, pair, text
from fhirbridge.patients import AMBIGUOUS, DIFFERS, Known, chart, identifiers
from fhirbridge.site import Site
from fhirbridge.sync.identity import lane_named

State: TypeAlias = Literal["matched", "differing", "not_found", "ambiguous", "inactive", "merged", "refused"]
STATES: tuple[State, ...] = ("matched", "differing", "not_found", "ambiguous", "inactive", "merged", "refused")
Change: TypeAlias = Literal["new", "changed", "same", "none"]
CHANGES: tuple[Change, ...] = ("new", "changed", "same", "none")
_STATE_OF: dict[str, State] = {
    "patient.differs": "differing",
    "patient.not_found": "not_found",
    "patient.ambiguous": "ambiguous",
    "patient.inactive": "inactive",
    "patient.merged": "merged",
}
_WANTED = ("identifier", "family", "given", "birth_date")
_OPTIONAL = ("hospital",)


@dataclass(frozen=True, slots=True)
class Listed:
    """A patient of the clinic's list: no name, no date, only what is compared. ``hospital`` may be empty."""

    line: int
    own: Pair = field(repr=False)
    hospital: str = field(repr=False)
    fingerprint: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one line. ``change`` is what it means for the crosswalk."""

    line: int
    state: State
    change: Change
    faults: tuple[Fault, ...] = ()

    def as_json(self) -> Tree:
        """The finding as one object: line and codes, nobody's name."""
        tree: Tree = {"line": self.line, "state": self.state, "change": self.change}
        return tree | ({"faults": [fault.as_json() for fault in self.faults]} if self.faults else {})


class Enrolment:
    """One enrolment at a site: ``findings`` first, then ``keep``, which puts the new crosswalk in place.

    Raises :class:`ConfigError` where the site has no crosswalk or has one that cannot be read.
    """

    def __init__(self, site: Site) -> None:
        known = site.patients.known
        if known is None:
            message = f"site.{site.name}.patients has no crosswalk"
            hint = f'add [site.{site.name}.patients] with crosswalk = "patients.csv"'
            raise ConfigError(message, code="config.crosswalk_missing", hint=hint)
        self._site = site
        self._known: Known = known
        self._system = site.mappings.binding.sid("patient")
        self._key = site.mappings.binding.clinic.id_key
        path = known.crosswalk.path
        before = read_crosswalk(path, self._system) if path.exists() else Crosswalk({})
        self._before = before.entries
        self._after: dict[Pair, There] = dict(before.entries)
        self._seen: set[Pair] = set()

    @property
    def unlisted(self) -> int:
        """How many are enrolled that the list does not name; they stay enrolled."""
        return len(self._before.keys() - self._seen)

    def findings(self, path: str) -> Iterator[Finding]:
        """One finding for each line of the list at ``path``, in its order.

        Raises :class:`SourceError` where it is no such list, :class:`SiteError` where the site does not answer.
        """
        read = [self._read(entry) for entry in entries(path, _WANTED, _OPTIONAL)]
        twice = _twice(one for one in read if isinstance(one, Listed))
        for one in read:
            if isinstance(one, Finding):
                yield one
            elif one.own in twice:
                self._seen.add(one.own)
                yield Finding(one.line, "refused", "none", (_TWICE,))
            else:
                self._seen.add(one.own)
                with concerning(lane_named(*one.own, self._key)):
                    found = self._find(one)
                yield found

    def keep(self) -> None:
        """Write the crosswalk, whole and for its owner only. Raises :class:`UsageError`."""
        if self._after != self._before or not self._known.crosswalk.path.exists():
            write_crosswalk(self._known.crosswalk.path, self._after)

    def _read(self, entry: Entry) -> Listed | Finding:
        if entry.faults:
            return Finding(entry.line, "refused", "none", entry.faults)
        members = entry.members
        own = pair(members.get("identifier"), self._system)
        mark = fingerprint(self._key, members.get("birth_date"), members.get("family"), members.get("given"))
        faults = (*(() if own is not None else (_NO_IDENTIFIER,)), *(() if mark is not None else (_INCOMPLETE,)))
        if own is None or mark is None:
            return Finding(entry.line, "refused", "none", faults)
        return Listed(entry.line, own, text(members.get("hospital")), mark)

    def _find(self, one: Listed) -> Finding:
        before = self._before.get(one.own)
        hospital = one.hospital or ("" if before is None else before.hospital)
        found = self._theirs(one.own, hospital)
        fault = found if isinstance(found, Fault) else None
        if not isinstance(found, Fault):
            hospital, patient = found
            fault = None if one.fingerprint in fingerprints_of(patient, self._key) else DIFFERS
        if fault is not None and before is None:
            return Finding(one.line, _STATE_OF[fault.code], "none", (fault,))
        # Who is enrolled already stays so, but only as whom the clinic says now: a difference shows at the next send.
        there = There(before.hospital if before is not None and fault is not None else hospital, one.fingerprint)
        self._after[one.own] = there
        change: Change = "new" if before is None else "same" if before == there else "changed"
        if fault is not None:
            return Finding(one.line, _STATE_OF[fault.code], change, (fault,))
        return Finding(one.line, "matched", change)

    def _theirs(self, own: Pair, hospital: str) -> tuple[str, Tree] | Fault:
        """The hospital's value of a patient and the chart; found by that value, else by the clinic's own identifier."""
        client, system = self._site.client, self._known.system
        if hospital or system is None:
            hospital = hospital or own[1]
            found = chart(client, system or own[0], hospital)
            return found if isinstance(found, Fault) else (hospital, found)
        found = chart(client, *own)
        if isinstance(found, Fault):
            return found
        values = {value for of, value in identifiers(found) if of == system}
        return (values.pop(), found) if len(values) == 1 else AMBIGUOUS if values else _NO_NUMBER


def _twice(listed: Iterable[Listed]) -> frozenset[Pair]:
    """Identifiers under which the list names different people."""
    said: dict[Pair, set[tuple[str, str]]] = {}
    for one in listed:
        said.setdefault(one.own, set()).add((one.hospital, one.fingerprint))
    return frozenset(own for own, several in said.items() if len(several) > 1)


_NO_IDENTIFIER = Fault("patient.no_identifier", "identifier", "the line has no identifier", "system|value, or a value")
_INCOMPLETE = Fault(
    "patient.incomplete", "", "birth_date, family or given is missing, or no whole date, no name",
    "give all three, the date as YYYY-MM-DD",
)  # fmt: skip
_TWICE = Fault("patient.listed_twice", "identifier", "the list names different people by it", "find out whose it is")
_NO_NUMBER = Fault(
    "patient.not_found", "patient", "the server's patient has no identifier of the hospital's system",
    "give the hospital's value in a column hospital",
)  # fmt: skip
