"""Is the trail what was written? Every line by its MAC and its place, every file by what others remember of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fhirbridge.audit import files, line, locks
from fhirbridge.audit.checkpoint import Checkpoint
from fhirbridge.audit.head import Head, opened, opening_of, tail_digest
from fhirbridge.audit.keys import Keys
from fhirbridge.audit.line import NOTHING, Line
from fhirbridge.errors import AuditError, JsonError
from fhirbridge.fhir.json import Tree


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a file: ``line`` counts from 1. A ``fault`` is what no crash explains; others are only told."""

    code: str
    file: str
    line: int | None
    meaning: str
    fault: bool = True

    def as_json(self) -> Tree:
        """The finding as one object."""
        tree: Tree = {"code": self.code, "file": self.file, "line": self.line, "meaning": self.meaning}
        return tree | {"fault": self.fault}

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.meaning} [{self.code}]"


@dataclass(slots=True)
class Verified:
    """What was looked at, and what was found: at most one fault in each file, the first."""

    files: int = 0
    lines: int = 0
    events: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def faults(self) -> list[Finding]:
        """What no crash explains."""
        return [one for one in self.findings if one.fault]

    @property
    def intact(self) -> bool:
        """Whether the trail is what was written, as far as its files and the checkpoints remember."""
        return not self.faults


@dataclass(frozen=True, slots=True)
class _Memory:
    """A head, and who remembers it."""

    head: Head
    by: str


def verify(
    folder: Path, keys: Keys, checkpoints: Sequence[Checkpoint] = (), archived: Sequence[Checkpoint] = ()
) -> Verified:
    """Check every file of ``folder``, against each other and against ``checkpoints``. Nothing is written.

    Files that ``archived`` checkpoints remember were put away, and need not be here. Raises :class:`AuditError` where a
    file cannot be read. Without a checkpoint nobody can tell whether the newest file, or its last lines, were removed.
    """
    verified = Verified()
    try:
        names, strays = files.names_in(folder)
        away = {head.file for one in archived for head in one.heads if head.final} - set(names)
        verified.findings += [
            Finding("audit.stray", name, None, "no file of the trail has such a name") for name in strays
        ]
        remembered = _remembered(folder, names, keys, [*checkpoints, *archived])
        for name in sorted(remembered.keys() - set(names)):
            # A file of which not even the first line was written held nothing.
            memories = [one for one in remembered[name] if one.head.n >= 0 or one.head.state == "broken"]
            if name in away:
                verified.findings.append(_away(name))
            elif memories:
                verified.findings.append(_gone(name, memories[0].by))
        for name in names:
            found = _File(folder / name, keys, remembered.get(name, ()), verified).check()
            verified.files += 1
            verified.findings += found
    except OSError as error:
        raise AuditError(
            f"the audit trail cannot be read: {error.strerror or 'no reason given'}", code="audit.unreadable"
        ) from None
    return verified


def heads_of(folder: Path, names: Iterable[str], keys: Keys) -> Iterator[tuple[str, tuple[Head, ...]]]:
    """What each file that can be read remembers of others."""
    for name in names:
        found = opening_of(folder / name, keys)
        if found is not None:
            yield name, found.heads


def _remembered(
    folder: Path, names: Sequence[str], keys: Keys, checkpoints: Iterable[Checkpoint]
) -> dict[str, list[_Memory]]:
    """What is remembered of each file, by other files and by checkpoints."""
    found: dict[str, list[_Memory]] = {}
    for name, heads in heads_of(folder, names, keys):
        for head in heads:
            found.setdefault(head.file, []).append(_Memory(head, name))
    for one in checkpoints:
        for head in one.heads:
            found.setdefault(head.file, []).append(_Memory(head, f"the checkpoint {one.source}"))
    return found


