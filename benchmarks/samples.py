"""Records to measure with: those of a synthetic clinic, in random order, so that a neighbour helps nobody."""

from __future__ import annotations

import random
from collections.abc import Mapping

from fhirbridge.fhir import json
from fhirbridge.mapping import Kind
from fhirbridge.records import Record, parse
from fhirbridge.synth import Options, records

SEED = 7
PATIENTS = 600


def samples(kinds: Mapping[str, Kind], size: int) -> dict[str, list[Record]]:
    """At most ``size`` records of each kind, drawn at random from a clinic of ``PATIENTS`` patients; always the same.

    The trees go through JSON text once, so that a record holds what a file of records would have given.
    """
    found: dict[str, list[bytes]] = {name: [] for name in kinds}
    for tree in records(Options(patients=PATIENTS, seed=SEED)):
        if tree["kind"] in found:
            found[tree["kind"]].append(json.dump({name: value for name, value in tree.items() if name != "kind"}))
    chance = random.Random(SEED)  # noqa: S311 - a sample, not a secret
    chosen = {name: chance.sample(lines, min(size, len(lines))) for name, lines in found.items()}
    return {name: [parse(kinds[name].record, json.parse(line)) for line in lines] for name, lines in chosen.items()}
