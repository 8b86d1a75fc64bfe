"""What people see: messages, progress and tables on standard error; results alone go to standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from fhirbridge.errors import Fault, FhirbridgeError
from fhirbridge.fhir.outcome import Issue

# The reject file and the outcomes file have them all.
_MOST_LISTED = 40
_LOG_WIDTH = 120
_LISTING_WIDTH = 200


def stderr() -> Console:
    """A console on standard error as it is now; nothing in a message is markup."""
    console = Console(stderr=True)
    # A log file has no edge at which a column would have to be cut.
    width = None if console.is_terminal else _LOG_WIDTH
    return Console(stderr=True, width=width, markup=False, emoji=False, highlight=False, soft_wrap=True)


def say(message: str) -> None:
    """One message to the user."""
    stderr().print(message)


def say_error(error: FhirbridgeError) -> None:
    """An error, with its code and what to do next."""
    stderr().print(f"fhirbridge: {error}", style="red")


def say_server_text(issue: Issue) -> None:
    """A server's own words, which may name the patient: only for somebody who asked, only on this terminal."""
    if issue.text:
        # Control characters of a server could rewrite the terminal.
        text = "".join(character if character.isprintable() else " " for character in issue.text)
        say(f"server ({issue.severity}, {issue.code}): {text}")


class Listing:
    """Faults as they come, one line each, until there are too many for a terminal."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, place: str, faults: Iterable[Fault]) -> None:
        """List what is wrong at one place."""
        self.count += 1
        if self.count <= _MOST_LISTED:
            for fault in faults:
                say(f"{place}: {fault}")
        elif self.count == _MOST_LISTED + 1:
            say("… and more, listed in the files named below")


@contextmanager
def counting(what: str) -> Iterator[Callable[[int], None]]:
    """Show a growing count while something runs; silent where standard error is no terminal."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    console = stderr()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda count: progress.update(task, completed=count)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table whose first column is text and whose others are numbers."""
    shown = Table()
    for position, column in enumerate(columns):
        shown.add_column(column, justify="right" if position else "left")
    for row in rows:
        shown.add_row(*row)
    stderr().print(shown)


def listing(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table that is the result itself: on standard output, all columns text."""
    console = Console()
    width = None if console.is_terminal else _LISTING_WIDTH
    shown = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        shown.add_row(*row)
    Console(width=width, markup=False, emoji=False, highlight=False, soft_wrap=True).print(shown)


def print_json(tree: Any, *, to_stdout: bool) -> None:
    """A summary for scripts, on one line; it gives way to standard error where the results need standard output."""
    stream = sys.stdout if to_stdout else sys.stderr
    stream.write(json.dumps(tree, ensure_ascii=False) + "\n")
    stream.flush()
