"""Where a command's results go: a file that is whole or not there, or standard output; and the reject file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from fhirbridge.sources import STDIN, Line, WholeFile, write_reject

STDOUT = STDIN


@contextmanager
def open_output(path: str) -> Iterator[Callable[[bytes], object]]:
    """A function that writes bytes to ``path``; ``-`` is standard output.

    An interrupted command leaves no half file behind. Raises :class:`UsageError` when the file cannot be written.
    """
    place = Path(path)
    if path == STDOUT:
        yield sys.stdout.buffer.write
        sys.stdout.buffer.flush()
    elif place.exists() and not place.is_file():
        # A device or a pipe cannot be replaced.
        with place.open("wb") as file:
            yield file.write
    else:
        with WholeFile(place) as whole:
            yield whole.write


class Rejects:
    """The reject file: made with the first refused line, complete even after Ctrl-C, absent when all is well."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._stack = ExitStack()
        self._file: WholeFile | None = None

    def add(self, line: Line) -> None:
        """Keep a refused line, with its faults and its text."""
        if self._file is None:
            self._file = self._stack.enter_context(WholeFile(self.path))
            self._file.keep()
        self._file.write(write_reject(line))
        self.count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
