"""Our ViewDefinitions, run by an engine that others wrote, say what our tables say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fhirbridge.research.columns import Column
from fhirbridge.research.dataset import Built
from fhirbridge.research.tables import OF_RECORDS
from fhirbridge.research.views import view_definitions
from tests.research.dataset import engine
from tests.research.dataset.views import _named, compared

ROOT = Path(__file__).resolve().parents[3]
# Told by several elements together, or by a list of which a view cannot say which came first.
NOT_IN_VIEWS = {
    "adverse_events": {
        "record_status", "code", "code_system", "ctcae_code", "relatedness", "action_taken",
    },
}  # fmt: skip


def paths(node: Any) -> list[str]:
    """Every FHIRPath expression of a view."""
    if isinstance(node, list):
        return [path for one in node for path in paths(one)]
    if not isinstance(node, dict):
        return []
    own = [node[name] for name in ("path", "forEach", "forEachOrNull") if isinstance(node.get(name), str)]
    return own + [path for value in node.values() for path in paths(value)]


@pytest.mark.parametrize("name", ["sessions", "administrations", "adverse_events"])
def test_a_view_gives_the_rows_of_its_table(dataset: Built, name: str) -> None:
    """Column by column; all views and fifty patients: python -m tests.research.dataset.views --patients 50."""
    rows, more, fewer = compared(dataset.folder, name)
    assert rows or name == "adverse_events"
    assert (more.total(), fewer.total()) == (0, 0)


@pytest.mark.long
@pytest.mark.parametrize("name", ["vitals", "assessments", "assessment_items"])
def test_a_large_view_gives_the_rows_of_its_table(dataset: Built, name: str) -> None:
    rows, more, fewer = compared(dataset.folder, name)
    assert rows
    assert (more.total(), fewer.total()) == (0, 0)


def test_a_view_has_every_column_that_one_resource_can_tell() -> None:
    """What is declared as computed is not in a view; all else is, but for what is listed here."""
    for name, view in view_definitions().items():
        named = _named(view)
        declared: dict[str, Column] = {one.name: one for one in OF_RECORDS[name].columns}
        assert named <= declared.keys(), name
        left = {column for column, one in declared.items() if not one.computed} - named
        assert left == NOT_IN_VIEWS.get(name, set()), name


def test_views_use_only_what_the_engine_is_known_to_do() -> None:
    """No function that fails in the suite: boundaries, repeat, %rowIndex; none that the suite does not try."""
    tried = {
        "where", "exists", "first", "not", "extension", "ofType", "getReferenceKey",
    }  # fmt: skip
    for name, view in view_definitions().items():
        for path in paths(view):
            plain = re.sub(r"'[^']*'", "''", path)
            assert set(re.findall(r"([A-Za-z]+)\(", plain)) - {"or", "and"} <= tried, (name, path)
            assert "%" not in plain
        assert "repeat" not in json.dumps(view)


def test_unions_have_the_same_columns_in_the_same_order() -> None:
    def columns(node: Any) -> list[str]:
        own = [one["name"] for one in node.get("column", ())]
        inside = [name for part in node.get("select", ()) for name in columns(part)]
        union = node.get("unionAll", ())
        each = [columns(one) for one in union]
        assert all(one == each[0] for one in each), each[:2]
        return own + inside + (each[0] if each else [])

    for view in view_definitions().values():
        columns(view)


@pytest.mark.long
def test_the_page_about_the_engine_says_what_it_does() -> None:
    """Which of the cases that others wrote it passes."""
    if not engine.SUITE.is_dir():
        pytest.skip("the SQL-on-FHIR suite is not there: ../shared/corpora/sql-on-fhir-v2")
    assert (ROOT / "docs" / "view-engine.md").read_text("utf-8") == engine.page()


def test_every_code_of_a_view_comes_from_the_mappings() -> None:
    """A view asks for LOINC's code of a systolic pressure, as the mapping writes it."""
    text = json.dumps(view_definitions()["vitals"])
    assert all(code in text for code in ("8480-6", "8867-4", "2708-6", "85354-9"))
