"""Mixed consents on real servers: exactly what is permitted arrives, and withdrawals take back exactly theirs."""

from __future__ import annotations

from pathlib import Path

from fhirbridge.synth import Options
from tests.acceptance.consents import Trial


def test_exactly_what_is_permitted_arrives_and_withdrawals_take_back_exactly_theirs(
    server: tuple[str, str, bool], tmp_path: Path
) -> None:
    """Judged by each record by itself and by reading the server; the trail explains each of the rest."""
    base, release, _ = server
    options = Options(8, 5, "consents-contract.example", "mixed", 0.02, sessions=1, vitals="rems")
    trial = Trial(base, release, tmp_path, options)
    try:
        trial.register()
        pushed = trial.deliver()
        assert pushed.wrong == []
        assert pushed.blocked > 0
        assert pushed.there > 0
        assert trial.withdraw(2).wrong == []
    finally:
        trial.close()
