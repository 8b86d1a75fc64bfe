"""No jti twice, and assertions that are good though clocks are off.

``python -m tests.auth.jti --count 1000000 --processes 8 --assertions 2000``
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import time
from collections.abc import Sequence
from urllib.parse import urlencode

from fhirbridge.client.auth.assertion import assertion, new_jti
from fhirbridge.client.auth.signing import SigningKey, new_key
from fhirbridge.client.auth.smart_backend import ASSERTION_TYPE
from tests.auth.tokens import FORM, Tokens
from tests.client.server import Request

# Seconds by which a clock may be off without anybody noticing.
SKEW = 90


def _draw(count: int) -> list[str]:
    return [new_jti() for _ in range(count)]


def drawn(count: int, processes: int, method: str) -> int:
    """How many different ones there are among ``count`` that several processes draw at once. Those that are forked
    begin as copies of one that has drawn before."""
    own = _draw(10)
    share = [count // processes] * processes
    with multiprocessing.get_context(method).Pool(processes) as pool:
        found = {one for part in pool.imap_unordered(_draw, share) for one in part}
    return len(found.difference(own)) + count % processes


def skewed(count: int, keys: Sequence[SigningKey]) -> int:
    """How many of ``count`` assertions an endpoint takes that checks every rule, while the clock that made them is off
    by up to 90 seconds either way."""
    chance = random.Random(7)  # noqa: S311 - repeatable
    tokens = Tokens(url="https://hospital.example/token")
    tokens.know(*keys)
    for number in range(count):
        key = keys[number % len(keys)]
        text = assertion(key, tokens.client_id, tokens.url, time.time() + chance.uniform(-SKEW, SKEW))
        form = {
            "grant_type": "client_credentials",
            "scope": "system/Observation.cu",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": text,
        }
        tokens.answer(Request("POST", "auth/token", {"content-type": FORM}, urlencode(form).encode()))
    return tokens.verdicts.count("issued")


def main() -> int:
    """Run both at the size that is asked for; 1 if anything repeats or is refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--assertions", type=int, default=2_000)
    given = parser.parse_args()
    well = True
    for method in ("fork", "spawn"):
        half = given.count // 2
        found = drawn(half, given.processes, method)
        print(f"{half} jti drawn by {given.processes} processes ({method}): {half - found} repeated")  # noqa: T201
        well &= found == half
    good = skewed(given.assertions, [new_key("ES384"), new_key("RS384")])
    print(f"{given.assertions} assertions signed with clocks off by up to {SKEW} s: {good} taken")  # noqa: T201
    return 0 if well and good == given.assertions else 1


if __name__ == "__main__":
    sys.exit(main())
