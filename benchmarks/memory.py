"""Memory over a long stream: synthetic records to FHIR bytes and back, one at a time.

    python -m benchmarks.memory [--records N]... [--million] [--json] [--write docs/benchmarks.md]

Each length runs in a fresh process, which tells its peak resident memory and its speed at the start and at the end:
memory must not grow with the number of records, nor the time for one.
"""

from __future__ import annotations

import argparse
import itertools
import json as stdlib
import multiprocessing
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import document
from benchmarks.map import CLINIC
from benchmarks.samples import SEED
from fhirbridge.binding import Binding, Release
from fhirbridge.fhir import json
from fhirbridge.fhir.json import Tree
from fhirbridge.mapping import Mappings, kinds
from fhirbridge.records import parse
from fhirbridge.synth import Options, records

LENGTHS = (10_000, 100_000)
MILLION = 1_000_000
# More patients than any length needs; the stream is cut, never exhausted.
ENDLESS = 100_000_000


@dataclass(frozen=True)
class Measurement:
    """One stream: records, resources written, peak and tenths of the time, in MiB and seconds."""

    records: int
    resources: int
    peak: float
    seconds: float
    first_tenth: float
    last_tenth: float
    kinds: dict[str, int]


def stream(length: int) -> Measurement:
    """Map ``length`` records there and back, and measure this process."""
    known = kinds()
    mappings = Mappings(Binding(CLINIC, Release.R4), known)
    trees = (tree for tree in records(Options(patients=ENDLESS, seed=SEED)) if tree["kind"] in known)
    resources, seen = 0, Counter[str]()
    marks = [time.process_time()]
    for tenth in _tenths(itertools.islice(trees, length), length):
        for tree in tenth:
            seen[tree["kind"]] += 1
            resources += _there_and_back(mappings, tree)
        marks.append(time.process_time())
    times = [end - start for start, end in itertools.pairwise(marks)]
    return Measurement(length, resources, _peak(), sum(times), times[0], times[-1], dict(seen))


def _there_and_back(mappings: Mappings, tree: Tree) -> int:
    """A line of a file to a record, to resources, to bytes, and the primary back to a record; how many resources."""
    line = json.parse_object(json.dump(tree))
    kind = line.pop("kind")
    written = mappings.to_fhir(parse(mappings.kinds[kind].record, line))
    sent = [json.dump(part.resource) for part in written.parts]
    mappings.read(sent[0])
    return len(sent)


def _tenths(items: Iterator[Tree], length: int) -> Iterator[Iterator[Tree]]:
    for _ in range(10):
        yield itertools.islice(items, length // 10)


def _peak() -> float:
    """The peak resident memory of this process in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # The rusage of a new process starts at what its parent had; this figure does not.
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def as_text(found: list[Measurement]) -> str:
    """The section of the page."""
    head = ["records", "resources", "peak MiB", "records a second", "last tenth ÷ first tenth, time"]
    rows = [
        [
            f"{one.records:,}",
            f"{one.resources:,}",
            f"{one.peak:.1f}",
            f"{one.records / one.seconds:,.0f}",
            f"{one.last_tenth / one.first_tenth:.2f}",
        ]
        for one in found
    ]
    return f"""## Memory

{document.details()}
The synthetic clinic (seed {SEED}) in R4, a record at a time: made, dumped and parsed as a line, mapped to all its
resources, these dumped as bytes, the primary read back. Each length in a process of its own; processor time.

{document.table(head, rows)}"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak memory over streams of different length.")
    parser.add_argument(
        "--records", type=int, action="append", help="length of a stream; 10,000 and 100,000 if left out"
    )
    parser.add_argument("--million", action="store_true", help="a million records as well")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the section of this page")
    said = parser.parse_args()
    found = []
    for length in (*(said.records or LENGTHS), *([MILLION] if said.million else [])):
        # A new process each time: memory that one has taken is seldom given back.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            found.append(pool.submit(stream, length).result())
        print(f"{length:,} records: {found[-1].peak:.1f} MiB, {found[-1].seconds:.0f} s", file=sys.stderr)
    print(stdlib.dumps([asdict(one) for one in found], indent=1) if said.json else as_text(found))
    if said.write:
        document.put(said.write, "memory", as_text(found))


if __name__ == "__main__":
    main()
