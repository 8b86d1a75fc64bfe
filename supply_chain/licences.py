"""Under which licences the packages stand that an installation of fhirbridge brings along."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# What a clinic installs; the other extras are for those who work on fhirbridge.
EXTRAS = ("postgres", "keyring", "models", "research")
_ALLOWED = re.compile(
    r"Apache(?: Software License|-2\.0| License.*2\.0.*)?|MIT(?:-0| License)?|(?:New )?BSD(?:-[023]-Clause| License)?"
    r"|ISC(?:L| License.*)?|MPL-2\.0|Mozilla Public License 2\.0 \(MPL 2\.0\)|PSF-2\.0|Unlicense|Zlib|CC0-1\.0"
    r"|Python Software Foundation License"
)
# Not by the list above, each with its reason.
EXCEPTIONS: Mapping[str, str] = {
    "psycopg": "LGPL-3.0, unmodified, only in the extra postgres",
    "psycopg-binary": "LGPL-3.0, unmodified, only in the extra postgres",
}


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package; ``wanted_by`` is the core, or the extras, that bring it along."""

    name: str
    licence: str
    wanted_by: tuple[str, ...]

    @property
    def is_allowed(self) -> bool:
        """Whether each part of its licence is on the list, or it is an exception."""
        parts = re.split(r"; | AND | OR ", self.licence)
        choice = any if " OR " in self.licence else all
        return self.name in EXCEPTIONS or choice(_ALLOWED.fullmatch(part.strip()) for part in parts)


def packages(extras: Sequence[str] = EXTRAS) -> list[Package]:
    """All packages that the core and these extras bring along on this system, by name.

    Raises ``PackageNotFoundError`` where one is not installed.
    """
    wanted: dict[str, list[str]] = {}
    for extra in ("", *extras):
        for name in _closure("fhirbridge", extra):
            wanted.setdefault(name, []).append(extra or "core")
    del wanted["fhirbridge"]
    return [
        Package(name, licence_of(name), ("core",) if "core" in by else tuple(by)) for name, by in sorted(wanted.items())
    ]


def _closure(name: str, extra: str) -> Iterator[str]:
    waiting, seen = [(name, frozenset({extra}))], set()
    while waiting:
        one, extras = waiting.pop()
        if (one, extras) in seen:
            continue
        seen.add((one, extras))
        yield one
        for text in distribution(one).requires or ():
            need = Requirement(text)
            if need.marker is None or any(need.marker.evaluate({"extra": each}) for each in {"", *extras}):
                waiting.append((canonicalize_name(need.name), frozenset(need.extras)))


def licence_of(name: str) -> str:
    """What a package says of its licence: the expression, else the classifiers, else the field, else ``unknown``."""
    try:
        said: Any = distribution(name).metadata
    except PackageNotFoundError:
        return "unknown"
    classified = [one.rpartition(" :: ")[2] for one in said.get_all("Classifier") or () if one.startswith("License")]
    short = (said.get("License") or "").strip()
    return said.get("License-Expression") or "; ".join(classified) or (short if len(short) <= 40 else "") or "unknown"


def table(found: Sequence[Package]) -> str:
    """The packages as a Markdown table, without versions: those stand in the lock."""
    rows = [f"| {one.name} | {_said(one)} | {', '.join(one.wanted_by)} |" for one in found]
    return "\n".join(["| package | licence | comes with |", "| --- | --- | --- |", *rows])


def _said(one: Package) -> str:
    return f"{one.licence}: {EXCEPTIONS[one.name]}" if one.name in EXCEPTIONS else one.licence
