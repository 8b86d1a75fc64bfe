"""The SQL-on-FHIR suite (134 cases that others wrote) through the engine that runs our views in the tests.

    python -m tests.research.dataset.engine [--write docs/view-engine.md]

A case passes where the engine gives the expected rows, or an error where one is expected.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sqlonfhir

ROOT = Path(__file__).resolve().parents[3]
SUITE = ROOT.parent / "shared" / "corpora" / "sql-on-fhir-v2"


@dataclass(frozen=True)
class Case:
    """One case: its file, its title, whether the engine gives what is expected, and else what it did."""

    file: str
    title: str
    passes: bool
    why: str = ""


def cases() -> Iterator[Case]:
    """Every case of the suite, run."""
    for path in sorted(SUITE.glob("*.json")):
        suite = json.loads(path.read_text("utf-8"))
        for one in suite.get("tests", ()):
            why = _run(one, suite["resources"])
            yield Case(path.stem, one["title"], not why, why)


def _run(case: dict[str, Any], resources: list[Any]) -> str:
    """What is wrong with what the engine gives; empty where nothing is."""
    try:
        rows = sqlonfhir.evaluate(copy.deepcopy(resources), copy.deepcopy(case["view"]))
    except Exception as error:  # noqa: BLE001 - whatever a foreign engine raises
        return "" if case.get("expectError") else f"raises {type(error).__name__}"
    if case.get("expectError"):
        return "gives rows where an error is expected"
    if "expectCount" in case:
        return "" if len(rows) == case["expectCount"] else "gives another number of rows"
    if "expectColumns" in case and rows and list(rows[0]) != case["expectColumns"]:
        return "gives other columns"
    if "expect" in case and _canonical(rows) != _canonical(case["expect"]):
        return "gives other rows"
    return ""


def _canonical(rows: list[Any]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True, default=float) for row in rows)


def page() -> str:
    """``docs/view-engine.md``."""
    found = list(cases())
    passed = sum(one.passes for one in found)
    rows = "\n".join(
        f"| {one.file} | {one.title.replace('|', chr(92) + '|')} | {'passes' if one.passes else one.why} |"
        for one in found
    )
    return f"""# The engine that runs the views

The ViewDefinitions of a dataset are run in the tests by `sqlonfhir` {version("sqlonfhir")} (Apache-2.0, pure Python,
over `fhirpathpy` {version("fhirpathpy")}), which others wrote. This page is made by
`python -m tests.research.dataset.engine --write docs/view-engine.md`: it runs the test suite of SQL-on-FHIR v2 through
that engine. **{passed} of {len(found)} cases pass.** Our views use only what passes; a test holds them to it.

| file | case | result |
| --- | --- | --- |
{rows}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the SQL-on-FHIR suite through sqlonfhir.")
    parser.add_argument("--write", type=Path, help="write the page")
    said = parser.parse_args()
    text = page()
    if said.write:
        said.write.write_text(text, "utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
