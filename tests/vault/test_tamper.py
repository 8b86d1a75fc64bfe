"""Whoever has the file and not the keys cannot edit a ledger without being found out; what is not proven is named."""

from __future__ import annotations

import pytest

from tests.vault.tamper import TABLES, UNPROVEN, proven, trials


def test_every_column_is_proven_or_said_not_to_be() -> None:
    for name, columns in UNPROVEN.items():
        assert columns.keys() <= set(TABLES[name].c.keys()), name
        assert all(columns.values())
    assert set(proven("resource")) == set(TABLES["resource"].c.keys())
    assert set(proven("consent")) == set(TABLES["consent"].c.keys())
    assert {"state", "mark", "seal", "content", "payload"} <= set(proven("delivery"))


def test_single_edits_are_found() -> None:
    told, missed = trials(150, 1)
    assert (told.total(), missed) == (150, [])


@pytest.mark.long
def test_many_single_edits_are_found() -> None:
    told, missed = trials(1_500, 2)
    assert (told.total(), missed) == (1_500, [])
    assert len(told) > 150
