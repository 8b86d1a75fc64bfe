"""Records to measure with: pages of a synthetic clinic, as a push or a pull meets them, the pages in random order."""

from __future__ import annotations

import random
from collections.abc import Mapping

from fhirbridge.fhir import json
from fhirbridge.mapping import Kind
from fhirbridge.records import Record, parse
from fhirbridge.synth import Options, records

SEED = 7
PATIENTS = 1500
PAGE = 50


def samples(kinds: Mapping[str, Kind], size: int) -> dict[str, list[Record]]:
    """At most ``size`` records of each kind out of a clinic of ``PATIENTS`` patients, page by page; always the same.

    The trees go through JSON text once, so that a record holds what a file of records would have given.
    """
    found: dict[str, list[bytes]] = {name: [] for name in kinds}
    for tree in records(Options(patients=PATIENTS, seed=SEED)):
        if tree["kind"] in found:
            found[tree["kind"]].append(json.dump({name: value for name, value in tree.items() if name != "kind"}))
    chance = random.Random(SEED)  # noqa: S311 - a sample, not a secret
    chosen = {name: _pages(lines, size, chance) for name, lines in found.items()}
    return {name: [parse(kinds[name].record, json.parse(line)) for line in lines] for name, lines in chosen.items()}


def _pages(lines: list[bytes], size: int, chance: random.Random) -> list[bytes]:
    starts = range(0, len(lines), PAGE)
    drawn = chance.sample(starts, min(size // PAGE, len(starts)))
    return [line for start in drawn for line in lines[start : start + PAGE]]
