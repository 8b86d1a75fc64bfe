"""The matrix of points × faults (``cells.toml``): what is run, what is not, and why."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from tests.faults.points import BETWEEN, POINTS

FAULTS = (
    "sigkill",
    "sigstop",
    "power-cut",
    "disk-full",
    "store-locked",
    "clock-jump",
    "refused",
    "reset",
    "stall",
    "truncated",
    "duplicate-reply",
    "statuses",
    "wrong-order",
    "stale-search",
    "index-lag",
    "token-revoked",
    "consent-revoked",
    "patient-merged",
    "two-workers",
)
Tree: TypeAlias = dict[str, Any]
_MATRIX = Path(__file__).with_name("cells.toml")
MEANS = frozenset({"signal", "store", "clock", "proxy", "server", "hospital", "clinic", "worker"})


@dataclass(frozen=True, slots=True)
class Cell:
    """One point and one fault: ``run`` names an injection, or ``reason`` says why there is nothing to run."""

    point: str
    fault: str
    run: str = ""
    means: str = ""
    only: str = ""
    reason: str = ""

    @property
    def in_network(self) -> bool:
        """Whether the proxy makes the point."""
        return self.point in BETWEEN


def cells() -> list[Cell]:
    """All cells, by point and fault. Raises ``ValueError`` as :func:`read` does."""
    return read(tomllib.loads(_MATRIX.read_text("utf-8")))


def read(tree: Tree) -> list[Cell]:
    """The cells of a matrix. Raises ``ValueError`` if it is not whole or names what is not there."""
    made = {point: "proxy" if point in BETWEEN else "worker" for point in POINTS}
    if tree["points"] != made or tree["cells"].keys() != set(POINTS):
        raise ValueError("the points are not those that worker and proxy make")
    if unknown := {one["means"] for one in tree["injections"].values()} - MEANS:
        raise ValueError(f"unknown means: {unknown}")
    return [_cell(point, fault, tree) for point in POINTS for fault in FAULTS]


def _cell(point: str, fault: str, tree: Tree) -> Cell:
    row = tree["cells"][point]
    if row.keys() != set(FAULTS):
        raise ValueError(f"{point}: {sorted(row.keys() ^ set(FAULTS))}")
    match row[fault]:
        case {"run": str(name), **rest} if not rest and name in tree["injections"]:
            injection = tree["injections"][name]
            return Cell(point, fault, name, injection["means"], injection.get("only", ""), injection.get("why", ""))
        case {"na": str(name), **rest} if not rest and name in tree["reasons"]:
            return Cell(point, fault, reason=tree["reasons"][name])
        case _:
            raise ValueError(f"{point}, {fault}: neither run nor n/a")
