"""The page of results, which several programs write a section of each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.machine import machine

HEAD = """# Benchmarks

Written by the programs in `benchmarks/`; do not edit. `make bench-map` measures anew.
"""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; every column but the first is for numbers."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows)) + "\n"


def details() -> str:
    """The machine, as a line of text."""
    return "Measured on " + "; ".join(f"{name} {value}" for name, value in machine().items()) + ".\n"


def put(path: Path, name: str, text: str) -> None:
    """Write the section ``name`` of the page, and leave the others as they are."""
    page = path.read_text(encoding="utf-8") if path.exists() else HEAD
    section = f"<!-- {name} -->\n{text.strip()}\n<!-- end of {name} -->\n"
    pattern = re.compile(rf"<!-- {name} -->\n.*?<!-- end of {name} -->\n", re.DOTALL)
    known = pattern.search(page) is not None
    page = pattern.sub(lambda _: section, page) if known else f"{page.rstrip()}\n\n{section}"
    path.write_text(page, encoding="utf-8")
