"""Whether a dataset is what its manifest says, looked at without its source: hashes, rows, and the structural part of
the leak check (every column declared, and nothing in it that its class does not allow)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fhirbridge.errors import UsageError
from fhirbridge.research import arrow, manifest
from fhirbridge.research.columns import Column
from fhirbridge.research.deidentify.facts import SourceFacts
from fhirbridge.research.deidentify.leaks import LeakCheck
from fhirbridge.research.deidentify.profile import SHIPPED, Profile
from fhirbridge.research.finish import columns_of
from fhirbridge.research.tables import TABLES

_ROWS = 16_384


def opened(folder: Path) -> dict[str, Any]:
    """The manifest of a dataset. Raises :class:`UsageError` where there is none."""
    try:
        return manifest.read(folder)
    except (OSError, ValueError):
        raise UsageError(
            f"{folder}: no finished dataset",
            code="dataset.none",
            hint="give the folder of one version, such as OUT/v0001",
        ) from None


def check(folder: Path) -> Iterator[str]:
    """What is wrong with a dataset, one line each; nothing where all is well. Raises :class:`UsageError`."""
    tree = opened(folder)
    found = manifest.file_hashes(folder)
    for name, said in tree["files"].items():
        if name not in found:
            yield f"{name}: is missing"
        elif found[name]["sha256"] != said["sha256"]:
            yield f"{name}: was changed after the dataset was made"
    yield from (f"{name}: does not belong to the dataset" for name in found if name not in tree["files"])
    columns = _columns(folder)
    hashes: dict[str, tuple[int, str]] = {}
    looks = LeakCheck(SourceFacts(), _profile(tree))
    for name in TABLES:
        path = folder / f"{name}.parquet"
        if not path.is_file():
            continue
        rows, leaks = _rows(path, columns[name], looks, name)
        hashes[name] = rows
        yield from leaks
        said = tree["tables"].get(name, {})
        if (said.get("rows"), said.get("hash")) != rows:
            yield f"{name}: its rows are not those of the manifest"
    if manifest.content_hash(hashes) != tree["content_hash"]:
        yield "the content hash is another than that of the manifest"


def _profile(tree: Mapping[str, Any]) -> Profile:
    """A profile that allows what the dataset's does, as far as its structure tells."""
    name = tree["profile"]["name"]
    return Profile.load(name if name in SHIPPED else "limited")


def _columns(folder: Path) -> Mapping[str, tuple[Column, ...]]:
    """The columns that a dataset was made with: with or without moments, as its tables say."""
    names = pq.read_schema(folder / "sessions.parquet").names if (folder / "sessions.parquet").is_file() else []
    patients = pq.read_schema(folder / "patients.parquet").names if (folder / "patients.parquet").is_file() else []
    return columns_of(dates="started_at" in names, years="first_dose_year" in patients)


def _rows(path: Path, columns: Sequence[Column], looks: LeakCheck, name: str) -> tuple[tuple[int, str], list[str]]:
    rows, leaks = arrow.TableHash(columns), list[str]()
    with pq.ParquetFile(path) as file:
        if file.schema_arrow.names != [one.name for one in columns]:
            return (0, ""), [f"{name}: has other columns than this version of fhirbridge makes"]
        for batch in file.iter_batches(_ROWS):
            rows.add(batch)
            leaks += [str(leak) for leak in looks.check_table(pa.Table.from_batches([batch]), columns, name)]
    return (rows.rows, rows.hexdigest()), leaks
