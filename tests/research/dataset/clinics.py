"""Folders of resources as a pull leaves them: the synthetic clinic in FHIR, one file for each type."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fhirbridge.binding import Binding, Clinic, Release
from fhirbridge.config import DEMO_DOMAIN, DEMO_ID_KEY
from fhirbridge.demo.patients import patient_resource
from fhirbridge.fhir.json import Tree, dump
from fhirbridge.mapping import Mappings, kinds
from fhirbridge.records import Record, parse
from fhirbridge.synth import Options, patients, records

CLINIC = Clinic(DEMO_DOMAIN, DEMO_ID_KEY)


def clinic_records(options: Options) -> Iterator[Record]:
    """The records of a synthetic clinic."""
    for tree in records(options):
        yield parse(kinds()[tree["kind"]].record, {name: value for name, value in tree.items() if name != "kind"})


def resources(options: Options, release: Release = Release.R4, *, projections: bool = True) -> Iterator[Tree]:
    """The resources of a synthetic clinic, its patients first."""
    mappings = Mappings(Binding(CLINIC, release))
    for person in patients(options):
        yield patient_resource(person, mappings.binding)
    for record in clinic_records(options):
        for part in mappings.to_fhir(record).parts[: None if projections else 1]:
            yield part.resource


def write_source(folder: Path, trees: Iterable[Any]) -> Path:
    """Write resources into one NDJSON file for each type."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, Any] = {}
    for tree in trees:
        type_ = tree["resourceType"]
        if type_ not in files:
            files[type_] = (folder / f"{type_}.ndjson").open("wb")
        files[type_].write(dump(tree) + b"\n")
    for file in files.values():
        file.close()
    return folder