class _File:
    """One file on its way from its first line to its last."""

    def __init__(self, path: Path, keys: Keys, memories: Sequence[_Memory], verified: Verified) -> None:
        self._path, self._keys, self._memories = path, keys, memories
        self._verified = verified
        self._last: Line | None = None
        self._wanted: dict[int, list[_Memory]] = {}
        for one in memories:
            self._wanted.setdefault(one.head.n, []).append(one)

    def check(self) -> list[Finding]:
        """What is wrong with it, the first thing only, and what is to be told of it."""
        alive = locks.is_alive(self._path)
        with files.reading(self._path) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
            tail = b""
            for raw in iter(lambda: file.readline(line.LONGEST + 1), b""):
                if not raw.endswith(b"\n"):
                    tail = raw
                    break
                wrong = self._line(raw[:-1])
                if wrong is not None:
                    return [wrong]
            rest = file.read(1)
        if rest:
            return [self._fault("audit.edited", self._next, "this is no line of the trail")]
        return self._end(tail, alive=alive)

    @property
    def _next(self) -> int:
        """The number that the next line must have."""
        return 0 if self._last is None else self._last.n + 1

    @property
    def _mac(self) -> str:
        return NOTHING if self._last is None else self._last.mac

    def _fault(self, code: str, n: int | None, meaning: str) -> Finding:
        return Finding(code, self._path.name, None if n is None else n + 1, meaning)

    def _line(self, raw: bytes) -> Finding | None:
        here = self._next
        if self._last is not None and self._last.says == "closes":
            return self._fault("audit.added", here, "something stands behind the end of the file")
        found = line.read(raw, self._keys, None if self._last is None else self._last.key)
        if found is None:
            claimed = line.claimed_key(raw) if here == 0 else None
            if claimed is not None and claimed not in self._keys.ids:
                return self._fault("audit.key", here, "the file was sealed with a key that is not given")
            return self._fault("audit.edited", here, "this line was changed, or written by somebody without the key")
        wrong = self._place(found, here) or (self._first(found) if here == 0 else None)
        if wrong is not None:
            return wrong
        self._last = found
        self._verified.lines += 1
        self._verified.events += found.says == "event"
        for one in self._wanted.get(here, ()):
            if one.head.mac != found.mac:
                return self._fault("audit.rewritten", here, f"another line stood here, {one.by} remembers it")
        return None

    def _place(self, found: Line, here: int) -> Finding | None:
        if (found.n, found.previous) == (here, self._mac):
            return None
        if found.n > here:
            return self._fault("audit.lines_missing", here, f"{found.n - here} lines are missing before this one")
        if found.n < here:
            return self._fault("audit.order", here, "this line stood further up, or stands twice")
        return self._fault("audit.order", here, "this line is of another file, or the ones before it are")

    def _first(self, found: Line) -> Finding | None:
        if found.says != "opens":
            return self._fault("audit.lines_missing", 0, "the first line of the file is missing")
        try:
            name = found.tree.get("file")
            opened(found)
        except JsonError:
            return self._fault("audit.edited", 0, "the first line is not that of a file of the trail")
        if name != self._path.name:
            return self._fault("audit.renamed", 0, f"the file was renamed, it was {name}")
        return None

    def _end(self, tail: bytes, *, alive: bool) -> list[Finding]:
        """What may be behind the last whole line, and whether it is the last one that there was."""
        last, here = self._next - 1, self._next
        for one in self._memories:
            if one.head.n > last:
                missing = one.head.n - last
                return [
                    self._fault("audit.truncated", here, f"{missing} lines are missing here, {one.by} remembers them")
                ]
        closed = self._last is not None and self._last.says == "closes"
        if closed:
            return [self._fault("audit.added", here, "something stands behind the end of the file")] if tail else []
        ended = [one for one in self._memories if one.head.final]
        for one in ended:
            if one.head.state == "broken":
                return [self._fault("audit.edited", here, f"the end was no line of the trail when {one.by} was begun")]
            if one.head.n < last or one.head.state == "closed":
                return [
                    self._fault("audit.added", one.head.n + 1, f"the file ended before this line, {one.by} says so")
                ]
            if one.head.tail != tail_digest(tail):
                return [self._fault("audit.edited", here, f"what stands behind the last line is not what {one.by} saw")]
        if alive and not ended:
            return [self._note("audit.open", here, "its writer is at work")]
        if not line.is_torn(tail, here, self._mac):
            return [
                self._fault("audit.edited", here, "what stands behind the last line is nothing that a crash leaves")
            ]
        torn = " in the middle of a line" if tail else ""
        guarded = "" if ended else "; nothing guards its end until the next file is begun or a checkpoint is made"
        return [self._note("audit.unclosed", here, f"its writer was killed{torn}{guarded}")]

    def _note(self, code: str, n: int, meaning: str) -> Finding:
        return Finding(code, self._path.name, n + 1, meaning, fault=False)


def _away(name: str) -> Finding:
    return Finding("audit.archived", name, None, "the file was put away, as you say", fault=False)


def _gone(name: str, by: str) -> Finding:
    return Finding("audit.gone", name, None, f"the file is gone, {by} remembers it")
