"""What is whose: a file that says under which identifier the hospital knows what the clinic knows by its own.

Members of an entry: ``identifier`` (``system|value``, or a value of the clinic's system), ``hospital`` (the value
there), and for patients ``fingerprint``. A file is whole and right, or it is not used at all.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fhirbridge.cells import csv_text
from fhirbridge.errors import ConfigError, Fault, SourceError
from fhirbridge.fhir.json import dump
from fhirbridge.fingerprint import FINGERPRINT
from fhirbridge.lists import Entry, Pair, entries, pair, text
from fhirbridge.sources import WholeFile

_MARK = "fingerprint"
_WANTED = ("identifier", "hospital")
_OPTIONAL = (_MARK,)


@dataclass(frozen=True, slots=True)
class There:
    """Under which value the hospital knows something, and, of a patient, whose chart that must be."""

    hospital: str = field(repr=False)
    fingerprint: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Crosswalk:
    """The entries of a file; ``shared`` are the hospital's values that several, not provably the same, lead to."""

    entries: Mapping[Pair, There] = field(repr=False)
    shared: frozenset[str] = field(default=frozenset(), repr=False)


class CrosswalkFile:
    """A crosswalk that is read anew when its file has changed: who is enrolled is known to a running service too.

    ``system`` is the clinic's identifier system, of values that stand alone.
    """

    def __init__(self, path: Path, system: str) -> None:
        self.path = path
        self._system = system
        self._lock = threading.Lock()
        self._read: tuple[tuple[int, int, int], Crosswalk] | None = None

    def now(self) -> Crosswalk:
        """What it says now. Raises :class:`ConfigError`: no such file, or every fault in it, by line."""
        with self._lock:
            try:
                found = self.path.stat()
            except OSError as error:
                raise ConfigError(
                    f"{self.path}: {error.strerror or 'cannot be read'}", code="config.crosswalk", hint=_HINT
                ) from None
            mark = (found.st_ino, found.st_mtime_ns, found.st_size)
            if self._read is None or self._read[0] != mark:
                self._read = (mark, read_crosswalk(self.path, self._system))
            return self._read[1]


def read_crosswalk(path: Path, system: str) -> Crosswalk:
    """Read a file. Raises :class:`ConfigError` with every fault in it, by line; nothing of it is quoted."""
    found: dict[Pair, There] = {}
    faults: list[str] = []
    try:
        for entry in entries(str(path), _WANTED, _OPTIONAL):
            own, there, wrong = _entry(entry, system)
            if own is not None and found.get(own, there) != there:
                wrong = (*wrong, _TWICE)
            faults += [f"{path}:{entry.line}: {fault}" for fault in wrong]
            if own is not None and there is not None:
                found[own] = there
    except SourceError as error:
        raise ConfigError(error.message, code="config.crosswalk", hint=_HINT) from None
    if faults:
        raise ConfigError("\n".join(faults), code="config.crosswalk", hint=_HINT)
    return Crosswalk(found, _shared(found.values()))


def write_crosswalk(path: Path, found: Mapping[Pair, There]) -> None:
    """Put a file in place, whole and for its owner only; CSV by its name, else NDJSON. Raises :class:`UsageError`."""
    with WholeFile(path) as file:
        if path.suffix.lower() == ".csv":
            rows = [["|".join(own), there.hospital, there.fingerprint] for own, there in found.items()]
            file.write(csv_text([[*_WANTED, *_OPTIONAL], *rows]).encode())
        else:
            for own, there in found.items():
                tree = {"identifier": "|".join(own), "hospital": there.hospital, "fingerprint": there.fingerprint}
                file.write(dump({name: member for name, member in tree.items() if member}) + b"\n")


def _entry(entry: Entry, system: str) -> tuple[Pair | None, There | None, tuple[Fault, ...]]:
    if entry.faults:
        return None, None, entry.faults
    members = entry.members
    own, hospital, mark = pair(members.get("identifier"), system), text(members.get("hospital")), members.get(_MARK)
    wrong = []
    if own is None:
        wrong.append(Fault("source.columns", "identifier", "no identifier stands here", "system|value, or a value"))
    if not hospital:
        wrong.append(Fault("source.columns", "hospital", "no value stands here", "the hospital's value"))
    if mark not in (None, "") and not (isinstance(mark, str) and FINGERPRINT.fullmatch(mark)):
        wrong.append(Fault("source.columns", _MARK, "not a fingerprint", "fhirbridge enrol writes it"))
    return (None, None, tuple(wrong)) if wrong else (own, There(hospital, mark or ""), ())


def _shared(found: Iterable[There]) -> frozenset[str]:
    """One chart for two of the clinic's patients is right only if both are provably the same person."""
    marks: dict[str, list[str]] = {}
    for one in found:
        marks.setdefault(one.hospital, []).append(one.fingerprint)
    return frozenset(
        value for value, several in marks.items() if len(several) > 1 and ("" in several or len(set(several)) > 1)
    )


_HINT = "fhirbridge enrol writes the patients' file; see docs/right-chart.md"
_TWICE = Fault("source.columns", "identifier", "the identifier stands in two entries that differ", "remove one")
