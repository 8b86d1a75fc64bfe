"""``fhirbridge push`` as a process to be killed: the same use case, with leases of so many seconds.

``python -m tests.acceptance.kills.worker --config FILE --lease SECONDS FILE...``

Whoever comes after a killed worker waits for the end of its leases; a command's are a minute long. It ends with 0 when
every record is delivered, with 75 where it is to be started again.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from fhirbridge import config
from fhirbridge.errors import FhirbridgeError
from fhirbridge.mapping import kinds
from fhirbridge.site import Site
from fhirbridge.sources import open_source
from fhirbridge.sync import How, push
from fhirbridge.sync.opening import open_ledger
from fhirbridge.sync.outcomes import DELIVERED
from fhirbridge.sync.worker import Settings
from tests.acceptance.kills.clinic import SITE

# Longer than a server is away here, and than a worker waits between two tries: nothing is left to the next one.
_PATIENCE = 600.0


def deliver(path: Path, files: Iterable[Path], lease: float) -> bool:
    """Push the files, each when the one before is through; whether all is delivered.

    Raises :class:`FhirbridgeError`.
    """
    settings = config.load(path, {}, path.parent)
    models = {name: kind.record for name, kind in kinds().items()}
    how = How(settings=Settings(lease=lease), patience=_PATIENCE)
    left = 0
    with Site.open(SITE, settings) as site, open_ledger(settings) as ledger:
        for file in files:
            with open_source(str(file), models) as lines:
                for outcome in push(lines, site, ledger, how):
                    if outcome.state not in DELIVERED:
                        left += 1
                        codes = sorted({fault.code for fault in outcome.faults})
                        sys.stderr.write(f"{outcome.kind}: {outcome.state} {' '.join(codes)}\n")
    return not left


def main() -> None:
    """Deliver; an error of the project's tree is printed."""
    parser = argparse.ArgumentParser(description="push, to be killed")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--lease", type=float, required=True)
    parser.add_argument("files", type=Path, nargs="+")
    given = parser.parse_args()
    try:
        done = deliver(given.config, given.files, given.lease)
    except FhirbridgeError as error:
        sys.stderr.write(f"{error}\n")
        done = False
    sys.exit(0 if done else os.EX_TEMPFAIL)


if __name__ == "__main__":
    main()
