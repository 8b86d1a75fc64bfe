"""These tests write many small files: what a disk does is counted, not waited for."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The descriptors that were synced, without the wait."""
    done: list[int] = []
    monkeypatch.setattr(os, "fsync", done.append)
    return done


@pytest.fixture(autouse=True)
def _quick(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("long") is None:
        request.getfixturevalue("syncs")
