"""The small size of ``python -m tests.audit.kills``."""

from __future__ import annotations

import pytest

from tests.audit.kills import run

pytestmark = pytest.mark.slow


@pytest.mark.long
def test_no_kill_is_taken_for_tampering_and_no_request_goes_unannounced() -> None:
    found = run(20, seed=5)
    assert found.requests > 0
    assert (found.unannounced, found.faults) == (0, 0)
