"""The files of a trail: names that sort by the time of their start, and reading them from either end."""

from __future__ import annotations

import datetime as dt
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fhirbridge.audit.line import LONGEST

NAME = re.compile(r"(\d{8}T\d{6}\.\d{6})Z-[0-9a-f]{8}\.ndjson")
LOCK = ".lock"
_STAMP = "%Y%m%dT%H%M%S.%f"
_TICK = dt.timedelta(microseconds=1)
_BLOCK = 1 << 16


def new_name(now: float, names: list[str]) -> str:
    """A name behind all others, whatever became of the clock; ``now`` in epoch seconds. Nothing of it is data."""
    moment = dt.datetime.fromtimestamp(now, dt.UTC).replace(tzinfo=None)
    last = NAME.fullmatch(names[-1]) if names else None
    if last is not None:
        moment = max(moment, dt.datetime.strptime(last[1], _STAMP) + _TICK)  # noqa: DTZ007 - both are UTC
    return f"{moment:{_STAMP}}Z-{secrets.token_hex(4)}.ndjson"


def names_in(folder: Path) -> tuple[list[str], list[str]]:
    """The files of the trail in the order of their start, and what else lies in the folder."""
    try:
        found = sorted(one.name for one in folder.iterdir())
    except FileNotFoundError:
        return [], []
    ours = [name for name in found if NAME.fullmatch(name)]
    return ours, [name for name in found if not NAME.fullmatch(name) and name != LOCK]


@contextmanager
def reading(path: Path) -> Iterator[int]:
    """A descriptor for reading."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def locking(folder: Path) -> Iterator[int]:
    """A descriptor of the file that serves as the folder's lock."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def create(path: Path) -> int:
    """Make a file to append to, for its owner only; its descriptor."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(path, flags, 0o600)


def write_all(descriptor: int, data: bytes) -> None:
    """Append all of ``data``. Raises :class:`OSError`, after which the end of the file may be torn."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_folder(folder: Path) -> None:
    """Make what a folder lists durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def first_line(path: Path) -> bytes | None:
    """The first line without its line end; ``None`` where none is whole."""
    with reading(path) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
        raw = file.readline(LONGEST)
    return raw[:-1] if raw.endswith(b"\n") else None


def last_line(path: Path) -> tuple[bytes | None, bytes]:
    """The last whole line without its line end (``None``: there is none), and the bytes behind it.

    The file is synced first: what is told of it elsewhere has to outlast what may happen to it.
    """
    with reading(path) as descriptor:
        os.fsync(descriptor)
        size = os.fstat(descriptor).st_size
        found = b""
        while len(found) < size and len(found) <= LONGEST:
            block = min(size - len(found), max(_BLOCK, len(found)))
            found = os.pread(descriptor, block, size - len(found) - block) + found
            if found.count(b"\n") >= 2:
                break
    lines, end, tail = found.rpartition(b"\n")
    return (lines.rpartition(b"\n")[2] if end else None), tail
