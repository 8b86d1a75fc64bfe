"""Two tiny workers to test the laboratory with: the loop that everybody writes first, and one with chosen ids.

``python -m tests.faults.reference post|put --site BASE --resources FILE --done FILE --token FILE``

Both deliver resources one by one, try again until it works, and keep in ``--done`` what was acknowledged. ``post``
creates and so doubles whatever was committed without an acknowledgement; ``put`` writes to the resource's own id.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import requests

from fhirbridge.fhir.json import Tree, dump, parse_object
from tests.faults.points import LabClock, Points, from_environment

_PAUSE = 0.05
_TRIES = 50


class Reference:
    """One of the two: ``way`` is ``post`` or ``put``."""

    def __init__(self, way: str, base: str, done: Path, token: str, at: Points, clock: LabClock) -> None:
        self._way, self._base, self._at, self._clock = way, base, at, clock
        self._known = set(done.read_text("utf-8").split()) if done.exists() else set()
        self._done = os.open(done, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Bearer {token}"

    def run(self, resources: list[Tree]) -> bool:
        """Deliver all of them; false when one did not go in fifty tries."""
        self._at("before-enqueue-commit")
        self._at("after-enqueue-commit")
        for number, resource in enumerate(resources):
            if str(number) in self._known:
                continue
            self._at("after-claim")
            self._at("after-consent")
            self._at("after-token")
            for _ in range(_TRIES):
                self._at("lease-renewal")
                if self._sent(resource):
                    break
                self._clock.sleep(_PAUSE)
            else:
                return False
            self._at("before-ack")
            os.write(self._done, f"{number}\n".encode())
            self._at("during-ack")
        return True

    def _sent(self, resource: Tree) -> bool:
        kind = resource["resourceType"]
        body = {name: value for name, value in resource.items() if name != "id"} if self._way == "post" else resource
        url = f"{self._base}/{kind}" + (f"/{resource['id']}" if self._way == "put" else "")
        try:
            with self._session.request(self._way, url, data=dump(body), timeout=1) as answer:
                return answer.status_code in (200, 201) and "json" in answer.headers.get("Content-Type", "")
        except requests.RequestException:
            return False


def main() -> None:
    """Deliver, and end with 0 when all is done, with 75 to be started again."""
    parser = argparse.ArgumentParser(description="a worker to test the laboratory with")
    parser.add_argument("way", choices=["post", "put"])
    parser.add_argument("--site", required=True)
    parser.add_argument("--resources", type=Path, required=True)
    parser.add_argument("--done", type=Path, required=True)
    parser.add_argument("--token", type=Path, required=True)
    given = parser.parse_args()
    at, clock = from_environment()
    resources = [parse_object(line) for line in given.resources.read_bytes().splitlines()]
    token = given.token.read_text("utf-8") if given.token.exists() else ""
    worker = Reference(given.way, given.site, given.done, token, at, clock)
    sys.exit(0 if worker.run(resources) else os.EX_TEMPFAIL)


if __name__ == "__main__":
    main()
