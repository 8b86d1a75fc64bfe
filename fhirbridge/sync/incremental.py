"""A source read on from where the last run ended: growing files, or a folder of them, by their count of lines; rows of
a database by the column that only grows.

The mark is kept in the ledger in the same transaction as what was read, so nothing is read past without being queued.
What is read twice all the same (a file that was replaced) is unchanged content, and is not sent again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

from fhirbridge.errors import Refused, SourceError
from fhirbridge.ledger import Ledger
from fhirbridge.site import Site
from fhirbridge.sources import Line
from fhirbridge.sources.position import Position
from fhirbridge.sources.sql import Table
from fhirbridge.sync.backfill import Backfill
from fhirbridge.sync.enqueue import Intake, Offered
from fhirbridge.sync.evidence import evidence_of
from fhirbridge.sync.plan import Planned, planned

_WINDOW = 500

Open = Callable[[str], AbstractContextManager[Iterator[Line]]]
OpenRows = Callable[[Position, bytes], AbstractContextManager[Table]]


@dataclass(frozen=True, slots=True)
class Mark:
    """How far one file was read: its size then, and the number of its last line that was taken."""

    size: int = 0
    line: int = 0

    @classmethod
    def read(cls, text: str | None) -> Mark:
        """A mark as the ledger keeps it; anything else means from the beginning."""
        size, _, line = (text or "").partition(":")
        return cls(int(size), int(line)) if size.isdecimal() and line.isdecimal() else cls()

    def __str__(self) -> str:
        return f"{self.size}:{self.line}"


@dataclass(frozen=True, slots=True)
class Taken:
    """What one window of a source became: the ledger's answers, the lines that cannot be records here, and how many
    records are from before the start of the site's backfill."""

    offered: Sequence[Offered]
    refused: Sequence[Line]
    before_start: int = 0


class Taking:
    """Puts windows of lines into the ledger of one site, each together with its mark."""

    def __init__(self, site: Site, ledger: Ledger, intake: Intake) -> None:
        self.site, self.ledger = site, ledger
        self._intake = intake
        self._key = site.mappings.binding.clinic.id_key
        self._backfill = Backfill(site, ledger)

    def take(self, window: Sequence[Line], marks: Mapping[str, str]) -> Taken:
        """Queue what is new of a window. Raises :class:`LedgerError`; then the mark has not moved."""
        early, others = self._backfill.apart(window)
        ready: list[Planned] = []
        refused: list[Line] = []
        for line in others:
            if line.record is None:
                refused.append(line)
            else:
                try:
                    ready.append(planned(line, line.record, self.site.mappings, self.site.policies))
                except Refused as error:
                    refused.append(Line(line.file, line.line, faults=error.faults, raw=line.raw))
        offered = self._intake.take(ready, evidence=evidence_of(window, self._key), marks=marks)
        return Taken(offered, refused, len(early))


class Reading(Protocol):
    """One source for one site, read on."""

    def take(self) -> Iterator[Taken]:
        """Queue what is new, window by window. Raises :class:`SourceError` and :class:`LedgerError`."""


class Rows:
    """A source that is a query. ``open_`` asks it behind a position; ``query`` says which query it is."""

    def __init__(self, name: str, query: str, open_: OpenRows, taking: Taking) -> None:
        # Another query is read from its beginning: what it brings that is known is unchanged, and is not sent.
        digest = hashlib.sha256(query.encode()).hexdigest()[:12]
        self._key = f"{taking.site.name}/{name}/{digest}"
        self._open, self._taking = open_, taking

    def take(self) -> Iterator[Taken]:
        """See :class:`Reading`."""
        since = Position.read(self._taking.ledger.mark(self._key))
        with self._open(since, self._taking.site.mappings.binding.clinic.id_key) as table:
            lines = iter(table)
            while window := list(islice(lines, _WINDOW)):
                yield self._taking.take(window, {self._key: str(table.position)})


class Files:
    """A source that is a file, or a folder of them. ``open_`` opens one; ``name`` is the source's in the
    configuration."""

    def __init__(self, name: str, path: str, open_: Open, taking: Taking) -> None:
        self._name, self._path, self._open = name, Path(path), open_
        self._site, self._ledger, self._taking = taking.site, taking.ledger, taking

    def take(self) -> Iterator[Taken]:
        """See :class:`Reading`."""
        for file in self._files():
            key = f"{self._site.name}/{self._name}/{file.name}"
            mark = Mark.read(self._ledger.mark(key))
            size, complete = _extent(file)
            if size == mark.size or not complete:
                continue
            # A file that shrank is another one.
            done = mark.line if size > mark.size else 0
            with self._open(str(file)) as lines:
                fresh = (one for one in _whole(lines, complete) if one.line > done)
                last = done
                while window := list(islice(fresh, _WINDOW)):
                    last = max(last, *(one.line for one in window))
                    # Its size is that of a shorter file until all of it is read: the next run comes back to it.
                    yield self._taking.take(window, {key: str(Mark(mark.size if done else 0, last))})
            self._ledger.set_mark(key, str(Mark(size, last)))

    def _files(self) -> list[Path]:
        if not self._path.exists():
            raise SourceError(f"{self._path}: there is no such file or folder", code="source.open")
        if not self._path.is_dir():
            return [self._path]
        return sorted(one for one in self._path.iterdir() if one.is_file() and not one.name.startswith("."))


def _extent(file: Path) -> tuple[int, int]:
    """The size of a file, and how many of its lines are complete: who writes it may be in the middle of one.

    A file that is not read line by line (JSON, gzip) is complete when it is there.
    """
    with file.open("rb") as stream:
        start = stream.read(2)
        if start[:1] == b"[" or start == b"\x1f\x8b":
            return file.stat().st_size, 2**62
        stream.seek(0)
        lines = size = 0
        while chunk := stream.read(1 << 20):
            size += len(chunk)
            lines += chunk.count(b"\n")
        return size, lines


def _whole(lines: Iterable[Line], complete: int) -> Iterator[Line]:
    return (one for one in lines if one.line <= complete)
