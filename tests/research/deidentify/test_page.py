"""The page of the documentation says what the profiles do now."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.fixture
def generator() -> Any:
    path = DOCS / "generate_deidentify.py"
    if not path.is_file():
        pytest.skip("the documentation is not here")
    spec = importlib.util.spec_from_file_location("generate_deidentify", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_those_of_the_profiles(generator: Any) -> None:
    text = generator.PAGE.read_text("utf-8")
    assert generator.page(text) == text, "run docs/generate_deidentify.py"


def test_every_kind_is_spoken_of(generator: Any) -> None:
    assert list(generator.unruled()) == []
