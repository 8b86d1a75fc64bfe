"""How fast records become FHIR bytes and FHIR bytes become records, as ratios within one run.

    python -m benchmarks.map [--seconds S] [--release R] [--kind K] [--json] [--write docs/benchmarks.md]

Beside the mappings stand a converter written by hand over ``fhir.resources`` (see ``benchmarks.handwritten``) and the
floors: what it takes at least to write a ready dictionary as JSON, and to read JSON losslessly and validate a record.
"""

from __future__ import annotations

import argparse
import json as stdlib
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import orjson

from benchmarks import document
from benchmarks.handwritten.converters import converter
from benchmarks.likeness import unlike
from benchmarks.machine import machine
from benchmarks.samples import PAGE, PATIENTS, SEED, samples
from benchmarks.timing import Contender, Ratio, Timing, measure, ratio
from fhirbridge.binding import Binding, Clinic, Release
from fhirbridge.fhir import json
from fhirbridge.mapping import Mappings, kinds
from fhirbridge.records import Record, to_json

SAMPLE = 4000
# Layouts that are learned while reading are learned from these.
WARM_UP = 2000
COMPARED = 100
ROUNDS = 9
CLINIC = Clinic("clinic.example", b"the id key of the benchmark only")
OURS, BY_HAND = "fhirbridge", "by hand, fhir.resources"
WRITING, READING, RETURNED = "writing", "reading", "reading back"
TITLES = {
    WRITING: "Record → FHIR bytes",
    READING: "FHIR bytes, as they were written → record and residue",
    RETURNED: "FHIR bytes, as a server returns them → record and residue",
}


@dataclass(frozen=True)
class Result:
    """One direction of one kind in one release; ``size`` is the mean of the resource in bytes."""

    kind: str
    release: Release
    direction: str
    records: int
    size: float
    unlike: Counter[str]
    timings: dict[str, Timing]

    def against(self, name: str) -> Ratio | None:
        """How many times faster the mapping is than the contender ``name``, if that took part."""
        return ratio(self.timings[name], self.timings[OURS]) if name in self.timings else None

    def as_json(self) -> dict[str, Any]:
        """The figures as a JSON tree; times in microseconds per record."""
        return {
            "kind": self.kind,
            "release": self.release.value,
            "direction": self.direction,
            "records": self.records,
            "bytes": round(self.size),
            "unlike": dict(self.unlike),
            "microseconds": {name: [round(one * 1e6, 3) for one in said.rounds] for name, said in self.timings.items()},
            "times_faster": {name: vars(ratio(said, self.timings[OURS])) for name, said in self.timings.items()},
        }


