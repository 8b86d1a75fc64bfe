"""CSV that people open in a spreadsheet, which would run a cell that begins like a formula.

Such a cell gets an apostrophe in front, as OWASP ASVS 1.2.10 asks; what had one there gets another, so that reading
takes away what writing added and every text comes back as it was.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

# The full-width forms are formulas to spreadsheets of East Asia.
_RUNS = re.compile("'*[=+\\-@\t\r\n\0\uff1d\uff0b\uff0d\uff20]")
_ADDED = re.compile(f"'(?={_RUNS.pattern})")


def guarded(text: str) -> str:
    """``text`` as a cell that nothing runs."""
    return f"'{text}" if _RUNS.match(text) else text


def unguarded(cell: str) -> str:
    """What :func:`guarded` was given."""
    return _ADDED.sub("", cell, count=1) if _ADDED.match(cell) else cell


def csv_text(rows: Iterable[Sequence[str]]) -> str:
    """Rows as CSV, every cell guarded."""
    page = io.StringIO(newline="")
    plain, quoted = (csv.writer(page, lineterminator="\n", quoting=one) for one in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    for row in rows:
        cells = [guarded(cell) for cell in row]
        # A carriage return alone ends a line for many readers, and the module leaves it without quotes.
        (quoted if any("\r" in cell for cell in cells) else plain).writerow(cells)
    return page.getvalue()
