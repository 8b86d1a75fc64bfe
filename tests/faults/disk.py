"""A disk for one process that can fill up and lose power: a preloaded shim (``disk.c``), and what is done from outside.

Needs a C compiler and Linux; :func:`shim` says so where they are missing.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_SOURCE = Path(__file__).with_name("disk.c")
_HEAD = struct.Struct("@cIqqq")


class NoShim(Exception):
    """Why there is no shim on this machine."""


class _Write(NamedTuple):
    path: str
    at: int
    old: bytes
    size: int


def shim() -> Path:
    """The shim, compiled when it is not there yet. Raises :class:`NoShim`."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        raise NoShim("the disk that loses power needs Linux and a C compiler")
    version = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:16]
    built = Path(tempfile.gettempdir()) / f"fhirbridge-disk-{os.getuid()}-{version}.so"
    if not built.exists():
        fresh = built.with_suffix(f".{os.getpid()}")
        command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(fresh), str(_SOURCE)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise NoShim(f"the shim does not compile here: {done.stderr[-500:]}")
        fresh.rename(built)
    return built


def environment(folder: Path) -> dict[str, str]:
    """What to start a process with so that ``folder`` is on this disk."""
    return {"LD_PRELOAD": str(shim()), "LAB_DISK": str(folder.resolve())}


def fill(folder: Path) -> None:
    """From now on there is no room."""
    (folder / ".full").touch()


def free(folder: Path) -> None:
    """There is room again."""
    (folder / ".full").unlink(missing_ok=True)


def power_cut(folder: Path, seed: int | None = None) -> int:
    """Take back what was written and never synced; how many writes those were.

    The processes must be dead. With ``seed`` some of the writes, the first ones, did reach the disk.
    """
    log = folder / ".undo"
    unsafe: list[_Write] = []
    for write in _records(log):
        if write.size < 0:
            unsafe = [one for one in unsafe if one.path != write.path]
        else:
            unsafe.append(write)
    lucky = random.Random(seed).randint(0, len(unsafe)) if seed is not None else 0  # noqa: S311 - repeatable
    for write in reversed(unsafe[lucky:]):
        with suppress(FileNotFoundError), Path(write.path).open("r+b") as file:
            file.seek(write.at)
            file.write(write.old)
            file.truncate(write.size)
    for shared in folder.rglob("*-shm"):
        shared.unlink()
    log.unlink(missing_ok=True)
    return len(unsafe) - lucky


def _records(log: Path) -> list[_Write]:
    data = log.read_bytes() if log.exists() else b""
    found, place = [], 0
    while place + _HEAD.size <= len(data):
        what, length, at, count, size = _HEAD.unpack_from(data, place)
        start = place + _HEAD.size
        path = data[start : start + length].decode()
        old = data[start + length : start + length + count]
        found.append(_Write(path, at, old, size if what == b"w" else -1))
        place = start + length + count
    return found
