"""What ViewDefinitions are put together from: columns, and unions of branches of which one applies to each resource.

A word of the records has a code in FHIR, so a column of words is a union: for each word a branch with the condition
under which it is meant. Nothing is used but literals, where, exists, not, and, or, extension, ofType, first, =, * and
+, forEach and unionAll: what the engines' common tests cover.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from fhirbridge.fhir.json import Tree

Select = dict[str, Any]
NOTHING = "id.where(false)"


def column(name: str, path: str, type_: str = "string") -> Select:
    """One column."""
    return {"name": name, "path": path, "type": type_}


def columns(*made: Select) -> Select:
    """Columns side by side."""
    return {"column": list(made)}


def union(*branches: Select) -> Select:
    """Branches of which each gives its rows."""
    return {"unionAll": list(branches)}


def when(condition: str, *made: Select) -> Select:
    """Columns of a branch, where a condition holds for what is looked at."""
    return {"forEach": f"where({condition})", "column": list(made)}


def words(name: str, conditions: Mapping[str, str], *, other: str | None = None, always: bool = False) -> Select:
    """A column of words, each under its condition; ``other`` is the condition under which it says ``other``.

    Where nothing holds the column is empty; with ``always`` there is no row then.
    """
    branches = [when(condition, column(name, f"'{word}'", "code")) for word, condition in conditions.items()]
    known = " or ".join(f"({condition})" for condition in conditions.values())
    if other is not None:
        branches.append(when(f"({other}) and ({known}).not()", column(name, "'other'", "code")))
        known = f"{known} or ({other})"
    if not always:
        branches.append(when(f"({known}).not()", column(name, "'none'.where(false)", "code")))
    return union(*branches)


def coded(path: str, concept: Tree) -> str:
    """The condition that the concept at ``path`` has the first code of ``concept``, or its words where it has none."""
    if "coding" not in concept:
        return f"{path}.text = '{concept['text']}'"
    first = concept["coding"][0]
    return f"{path}.coding.where(system = '{first['system']}' and code = '{first['code']}').exists()"


def says(path: str, code: str) -> str:
    """The condition that there is something at ``path``, and that it is this code; never neither true nor false."""
    return f"{path}.exists() and {path} = '{code}'"


def quantities(path: str, made: Callable[[str, str], Sequence[Select]], factors: Mapping[str, str]) -> Iterable[Select]:
    """Branches of a quantity by unit: ``made`` gives the columns for a unit and the expression of the value in another
    unit, which ``factors`` has by unit; a last branch without a quantity says nothing."""
    for unit, expression in factors.items():
        yield {"forEach": f"{path}.where(code = '{unit}')", "column": list(made(unit, expression))}
    yield when(f"{path}.exists().not()", *made("", NOTHING_HERE))


NOTHING_HERE = "'none'.where(false)"
