"""Write the column tables of docs/datasets.md from the declarations in the code.

Run it after a change of a column: python docs/generate_datasets.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fhirbridge.research.columns import Column, TableShape
from fhirbridge.research.sdtm import DOMAINS
from fhirbridge.research.tables import TABLES
from fhirbridge.research.views import view_definitions

PAGE = Path(__file__).with_name("datasets.md")
BEGIN, END = "<!-- generated: columns -->\n", "<!-- end of the generated part -->\n"
# More words than this are in dictionary.csv.
_MOST_WORDS = 14


def _words(column: Column) -> str:
    if column.vocabulary is None:
        return "a code" if column.class_ == "code" else ""
    shown = [f"`{word}`" for word in column.vocabulary[:_MOST_WORDS]]
    more = len(column.vocabulary) - _MOST_WORDS
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _in_views(name: str) -> set[str]:
    view = view_definitions().get(name)
    return set() if view is None else _named(view)


def _named(node: Any) -> set[str]:
    if isinstance(node, list):
        return set().union(*map(_named, node))
    if not isinstance(node, dict):
        return set()
    own = {one["name"] for one in node.get("column", ())}
    return own.union(*(_named(node[part]) for part in ("select", "unionAll") if part in node))


def _table(shape: TableShape) -> list[str]:
    views = _in_views(shape.name)
    lines = [f"### `{shape.name}`", "", f"{shape.meaning}. Key: {', '.join(f'`{one}`' for one in shape.key)}.", ""]
    lines += ["| column | meaning | type | unit | words | view |", "| --- | --- | --- | --- | --- | --- |"]
    for one in shape.columns:
        cells = (
            f"`{one.name}`",
            one.meaning,
            one.class_,
            f"`{one.unit}`" if one.unit else "",
            _words(one),
            "yes" if one.name in views else "",
        )
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return [*lines, ""]


def generated() -> str:
    """The generated part: every table column by column, and the SDTM domains."""
    lines = [line for shape in TABLES.values() for line in _table(shape)]
    lines += ["### SDTM", "", "| domain | made of | variables |", "| --- | --- | --- |"]
    lines += [
        f"| `{one.name}` | `{one.table}` | {', '.join(f'`{variable.name}`' for variable in one.variables)} |"
        for one in DOMAINS
    ]
    return "\n".join([*lines, ""]) + "\n"


def page() -> str:
    """The page with its generated part made anew."""
    text = PAGE.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n" + generated() + END + after


def main() -> None:
    PAGE.write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
