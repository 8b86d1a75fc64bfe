"""Faults asked for by request: which requests they hit, and what then happens. A table, and the bookkeeping.

A fault is one JSON object::

    {"do": "status", "status": 503, "retry_after": "2", "kind": "bundle", "at": 3, "times": 2}

``do`` names a row of :data:`DOES`. Which requests: all those that fit ``kind`` (``any``, ``metadata``, ``read``,
``search``, ``bundle``, ``create``, ``update``, ``delete``, ``write`` for the last four), ``type`` and ``path`` (a
regular expression over the path below the base); of these from the ``at``-th on (1), ``times`` of them (1; 0 is all),
or each ``every``-th, or a part ``rate`` of them, drawn with ``seed``.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

DOES: Mapping[str, str] = MappingProxyType(
    {
        "status": "answered with `status` and an OperationOutcome; nothing is done",
        "status-after": "done, and then answered with `status`",
        "html": "a page in HTML with status 200 in place of the answer; nothing is done",
        "html-after": "done, and then answered with a page in HTML",
        "cut": "the connection ends without a reply; nothing is done",
        "cut-after": "done, and then the connection ends without a reply",
        "truncate": "done; the reply ends in the middle of its body",
        "empty": "done; the reply has no body and keeps its headers",
        "repeat": "done; the reply is sent twice",
        "reorder": "done; the entries of the response bundle come in the opposite order",
        "drop-entry": "done; entry number `entry` is missing in the response bundle",
        "double-entry": "done; entry number `entry` stands twice in the response bundle",
        "entry-status": "entry number `entry` of a batch is answered with `status` and not done",
        "stale": "searched as of `commits` commits ago",
        "stall": "held before anything is done until released",
        "stall-after": "done, and then held until released",
    }
)
KINDS = ("any", "metadata", "read", "search", "bundle", "create", "update", "delete", "write")
_WRITES = frozenset({"bundle", "create", "update", "delete"})


def kind_of(method: str, path: str, body: bytes) -> str:
    """What kind of request it is: a word of :data:`KINDS`. A bundle of nothing but reads is a ``read``."""
    path = path.partition("?")[0]
    if path == "metadata":
        return "metadata"
    if method == "POST" and path in ("", "/"):
        return "bundle" if re.search(rb'"method"\s*:\s*"(?:POST|PUT|PATCH|DELETE)"', body) else "read"
    if method == "POST":
        return "search" if path.endswith("/_search") else "create"
    if method == "GET":
        return "read" if "/" in path else "search"
    return {"PUT": "update", "DELETE": "delete"}.get(method, "any")


@dataclass
class Fault:
    """One fault and how often it has been looked at. Raises ``ValueError`` for a word that is not in the tables."""

    do: str
    kind: str = "any"
    type: str = ""
    path: str = ""
    at: int = 1
    times: int = 1
    every: int = 0
    rate: float = 0.0
    seed: int = 0
    status: int = 503
    retry_after: str = ""
    code: str = "transient"
    text: str = "Zebulon Canary was here"
    entry: int = 0
    commits: int = 1
    seen: int = field(default=0, init=False)
    hits: int = field(default=0, init=False)
    _dice: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.do not in DOES or self.kind not in KINDS:
            raise ValueError(f"no such fault: {self.do}, {self.kind}")
        self._dice = random.Random(self.seed)  # noqa: S311 - repeatable on purpose

    def hits_this(self, kind: str, resource_type: str, path: str) -> bool:
        """Whether the fault hits a request; looking counts."""
        fits = self.kind in ("any", kind) or (self.kind == "write" and kind in _WRITES)
        if not fits or (self.type and self.type != resource_type) or not re.search(self.path, path):
            return False
        self.seen += 1
        if self.rate:
            hit = self._dice.random() < self.rate
        elif self.every:
            hit = self.seen % self.every == 0
        else:
            hit = self.seen >= self.at and (not self.times or self.seen < self.at + self.times)
        self.hits += hit
        return hit


class Script:
    """The faults in force. The first one that hits a request is the one that happens."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def add(self, trees: list[dict[str, Any]]) -> None:
        """Put faults in force. Raises ``ValueError`` or ``TypeError`` for words that do not exist."""
        self.faults += [Fault(**tree) for tree in trees]

    def clear(self) -> None:
        """End all faults."""
        self.faults = []

    def for_request(self, kind: str, resource_type: str, path: str) -> Fault | None:
        """The fault that hits this request, if any. Every fault counts the request, also behind one that hits."""
        hits = [one for one in self.faults if one.hits_this(kind, resource_type, path)]
        return hits[0] if hits else None
