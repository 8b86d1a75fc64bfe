"""A process to be killed: it fills, or fills and delivers, and says so after each call."""

from __future__ import annotations

import itertools
import sys

from fhirbridge.ledger import Ledger, Outgoing, Result, State
from fhirbridge.ledger.gate import EVERYTHING
from tests.ledger.bench import TIMEOUT, VAULT, item


def main(url: str, task: str, start: str, site: str, count: str) -> None:
    """Go on until killed."""
    with Ledger.open(url, vault=VAULT) as ledger:
        for call in itertools.count(int(start)):
            offered = [item(f"r{call}-{n}", lane=f"patient-{call}", body=bytes(500)) for n in range(int(count))]
            ledger.enqueue(offered, site=site, run=str(call))
            if task == "deliver":
                claim = next(
                    one
                    for one in ledger.claim(site, f"w{call}", gate=EVERYTHING, timeout=TIMEOUT)
                    if one.lease.key == f"patient-{call}"
                )
                bundle = f"bundle-{call}"
                ledger.begin([Outgoing(bundle, claim.deliveries, "digest")])
                ledger.settle([Result(one, State.ACKED, bundle) for one in claim.deliveries])
            sys.stdout.write(f"{call}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
