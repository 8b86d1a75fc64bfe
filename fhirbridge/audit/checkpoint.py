"""Checkpoints: how far every file had come at a moment, sealed, to be kept where nobody who holds the trail can reach.

A trail guards all of itself but its newest end: who removes the last lines of the newest file, or that file, leaves
something that was once true. A checkpoint that is kept elsewhere remembers more.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fhirbridge.audit import files
from fhirbridge.audit.head import Head
from fhirbridge.audit.keys import Keys
from fhirbridge.audit.line import LONGEST, object_of
from fhirbridge.audit.moment import instant
from fhirbridge.errors import AuditError, JsonError
from fhirbridge.fhir.json import parse_object

_DOMAIN = b"fhirbridge audit checkpoint\0"
_ENDS = re.compile(rb',"mac":"[0-9a-f]{64}"\}\Z')
_BEGINS, _MIDDLE = b'{"checkpoint":', b',"mac":"'


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What one checkpoint remembers. ``source`` says where it was read, by file and line."""

    source: str
    at: str
    heads: tuple[Head, ...]


class Checkpoints:
    """A file, on another disk best, to which checkpoints are added: one line each, on disk when it was added.

    ``every`` is the number of events after which the trail adds one, beside the one at the end of a file.
    """

    def __init__(self, path: Path, keys: Keys, clinic: str, every: int) -> None:
        self._path, self._keys, self._clinic = path, keys, clinic
        self.every = every

    def check(self) -> None:
        """Raise :class:`OSError` where nothing can be added."""
        os.close(self._open())

    def add(self, heads: Sequence[Head], now: float) -> None:
        """Remember these heads; ``now`` is in epoch seconds. Raises :class:`OSError`."""
        descriptor = self._open()
        try:
            # Whoever was killed here before has left a line without its end.
            torn = self._path.stat().st_size > 0 and self._path.read_bytes()[-1:] != b"\n"
            files.write_all(descriptor, b"\n" * torn + written(heads, now, self._keys, self._clinic))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def written(heads: Sequence[Head], now: float, keys: Keys, clinic: str) -> bytes:
    """A checkpoint as one line."""
    text = object_of(clinic=clinic, at=instant(now), key=keys.active, heads=[one.as_json() for one in heads])
    sealed = _BEGINS + text
    return b'%b%b%b"}\n' % (sealed, _MIDDLE, keys.seal(_DOMAIN + sealed).encode())


def read_checkpoints(path: Path, keys: Keys) -> list[Checkpoint]:
    """Every checkpoint of a file. Raises :class:`AuditError` where one is not sealed by us, or none is there.

    A line that breaks off is no checkpoint: whoever wrote it was killed.
    """
    found: list[Checkpoint] = []
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(iter(lambda: file.readline(LONGEST), b""), start=1):
                said = raw.strip(b"\n")
                if said and (_ENDS.search(said) or not said.startswith(_BEGINS)):
                    found.append(_read(said, f"{path}:{number}", keys))
    except OSError as error:
        raise AuditError(
            f"{path}: {error.strerror or 'cannot be read'}", code="audit.checkpoint", hint="name a file of checkpoints"
        ) from None
    if not found:
        raise AuditError(f"{path} holds no checkpoint", code="audit.checkpoint", hint="fhirbridge audit checkpoint")
    return found


def _read(raw: bytes, source: str, keys: Keys) -> Checkpoint:
    sealed, middle, rest = raw.rpartition(_MIDDLE)
    if middle and rest.endswith(b'"}') and keys.holds(_DOMAIN + sealed, rest[:-2].decode("ascii", "replace")):
        try:
            said = parse_object(sealed + b"}")["checkpoint"]
            return Checkpoint(source, str(said["at"]), tuple(map(Head.read, said["heads"])))
        except (JsonError, KeyError, TypeError):
            pass
    raise AuditError(
        f"{source} is no checkpoint of this clinic's trail, or was changed", code="audit.checkpoint",
        hint="take another copy of it; was it made with another key?",
    )  # fmt: skip
