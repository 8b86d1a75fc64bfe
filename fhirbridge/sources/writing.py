"""Output files that are there whole or not at all: written beside their place, synced, then moved into it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from fhirbridge.errors import UsageError


class WholeFile:
    """A file that takes its name only when it is complete.

    A context manager: leaving it in peace puts the file in place, leaving it by an error or Ctrl-C removes what was
    written, unless ``keep`` was called first. Nobody but the owner may read it. Raises :class:`UsageError` when it
    cannot be written there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._keep = False
        try:
            descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror or 'cannot be written'}", code="usage.output") from None
        self._part = Path(name)
        self._file = os.fdopen(descriptor, "wb", buffering=1 << 18)

    def write(self, data: bytes) -> None:
        """Add bytes at the end."""
        self._file.write(data)

    def keep(self) -> None:
        """From now on an interruption keeps what has been written, under the file's name."""
        self._keep = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and not self._keep:
            with contextlib.suppress(OSError):
                self._file.close()
            self._part.unlink(missing_ok=True)
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(self.path)
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
