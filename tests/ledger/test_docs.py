"""What the document says is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import fhirbridge.ledger
from fhirbridge.errors import ConsentChanged
from fhirbridge.ledger import State
from fhirbridge.ledger.schema import metadata
from fhirbridge.ledger.states import TRANSITIONS

ROOT = Path(__file__).resolve().parents[2]
CODE = Path(fhirbridge.ledger.__file__).parent


@pytest.fixture(scope="module")
def document() -> str:
    return (ROOT / "docs" / "ledger.md").read_text("utf-8")


def test_the_picture_draws_every_move_of_the_table_and_no_other(document: str) -> None:
    drawn = re.findall(r"^    (\S+) --> (\S+): (\S+)$", document, re.MULTILINE)
    assert drawn == [(one.before or "[*]", one.after, one.event) for one in TRANSITIONS]


def test_every_state_table_and_code_is_explained(document: str) -> None:
    named = set(re.findall(r"`([a-z_.]+)`", document))
    assert named >= set(State)
    assert named >= set(metadata.tables)
    assert f"`{ConsentChanged.code}`" in document
    codes = {
        code for path in CODE.rglob("*.py") for code in re.findall(r'"(ledger\.[a-z_]+)"', path.read_text("utf-8"))
    }
    assert codes - {"ledger.py"} <= named
