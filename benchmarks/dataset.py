"""NDJSON to a finished dataset, beside what a researcher would use to make tables of the same file.

    python -m benchmarks.dataset [--vitals N] [--million] [--jobs N] [--json] [--write docs/benchmarks.md]

Ours is the whole way: consent, de-identification, leak check, all tables, SDTM and the DuckDB file. The others make
one table of the Observations: DuckDB's ``read_json`` with the columns given, and pandas' ``json_normalize`` and
fhir-pyrate where they are installed (fhir-pyrate's search is left out; its processing of bundles is what is timed).
Every contender runs in a process of its own, one after another; the clock is the wall's, so the machine should be idle.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json as stdlib
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import document
from benchmarks.map import CLINIC
from benchmarks.samples import SEED
from fhirbridge.binding import Binding, Release
from fhirbridge.consent import Act
from fhirbridge.fhir.json import Tree, dump
from fhirbridge.mapping import Mappings, kinds
from fhirbridge.records import Identifier, Ref, parse
from fhirbridge.synth import Options, records

MILLION = 1_000_000
_ENDLESS = 100_000_000
# The columns that DuckDB is given, so that it need not find them out.
_COLUMNS = """{'resourceType': 'VARCHAR', 'id': 'VARCHAR', 'status': 'VARCHAR', 'effectiveDateTime': 'VARCHAR',
    'subject': 'STRUCT(identifier STRUCT("value" VARCHAR))', 'code': 'STRUCT(coding STRUCT(code VARCHAR)[])',
    'valueQuantity': 'STRUCT("value" DOUBLE, code VARCHAR)',
    'component': 'STRUCT(code STRUCT(coding STRUCT(code VARCHAR)[]), valueQuantity STRUCT("value" DOUBLE))[]'}"""
_COPY = """
    copy (select id, status, subject.identifier."value" as patient, code.coding[1].code as code,
        effectiveDateTime as at, valueQuantity."value" as value, valueQuantity.code as unit,
        component[1].valueQuantity."value" as systolic, component[2].valueQuantity."value" as diastolic
        from read_json('{source}', format = 'newline_delimited', columns = {columns}))
    to '{target}' (format parquet, compression zstd)"""


@dataclass(frozen=True)
class Result:
    """One contender: resources read, seconds by the wall and of the processor, the peak of one process in MiB."""

    name: str
    resources: int
    seconds: float
    processor: float
    peak: float

    @property
    def rate(self) -> float:
        """Resources a second by the wall."""
        return self.resources / self.seconds


def write_source(folder: Path, vitals: int) -> tuple[int, int]:
    """A folder of NDJSON with so many vital signs and what goes with them; how many resources, how many patients."""
    mappings = Mappings(Binding(CLINIC, Release.R4))
    total, patients = 0, set[str]()
    with (folder / "Observation.ndjson").open("wb") as signs, (folder / "Other.ndjson").open("wb") as others:
        for resource_, kind in _resources(mappings, vitals):
            total += 1
            patients.add((resource_.get("subject") or resource_["patient"])["identifier"]["value"])
            (signs if kind == "vital_sign" else others).write(dump(resource_) + b"\n")
    return total, len(patients)


def _resources(mappings: Mappings, vitals: int) -> Iterator[tuple[Tree, str]]:
    left = vitals
    for tree in records(Options(_ENDLESS, seed=SEED, consent="all-permit", domain=CLINIC.domain, corrections=0)):
        kind = tree["kind"]
        if kind == "assessment" or (kind == "vital_sign" and left == 0):
            continue
        left -= kind == "vital_sign"
        record = parse(kinds()[kind].record, {name: value for name, value in tree.items() if name != "kind"})
        yield mappings.to_fhir(record).parts[0].resource, kind
        if left == 0:
            return


def ours(folder: str, jobs: int) -> None:
    """The whole dataset."""
    import datetime as dt

    from fhirbridge.research.dataset import Request, build
    from fhirbridge.research.deidentify.key import ProjectKey
    from fhirbridge.research.deidentify.profile import Profile

    def named(system: str, value: str) -> Ref:
        return Ref(identifier=Identifier(system=f"https://{CLINIC.domain}/sid/{system}", value=value))

    out = Path(folder).parent / f"out-{jobs}"
    build(
        Request(
            (folder,),
            out,
            CLINIC,
            "benchmark",
            ProjectKey(bytes(range(32)), "benchmark"),
            Profile.load("shifted"),
            Act("research", (named("organization", "UNIV"),), (named("study", "KET-OUTCOMES"),)),
            dt.datetime(2026, 9, 1, tzinfo=dt.UTC),
            out.parent / "set-aside.ndjson",
            jobs=jobs,
        )
    )


def duckdb_read_json(folder: str, jobs: int) -> None:
    """The Observations as a table, columns given, written as Parquet."""
    import duckdb

    source, target = Path(folder) / "Observation.ndjson", Path(folder).parent / "duckdb.parquet"
    with duckdb.connect(config={"threads": jobs}) as database:
        database.execute(_COPY.format(source=source, target=target, columns=_COLUMNS))


def pandas_json_normalize(folder: str, jobs: int) -> None:
    """The Observations as a data frame."""
    import pandas

    with (Path(folder) / "Observation.ndjson").open("rb") as file:
        pandas.json_normalize([stdlib.loads(line) for line in file])


def fhir_pyrate(folder: str, jobs: int) -> None:
    """The Observations as a data frame, by fhir-pyrate's own function for bundles."""
    from fhir_pyrate import Pirate
    from fhir_pyrate.util import FHIRObj

    pirate = Pirate(base_url="http://localhost", auth=None, num_processes=jobs)
    with (Path(folder) / "Observation.ndjson").open("rb") as file:
        while some := list(itertools.islice(file, 1_000)):
            entries = [{"resource": stdlib.loads(line)} for line in some]
            bundle = FHIRObj(**stdlib.loads(stdlib.dumps({"resourceType": "Bundle", "entry": entries})))
            pirate.bundles_to_dataframe([bundle], fhir_paths=["id", "status", "valueQuantity.value"])


