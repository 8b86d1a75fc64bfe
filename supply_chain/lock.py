"""The lock: every package by name, version and hashes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

LOCK = Path("requirements/dev.lock")
_PINNED = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*])?==(?P<version>\S+)(?: ; .+)?")
_HASH = re.compile(r"--hash=sha256:(?P<digest>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Pinned:
    """A package of the lock; ``digests`` are the SHA-256 of all files that may be installed."""

    name: str
    version: str
    digests: tuple[str, ...]


def pinned(text: str) -> Iterator[Pinned]:
    """The packages of a lock. Raises ``ValueError`` for an entry without version or hash."""
    for entry in text.replace("\\\n", " ").splitlines():
        if not entry.strip() or entry.startswith("#"):
            continue
        words, *_ = entry.partition(" --hash=")
        found, digests = _PINNED.fullmatch(words.strip()), tuple(_HASH.findall(entry))
        if found is None or not digests:
            raise ValueError(f"not pinned by version and hash: {words.strip()}")
        yield Pinned(canonicalize_name(found["name"]), found["version"], digests)
