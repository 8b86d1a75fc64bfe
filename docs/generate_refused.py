"""Write ``docs/refused-examples.csv``: the HL7 example resources that are refused, each with its first fault.

    python docs/generate_refused.py DIRECTORY

``DIRECTORY`` holds ``R4/Observation/*.json``, ``R5/Consent/*.json`` and so on, as the FHIR specification publishes
them.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

from fhirbridge.errors import ResourceRefused
from fhirbridge.fhir.json import parse_object
from fhirbridge.mapping import Binding, Clinic, Mappings, Release

TABLE = Path(__file__).with_name("refused-examples.csv")
COLUMNS = ("release", "file", "code", "path")
_CLINIC = Clinic("clinic.example", b"a key that makes no difference here")


def refused(examples: Path) -> Iterator[tuple[str, str, str, str]]:
    """Release, file name, code and path of the first fault, for each example that is refused."""
    for release in (Release.R4, Release.R5):
        mappings = Mappings(Binding(_CLINIC, release))
        for resource_type in sorted({kind.resource_type for kind in mappings.kinds.values()}):
            for path in sorted((examples / release.name / resource_type).glob("*.json")):
                try:
                    mappings.from_fhir(parse_object(path.read_bytes()))
                except ResourceRefused as error:
                    first = error.faults[0]
                    yield release.value, path.name, first.code, first.path


if __name__ == "__main__":
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(sorted(refused(Path(sys.argv[1]))))