CONTENDERS: tuple[tuple[str, Callable[[str, int], None], str], ...] = (
    ("fhirbridge, the whole dataset", ours, ""),
    ("DuckDB read_json, columns given", duckdb_read_json, "duckdb"),
    ("pandas json_normalize", pandas_json_normalize, "pandas"),
    ("fhir-pyrate", fhir_pyrate, "fhir_pyrate"),
)


def timed(run: Callable[[str, int], None], folder: str, jobs: int) -> tuple[float, float, float]:
    """Seconds by the wall, of the processor (with all processes), and the peak of the largest process in MiB."""
    start = time.perf_counter()
    run(folder, jobs)
    wall = time.perf_counter() - start
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return wall, processor, max(own.ru_maxrss, children.ru_maxrss) / unit


def measure(vitals: int, jobs: tuple[int, ...]) -> list[Result]:
    """Every contender that is installed, on the same source."""
    found = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "source"
        folder.mkdir()
        total, _ = write_source(folder, vitals)
        for name, run, package in CONTENDERS:
            if package and importlib.util.find_spec(package) is None:
                sys.stderr.write(f"{name}: not installed, left out\n")
                continue
            for number in jobs if package in ("", "duckdb") else jobs[:1]:
                # A new process each time: memory that one has taken is seldom given back.
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                    wall, processor, peak = pool.submit(timed, run, str(folder), number).result()
                count = total if run is ours else vitals
                plural = "es" if number > 1 else ""
                found.append(Result(f"{name}, {number} process{plural}", count, wall, processor, peak))
                sys.stderr.write(f"{found[-1].name}: {count / wall:,.0f} resources a second, {peak:.0f} MiB\n")
    return found


def as_text(vitals: int, found: list[Result]) -> str:
    """The section of the page."""
    head = ["", "resources", "seconds", "processor seconds", "resources a second", "peak MiB of a process"]
    rows = [
        [
            one.name,
            f"{one.resources:,}",
            f"{one.seconds:.1f}",
            f"{one.processor:.1f}",
            f"{one.rate:,.0f}",
            f"{one.peak:.0f}",
        ]
        for one in found
    ]
    return f"""## Dataset

{document.details()}
NDJSON of {vitals:,} vital signs (synthetic clinic, seed {SEED}, R4), with the sessions, consents and adverse events
that go with them, to a finished dataset: consent, de-identification, leak check, Parquet, SDTM, DuckDB. The others make
one table of the Observations.

{document.table(head, rows)}"""


def main() -> None:
    parser = argparse.ArgumentParser(description="NDJSON to a finished dataset, beside other ways to a table.")
    parser.add_argument("--vitals", type=int, default=100_000, help="vital signs of the source")
    parser.add_argument("--million", action="store_true", help="a million vital signs")
    parser.add_argument("--jobs", type=int, action="append", help="processes; 1 and 2 if left out")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the section of this page")
    said: Any = parser.parse_args()
    vitals = MILLION if said.million else said.vitals
    found = measure(vitals, tuple(said.jobs or (1, 2)))
    print(stdlib.dumps([asdict(one) for one in found], indent=1) if said.json else as_text(vitals, found))
    if said.write:
        document.put(said.write, "dataset", as_text(vitals, found))


if __name__ == "__main__":
    main()
