"""Who is writing: a lock on each file for as long as its writer lives, and one on the folder while a file is opened."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fhirbridge.audit import files
from fhirbridge.errors import AuditUnavailable

if sys.platform != "win32":
    import fcntl


def hold(descriptor: int, *, wait: bool = False) -> bool:
    """Lock a file for as long as it is open here; false where another process, or another opening, has it."""
    if sys.platform == "win32":
        raise AuditUnavailable("the audit trail needs the file locks of a POSIX system")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def is_alive(path: Path) -> bool:
    """Whether the writer of a file lives."""
    with files.reading(path) as descriptor:
        return not hold(descriptor)


@contextmanager
def opening(folder: Path) -> Iterator[None]:
    """One at a time: whoever opens a file sees every file that was opened before."""
    with files.locking(folder) as descriptor:
        hold(descriptor, wait=True)
        yield
