"""The trail of one process: an append-only file that is opened with the first line, and closed in the end.

Whoever announces something waits until the line is on disk; many threads share a wait. A file is never changed once
something was written, only ended: where a line could not be written whole, the next one begins a new file.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fhirbridge import __version__
from fhirbridge.audit import files, line, locks
from fhirbridge.audit.checkpoint import Checkpoints
from fhirbridge.audit.head import Head, survey
from fhirbridge.audit.keys import Keys
from fhirbridge.audit.line import NOTHING, Says
from fhirbridge.audit.moment import instant
from fhirbridge.errors import AuditUnavailable

# A file is ended after so many bytes, or seconds: what is ended is guarded best, and can be put away.
LARGEST = 64 * 2**20
LONGEST = 24 * 3600.0


@dataclass(slots=True)
class _File:
    """The file that is written now: its last line, and how far it is known to be on disk."""

    path: Path
    descriptor: int
    since: str
    began: float
    n: int
    mac: str
    size: int
    synced: int = -1
    events: int = 0
    # Nothing more may be written to it: a line of it is torn, or the disk did not take what it held.
    broken: bool = False
    shut: bool = False


class Trail:
    """Appends lines; shared by the threads of a process. ``clock`` gives epoch seconds.

    After a fork the child writes a file of its own. Every failure to write is :class:`AuditUnavailable`; what the line
    was to announce must not be done then.
    """

    def __init__(
        self,
        folder: Path,
        keys: Keys,
        clinic: str,
        *,
        clock: Callable[[], float],
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self._folder, self._keys, self._clinic = folder, keys, clinic
        self._clock, self._checkpoints = clock, checkpoints
        self._file: _File | None = None
        self._writing, self._syncing = threading.Lock(), threading.Lock()
        _TRAILS.add(self)

    def append(self, says: Says, text: bytes, *, durable: bool = False) -> None:
        """Write one line; ``text`` is one JSON object. With ``durable`` it is on disk when this returns."""
        with self._writing, _unavailable():
            now = self._clock()
            file = self._opened(now)
            try:
                self._put(file, says, text)
            except BaseException:
                self._leave(file)
                raise
            file.events += says == "event"
            if self._checkpoints is not None and says == "event" and file.events % self._checkpoints.every == 0:
                self._check(now)
            place = file.n
        if durable:
            self._sync(file, place)

    def close(self) -> None:
        """End the file, if there is one; the trail may be used again, and begins another then."""
        with self._writing, _unavailable():
            if self._file is not None:
                self._end(self._file, self._clock())

    def _opened(self, now: float) -> _File:
        """The file to write to."""
        file = self._file
        if file is not None and file.broken:
            self._leave(file)
        elif file is not None and (file.size > LARGEST or not file.began <= now < file.began + LONGEST):
            self._end(file, now)
        elif file is not None:
            return file
        return self._open(now)

    def _open(self, now: float) -> _File:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locks.opening(self._folder):
            names, _ = files.names_in(self._folder)
            known = survey(self._folder, names, self._keys)
            path = self._folder / files.new_name(now, names)
            file = _File(path, files.create(path), known.since or path.name, now, -1, NOTHING, 0)
            self._file = file
            try:
                locks.hold(file.descriptor, wait=True)
                self._put(file, "opens", self._opening(file, now, known.heads))
                os.fsync(file.descriptor)
                files.sync_folder(self._folder)
            except BaseException:
                # Nothing was announced in it, and nobody remembers it: the folder is still locked.
                self._leave(file)
                with contextlib.suppress(OSError):
                    path.unlink()
                raise
            file.synced = file.n
        if self._checkpoints is not None:
            self._checkpoints.check()
        return file

    def _opening(self, file: _File, now: float, heads: tuple[Head, ...]) -> bytes:
        writer = {"host": socket.gethostname(), "process": os.getpid(), "software": f"fhirbridge {__version__}"}
        return line.object_of(
            format=1,
            file=file.path.name,
            clinic=self._clinic,
            at=instant(now),
            key=self._keys.active,
            writer=writer,
            since=file.since,
            heads=[one.as_json() for one in heads],
        )

    def _put(self, file: _File, says: Says, text: bytes) -> None:
        raw, mac = line.write(file.n + 1, file.mac, says, text, self._keys)
        files.write_all(file.descriptor, raw)
        file.n, file.mac, file.size = file.n + 1, mac, file.size + len(raw)

    def _end(self, file: _File, now: float) -> None:
        try:
            self._put(file, "closes", line.object_of(at=instant(now), events=file.events))
        finally:
            self._leave(file)
        if file.synced < file.n:
            raise OSError("the disk did not take it")
        if self._checkpoints is not None:
            self._check(now)

    def _check(self, now: float) -> None:
        assert self._checkpoints is not None
        names, _ = files.names_in(self._folder)
        self._checkpoints.add(survey(self._folder, names, self._keys).heads, now)

    def _sync(self, file: _File, place: int) -> None:
        with self._syncing, _unavailable():
            # Somebody who came before has waited for this line too.
            if file.synced >= place:
                return
            if file.shut:
                raise OSError("the disk did not take it")
            self._force(file)

    def _force(self, file: _File) -> None:
        written = file.n
        try:
            os.fsync(file.descriptor)
        except BaseException:
            # What a disk refused once it may claim to have the next time.
            file.broken = True
            raise
        file.synced = written

    def _leave(self, file: _File) -> None:
        """Write nothing more to a file; where its last line is not "closes", the next file says where it ends."""
        self._file = None
        with self._syncing, contextlib.suppress(OSError):
            if not file.broken:
                self._force(file)
        with self._syncing, contextlib.suppress(OSError):
            file.shut = True
            os.close(file.descriptor)

    def _forked(self) -> None:
        """In a new process: the file, and whoever held the locks, belong to the parent."""
        self._writing, self._syncing = threading.Lock(), threading.Lock()
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                os.close(file.descriptor)


_TRAILS: weakref.WeakSet[Trail] = weakref.WeakSet()


def _after_fork() -> None:
    for one in list(_TRAILS):
        one._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextlib.contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AuditUnavailable(
            f"the audit trail cannot be written: {error.strerror or 'no reason given'}",
            hint="nothing leaves without it; check [audit] path, the disk and its rights",
        ) from None