class Bench:
    """The measurements of one kind in one release."""

    def __init__(self, binding: Binding, kind: str, sample: list[Record], seconds: float) -> None:
        self._binding, self._kind, self._sample, self._seconds = binding, kind, sample, seconds
        self._by_hand = converter(kind, binding)
        self._mappings = Mappings(binding)
        self._warm_up = min(WARM_UP, len(sample) // 2)
        to_fhir = self._mappings.to_fhir
        self._resources = [json.dump(to_fhir(record).parts[0].resource) for record in sample]

    def writing(self) -> Result:
        """Records to bytes. The ratio counts the primary resource, which is what the hand-written converter writes."""
        primary, to_fhir, dump = self._mappings.bound[self._kind].primary, self._mappings.to_fhir, json.dump
        ready = [stdlib.loads(resource) for resource in self._resources]
        contenders = [
            Contender(OURS, lambda record: dump(primary(record)), self._sample, self._warm_up),
            Contender(
                "all parts", lambda record: [dump(part.resource) for part in to_fhir(record).parts], self._sample
            ),
            Contender("floor: json.dumps", lambda tree: stdlib.dumps(tree).encode(), ready),
            Contender("floor: orjson.dumps", orjson.dumps, ready),
            Contender("floor: msgspec.json.encode", msgspec.json.encode, ready),
        ]
        differences: Counter[str] = Counter()
        if self._by_hand is not None:
            contenders.append(Contender(BY_HAND, self._by_hand.write, self._sample))
            pairs = zip(self._resources[:COMPARED], self._sample, strict=False)
            differences = unlike((mine, self._by_hand.write(record)) for mine, record in pairs)
        return self._result(WRITING, self._resources, differences, contenders)

    def reading(self) -> Result:
        """The bytes that were written, to validated records."""
        return self._reading(READING, self._resources)

    def reading_back(self) -> Result:
        """The same as a server returns them: with a version, a time and the address of the patient."""
        return self._reading(RETURNED, [_returned(resource, number) for number, resource in enumerate(self._resources)])

    def _reading(self, direction: str, bodies: list[bytes]) -> Result:
        mappings = Mappings(self._binding)
        parse, validate = json.parse_object, mappings.kinds[self._kind].record.model_validate
        lines = [
            json.dump({name: value for name, value in to_json(one).items() if name != "kind"}) for one in self._sample
        ]
        floor = list(zip(bodies, map(parse, lines), strict=True))
        contenders = [
            Contender(OURS, mappings.read, bodies, self._warm_up),
            Contender("floor: orjson.loads", orjson.loads, bodies),
            Contender("floor: lossless decode", parse, bodies),
            Contender("floor: lossless decode + validation", lambda pair: (parse(pair[0]), validate(pair[1])), floor),
        ]
        differences: Counter[str] = Counter()
        if self._by_hand is not None:
            contenders.append(Contender(BY_HAND, self._by_hand.read, bodies))
            records = (
                (record, self._by_hand.read(body))
                for record, body in zip(self._sample, bodies[:COMPARED], strict=False)
            )
            differences = unlike((json.dump(to_json(mine)), json.dump(to_json(theirs))) for mine, theirs in records)
        return self._result(direction, bodies, differences, contenders)

    def _result(
        self, direction: str, bodies: list[bytes], differences: Counter[str], contenders: list[Contender]
    ) -> Result:
        size = sum(map(len, bodies)) / len(bodies)
        timings = measure(contenders, ROUNDS, self._seconds)
        return Result(self._kind, self._binding.release, direction, len(bodies), size, differences, timings)


def _returned(resource: bytes, number: int) -> bytes:
    tree = json.parse_object(resource)
    moment = f"2026-11-20T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}.000+00:00"
    tree["meta"] = {"versionId": str(number % 3 + 1), "lastUpdated": moment, **tree["meta"]}
    name = "patient" if "patient" in tree else "subject"
    tree[name] = {"reference": f"Patient/{1000 + number % 500}", **tree[name]}
    return json.dump(tree)


def results(releases: list[Release], names: list[str], seconds: float) -> Iterator[Result]:
    """All directions of every kind in every release; each takes about ``seconds``."""
    known = {name: kind for name, kind in kinds().items() if not names or name in names}
    if not known:
        raise SystemExit("no such mapping is installed: install the project first (pip install --editable .)")
    found = samples(known, SAMPLE)
    for release in releases:
        for name, sample in found.items():
            bench = Bench(Binding(CLINIC, release), name, sample, seconds)
            yield bench.writing()
            yield bench.reading()
            yield bench.reading_back()


def as_text(found: list[Result]) -> str:
    """The section of the page."""
    text = f"""## Mapping speed

{document.details()}
Up to {SAMPLE:,} records of each kind out of a synthetic clinic (seed {SEED}, {PATIENTS} patients), drawn as pages of
{PAGE} consecutive records. The first {WARM_UP:,} warm fhirbridge up, the others are seen once each. One process, one
thread, processor time, in {ROUNDS} rounds in which all contenders take turns. A ratio is how many times faster
fhirbridge is than the converter written by hand, in the same round on the same records: median (lowest–highest). Times
are medians in microseconds per record.

"By hand" is the converter in `benchmarks/handwritten`: dictionary → `fhir.resources` model → JSON, and JSON → model →
record. It writes the primary resource only and knows no residue. R4 uses its R4B models, for it has none for R4. Where
R5 wants an integer64 as a string, these models write a number (`sourceAttachment.size`): the one difference known.
"All parts" adds the projections. "As a server returns them" adds `versionId`, `lastUpdated` and the literal address of
the patient.
"""
    for direction, title in TITLES.items():
        rows = [result for result in found if result.direction == direction]
        if rows:
            names = [name for name in rows[0].timings if name not in (OURS, BY_HAND)]
            head = ["kind", "bytes", "times faster", f"{OURS} µs", f"{BY_HAND} µs", *(f"{name} µs" for name in names)]
            text += f"\n### {title}\n\n" + document.table(head, [_row(result, names) for result in rows])
    notes = "".join(_note(result) for result in found if result.unlike)
    text += "\n### Do both say the same?\n\n"
    return text + (notes or "The resources and the records of both are equal, numbers compared by value.\n")


def _row(result: Result, names: list[str]) -> list[str]:
    def micro(name: str) -> str:
        return f"{result.timings[name].median * 1e6:.1f}" if name in result.timings else "–"

    faster = result.against(BY_HAND)
    return [
        f"{result.kind} {result.release.value}",
        f"{result.size:.0f}",
        "–" if faster is None else str(faster),
        micro(OURS),
        micro(BY_HAND),
        *map(micro, names),
    ]


def _note(result: Result) -> str:
    paths = ", ".join(f"`{path}` in {count}" for path, count in result.unlike.most_common())
    compared = min(COMPARED, result.records)
    return f"- {result.kind} {result.release.value}, {result.direction}: {paths} of {compared} differ\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the mappings against a converter written by hand.")
    parser.add_argument("--seconds", type=float, default=4.0, help="about how long each table row takes (default 4)")
    parser.add_argument("--release", action="append", choices=[one.value for one in Release], help="default r4 and r5")
    parser.add_argument("--kind", action="append", default=[], help="all if left out")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the section of this page")
    said = parser.parse_args()
    found = []
    for result in results([Release(one) for one in said.release or ("r4", "r5")], said.kind, said.seconds):
        found.append(result)
        faster = result.against(BY_HAND)
        print(f"{result.kind} {result.release.value} {result.direction}: {faster} times faster", file=sys.stderr)
    if said.json:
        print(stdlib.dumps({"machine": machine(), "results": [one.as_json() for one in found]}, indent=1))
    else:
        print(as_text(found))
    if said.write:
        document.put(said.write, "map", as_text(found))


if __name__ == "__main__":
    main()
