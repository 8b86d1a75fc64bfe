"""docs/datasets.md says what the declarations say, and its SQL runs."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import duckdb
import pytest

from fhirbridge.research.dataset import Built

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "datasets.md"
SQL = re.findall(r"^```sql\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_the_tables_of_the_page_are_those_of_the_code() -> None:
    spec = importlib.util.spec_from_file_location("generate_datasets", ROOT / "docs" / "generate_datasets.py")
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    assert PAGE.read_text("utf-8") == program.page(), "run: python docs/generate_datasets.py"


@pytest.mark.parametrize("query", SQL, ids=range(len(SQL)))
def test_the_sql_of_the_page_runs_on_a_dataset(dataset: Built, query: str) -> None:
    with duckdb.connect(str(dataset.folder / "dataset.duckdb"), read_only=True) as database:
        assert database.execute(query).fetchall()
