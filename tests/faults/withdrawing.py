"""The clinic's own process in which a consent is withdrawn, or given again: it hands records to the ledger and ends.

``python -m tests.faults.withdrawing --config FILE --records FILE --ledger URL``. It delivers nothing. It may have to
wait for a worker that holds what it needs, as the clinic would. With ``--replay`` what waits for a person, for a reason
that begins so, is queued again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fhirbridge.errors import FhirbridgeError
from fhirbridge.ledger import Ledger, Where
from fhirbridge.sync.enqueue import Intake
from fhirbridge.sync.points import nowhere
from tests.faults.work import SITE, opened, take
from tests.vault.vaults import vault_of

# Seconds for a lock: longer than a fault lasts.
_PATIENCE = 20.0


def hand_over(path: Path, source: Path, url: str, replayed: str) -> None:
    """Queue what the file holds, and what is to be replayed. Raises :class:`FhirbridgeError`."""
    with opened(path, nowhere) as site:
        binding = site.mappings.binding
        with Ledger.open(url, vault=vault_of(binding.clinic.id_key), patience=_PATIENCE) as ledger:
            take(Intake(ledger, SITE, binding, "withdrawal"), source.read_bytes().splitlines(), site, {})
            if replayed:
                ledger.replay(Where(site=SITE, reason=replayed))


def main() -> None:
    """Hand over, and end with 0 when it is committed."""
    parser = argparse.ArgumentParser(description="a consent is withdrawn, or given again")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--records", type=Path, required=True)
    parser.add_argument("--ledger", required=True)
    parser.add_argument("--replay", default="", metavar="REASON")
    given = parser.parse_args()
    try:
        hand_over(given.config, given.records, given.ledger, given.replay)
    except FhirbridgeError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
