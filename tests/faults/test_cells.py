"""The matrix is whole: every point × every fault, run or with a reason, and every run can be carried out."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.cells import FAULTS, Tree, cells, read
from tests.faults.injections import INJECTIONS
from tests.faults.points import POINTS


@pytest.fixture
def matrix() -> Tree:
    return tomllib.loads(Path(__file__).with_name("cells.toml").read_text("utf-8"))


def test_there_are_twelve_points_and_nineteen_faults_and_a_cell_for_each_pair() -> None:
    pairs = Counter((cell.point, cell.fault) for cell in cells())
    assert pairs == Counter((point, fault) for point in POINTS for fault in FAULTS)
    assert (len(POINTS), len(FAULTS), len(pairs)) == (12, 19, 228)


def test_each_cell_says_how_it_is_made_or_why_it_is_not_run() -> None:
    for cell in cells():
        if cell.run:
            assert cell.means, f"{cell.point} × {cell.fault} does not say by what means it is made"
            assert bool(cell.only) == bool(cell.reason), "what is run on one store only says why"
        else:
            assert cell.reason, f"{cell.point} × {cell.fault} is not run and does not say why"


def test_the_injections_of_the_matrix_are_those_that_can_be_carried_out(matrix: Tree) -> None:
    assert matrix["injections"].keys() == INJECTIONS.keys()
    assert {cell.run for cell in cells() if cell.run} == INJECTIONS.keys()
    assert {row["na"] for point in matrix["cells"].values() for row in point.values() if "na" in row} == matrix[
        "reasons"
    ].keys()


@pytest.mark.parametrize("point", POINTS)
def test_a_missing_cell_is_noticed(matrix: Tree, point: str) -> None:
    del matrix["cells"][point]["stall"]
    with pytest.raises(ValueError, match=point):
        read(matrix)


@pytest.mark.parametrize("cell", [{}, {"run": "magic"}, {"na": "no-idea"}, {"run": "kill", "na": "open"}, {"na": ""}])
def test_a_cell_that_is_neither_run_nor_excused_is_noticed(matrix: Tree, cell: dict[str, str]) -> None:
    matrix["cells"]["mid-reply"]["reset"] = cell
    with pytest.raises(ValueError, match="mid-reply, reset"):
        read(matrix)
