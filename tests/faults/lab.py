"""The experimenter's door to a server in another process: ``/lab`` beside ``/fhir``, and a client for it.

What is done here is behind the back of whoever is tested.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests

from fhirbridge.fhir.json import dump, parse_object

if TYPE_CHECKING:
    from tests.faults.server import FaultServer

Tree = dict[str, Any]


def control(server: FaultServer, method: str, path: str, body: bytes) -> tuple[int, Tree]:
    """Carry out one request to ``/lab``: the status and body of the answer."""
    given = parse_object(body) if body else {}
    match method, path:
        case "POST", "faults":
            server.script.add(given["faults"])
        case "DELETE", "faults":
            server.script.clear()
        case "POST", "go-on":
            server.going_on.set()
        case "POST", "tokens":
            server.tokens = frozenset(given["valid"])
        case "POST", "lag":
            server.lag = given["requests"]
        case "POST", "commit":
            server.commit_as_hospital(given["method"], given["resource"])
        case "GET", "requests":
            told = [{"number": one.number, "method": one.method, "path": one.path} for one in list(server.requests)]
            return 200, {"requests": told, "hits": [one.hits for one in server.script.faults]}
        case _:
            return 404, {}
    return 200, {"done": path}


class Lab:
    """The same from outside. ``base`` is the server's FHIR address. Raises ``requests.RequestException``."""

    def __init__(self, base: str) -> None:
        self._base = base.removesuffix("/fhir") + "/lab"
        self._session = requests.Session()
        self._session.trust_env = False

    def faults(self, *faults: Tree) -> None:
        """Put faults in force (:mod:`tests.faults.scripted`)."""
        self._ask("POST", "faults", {"faults": list(faults)})

    def no_faults(self) -> None:
        """End all faults."""
        self._ask("DELETE", "faults")

    def go_on(self) -> None:
        """Let go of what is stalled; later stalls do not hold any more."""
        self._ask("POST", "go-on")

    def tokens(self, *valid: str) -> None:
        """The only bearer tokens that are taken from now on; none means that all are."""
        self._ask("POST", "tokens", {"valid": list(valid)})

    def lag(self, requests_behind: int) -> None:
        """Searches know what was there so many requests ago."""
        self._ask("POST", "lag", {"requests": requests_behind})

    def commit(self, method: str, resource: Tree) -> None:
        """A write of the hospital's own: PUT, DELETE, or FORGET for a row that is gone without a trace."""
        self._ask("POST", "commit", {"method": method, "resource": resource})

    def requests(self) -> list[Tree]:
        """Every request so far: number, method, path."""
        found: list[Tree] = self._ask("GET", "requests")["requests"]
        return found

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _ask(self, method: str, path: str, tree: Tree | None = None) -> Tree:
        body = dump(tree) if tree is not None else None
        with self._session.request(method, f"{self._base}/{path}", data=body, timeout=30) as answer:
            answer.raise_for_status()
            return parse_object(answer.content)
