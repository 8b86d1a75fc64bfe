"""Strings made to mean something else where they are put: ``python -m tests.hostile.text --count 100000``.

Each is written as a cell of CSV and read again, looked at as a spreadsheet would, put into a search by POST and taken
apart as a server would. None may change its meaning. (Nothing here writes HTML.)
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import re
import sys
from urllib.parse import parse_qsl, urlencode

from fhirbridge.cells import csv_text, guarded, unguarded
from fhirbridge.fhir.bundle import search_token

_PARTS = (
    "=", "+", "-", "@", "\t", "\r", "\n", "\0", "'", '"', ",", ";", "|", "$", "\\", "&", "%", "#", "?", "/", " ",
    "=cmd|' /C calc'!A0", '=HYPERLINK("http://x")', "O'Brien; DROP TABLE", "<script>alert(1)</script>", "%7C",
    "%26_has:", "&identifier=other", "_include=*", "\\|", "\\\\,", "\u2028", "\u202e", "\uff1d", "\uff0b", "\ufeff",
    "é", "\U0001f642", "a", "0", "Zebulon",
)  # fmt: skip
_FORMULA = re.compile("[=+\\-@\t\r\n\0\uff1d\uff0b\uff0d\uff20]")
_SYSTEM = "https://clinic.example/sid/patient"


def strings(count: int, seed: int) -> list[str]:
    """Made of parts that mean something to somebody."""
    dice = random.Random(seed)  # noqa: S311 - repeatable on purpose
    return ["".join(dice.choices(_PARTS, k=dice.randint(1, 6))) for _ in range(count)]


def faults(text: str) -> list[str]:
    """Where a text changed its meaning."""
    found = []
    cell = guarded(text)
    if _FORMULA.match(cell):
        found.append("a spreadsheet runs the cell")
    if unguarded(cell) != text:
        found.append("the cell is read as another text")
    page = csv_text([["before", text, "behind"]])
    if list(csv.reader(io.StringIO(page, newline=""), strict=True)) != [["before", cell, "behind"]]:
        found.append("the row is read as another row")
    sent = urlencode({"identifier": search_token(_SYSTEM, text), "_count": "2"})
    got = dict(parse_qsl(sent, keep_blank_values=True, strict_parsing=True))
    if got.keys() != {"identifier", "_count"} or taken_apart(got["identifier"]) != [[_SYSTEM, text]]:
        found.append("the server is asked something else")
    return found


def taken_apart(value: str) -> list[list[str]]:
    """A token search parameter as a server reads it: alternatives by commas, parts by bars, a backslash escapes."""
    alternatives: list[list[str]] = [[""]]
    escaped = False
    for character in value:
        if escaped or character not in "\\,|":
            alternatives[-1][-1] += character
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == ",":
            alternatives.append([""])
        else:
            alternatives[-1].append("")
    return alternatives


def main() -> int:
    """0 when none changed its meaning."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    changed = sum(bool(faults(text)) for text in strings(given.count, given.seed))
    sys.stdout.write(f"{given.count} strings: {changed} changed their meaning\n")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
