"""What a dataset says about itself: counts, hashes, how it was made and how to make it again. Nothing of a patient."""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import fhirbridge
from fhirbridge.binding import MAPPING_VERSION
from fhirbridge.cells import csv_text
from fhirbridge.consent import DENIALS
from fhirbridge.research.columns import Column, TableShape
from fhirbridge.research.permission import REASONS

FORMAT = 1
MANIFEST = "manifest.json"
# Fewer patients than this could be told apart.
FEWEST = 5
MEANINGS = {
    "entered-in-error": "the record says that it was recorded in error",
    "kind": "the profile has no rules for such records",
    "time": "a moment that the record must have may not be told",
    "required": "something that the record must have may not be told",
    "incomplete": "without what may not be told, the record does not hold together",
}


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Why something is not in the dataset: at which stage, how many resources of how many patients; of so many of them
    nothing is in it at all."""

    stage: str
    reason: str
    resources: int
    patients: int
    patients_left_out: int


def shown(count: int) -> str:
    """A count as it may be told: a small one is not."""
    return str(count) if count == 0 or count >= FEWEST else f"<{FEWEST}"


def exclusions(
    counts: Mapping[tuple[str, str], int], people: Mapping[tuple[str, str], set[str]], included: set[str]
) -> tuple[Exclusion, ...]:
    """The exclusions out of what all pieces counted, those of most resources first."""
    return tuple(
        Exclusion(
            stage,
            reason,
            count,
            len(people.get((stage, reason), ())),
            len(people.get((stage, reason), set()) - included),
        )
        for (stage, reason), count in sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    )


def exclusions_csv(found: Iterable[Exclusion]) -> str:
    """``exclusions.csv``: by stage and reason, small counts not told."""
    rows = [
        (
            one.stage,
            one.reason,
            meaning_of(one.reason),
            *map(shown, (one.resources, one.patients, one.patients_left_out)),
        )
        for one in found
    ]
    head = ("stage", "reason", "meaning", "resources", "patients", "patients_without_anything")
    return csv_text([head, *rows])


def meaning_of(reason: str) -> str:
    """What a reason means, in words."""
    return DENIALS.get(reason) or REASONS.get(reason) or MEANINGS.get(reason, "")


def dictionary(tables: Sequence[tuple[TableShape, tuple[Column, ...]]]) -> list[dict[str, Any]]:
    """The data dictionary: one entry for each column of each table."""
    return [
        {
            "table": shape.name,
            "column": one.name,
            "meaning": one.meaning,
            "type": one.type,
            "class": one.class_,
            "unit": one.unit or "",
            "words": list(one.vocabulary or ()),
            "source": list(one.source),
            "computed": one.computed,
            "key": one.name in shape.key,
            "quasi_identifier": one.quasi,
        }
        for shape, columns in tables
        for one in columns
    ]


def dictionary_csv(entries: Sequence[Mapping[str, Any]]) -> str:
    """The data dictionary as CSV; lists are joined by spaces."""
    names = tuple(entries[0])
    rows = [[_cell(entry[name]) for name in names] for entry in entries]
    return csv_text([names, *rows])


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return " ".join(value) if isinstance(value, list) else str(value)


def content_hash(tables: Mapping[str, tuple[int, str]]) -> str:
    """One hash for all rows of all tables, by number and hash of the rows of each."""
    lines = "".join(f"{name} {rows} {digest}\n" for name, (rows, digest) in sorted(tables.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def file_hashes(folder: Path, *, without: Iterable[str] = (MANIFEST,)) -> dict[str, dict[str, Any]]:
    """SHA-256 and size of every file of a folder, by its path within."""
    found = {}
    left = set(without)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in left:
            with path.open("rb") as file:
                found[name] = {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}
    return found


def made_with() -> dict[str, str]:
    """The versions that a dataset was made with."""
    return {
        "fhirbridge": fhirbridge.__version__,
        "mapping": MAPPING_VERSION,
        "python": platform.python_version(),
        "pyarrow": version("pyarrow"),
        "duckdb": version("duckdb"),
    }


def command(options: Iterable[tuple[str, str]]) -> str:
    """The command that makes the dataset again; where the source lies is not told."""
    words = [f"{name} {shlex.quote(value)}" if value else name for name, value in options]
    return " ".join(["fhirbridge dataset build SOURCE", *words])


def ordered(counts: Counter[str]) -> dict[str, int]:
    """Counts, the largest first."""
    return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))


def read(folder: Path) -> dict[str, Any]:
    """The manifest of a dataset. Raises ``OSError`` and ``ValueError``."""
    found: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
    return found


def write(folder: Path, tree: Mapping[str, Any]) -> None:
    """Write the manifest of a dataset."""
    (folder / MANIFEST).write_text(json.dumps(tree, indent=1, ensure_ascii=False) + "\n", "utf-8")
