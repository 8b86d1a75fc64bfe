"""What a decision costs: a patient with five consents, the records of a synthetic clinic, with and without memory.

    python -m benchmarks.consent [--records 20000] [--rounds 5]

A decision is asked for each record of the clinic as a gate asks it: the same act, one resource after the other.
Without memory every rule is looked at every time; with it, resources that no rule tells apart are answered once. Beside
it, what is paid once: for a patient, making the consents ready; for a resource, making a subject of it.
"""

from __future__ import annotations

import argparse
import datetime as dt
import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from benchmarks.machine import processor
from fhirbridge.binding import Binding, Clinic, Release
from fhirbridge.consent import Act, Decider, Policies, decide, subject_of
from fhirbridge.fhir.json import Tree
from fhirbridge.mapping import Mappings, kinds
from fhirbridge.records import Consent, parse
from fhirbridge.records.base import Ref
from fhirbridge.synth import Options, records

GOAL_RATE = 100_000
GOAL_MEMORY = 3.0
_SID = "https://clinic.example/sid"
_AT = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
_PATIENT = {"type": "Patient", "identifier": {"system": f"{_SID}/patient", "value": "P-1"}}


def _organization(name: str) -> Tree:
    return {"type": "Organization", "identifier": {"system": f"{_SID}/organization", "value": name}}


def _recipient(name: str) -> Tree:
    return {"role": "recipient", "party": _organization(name)}


# What somebody may have signed over the years: two consents decide about treatment, the others do not speak of it.
_NO_NOTES = {"effect": "deny", "labels": ["psychotherapy_notes"]}
_SIGNED: list[Tree] = [
    {"consent_type": "treatment", "decision": "permit"},
    {
        "consent_type": "privacy_sharing",
        "decision": "deny",
        "period": {"start": "2024-01-01", "end": "2031-01-01"},
        "provisions": [
            {
                "effect": "permit",
                "actors": [_recipient("HOSPITAL-1")],
                "actions": ["disclose"],
                "purposes": ["treatment", "coordination_of_care"],
                "data_period": {"start": "2024-01-01"},
                "exceptions": [_NO_NOTES],
            }
        ],
    },
    {
        "consent_type": "privacy_sharing",
        "decision": "permit",
        "provisions": [
            _NO_NOTES,
            {"effect": "deny", "purposes": ["payment", "operations"], "labels": ["substance_use"]},
            {"effect": "deny", "resource_types": ["AdverseEvent"], "purposes": ["payment"]},
        ],
    },
    {
        "consent_type": "research",
        "decision": "deny",
        "provisions": [{"effect": "permit", "purposes": ["research"], "actors": [_recipient("UNIV")]}],
    },
    {"consent_type": "recording", "decision": "deny", "state": "refused"},
]


def consents() -> list[Consent]:
    """The five consents of the patient."""
    common: Tree = {"revision": 1, "patient": _PATIENT, "state": "active", "signed_at": "2024-01-02T09:30:00-05:00"}
    return [parse(Consent, common | {"id": f"C{number}"} | one) for number, one in enumerate(_SIGNED)]


def resources(count: int) -> Iterator[tuple[Tree, str]]:
    """Primary resource and kind of ``count`` records of a synthetic clinic in R4."""
    mappings = Mappings(Binding(Clinic("clinic.example", b"an id key for benchmarks, 32 byte"), Release.R4))
    models = {name: kind.record for name, kind in kinds().items()}
    for tree in itertools.islice(records(Options(count, seed=7)), count):
        fields = {name: value for name, value in tree.items() if name != "kind"}
        yield mappings.to_fhir(parse(models[tree["kind"]], fields)).parts[0].resource, tree["kind"]


class Figure(NamedTuple):
    """Processor microseconds for one."""

    name: str
    micros: float

    def __str__(self) -> str:
        return f"{self.name:<52}{self.micros:>9.2f} µs{1e6 / self.micros:>14,.0f}/s"


def measured(name: str, items: Iterable[Any], work: Callable[[Any], object], rounds: int) -> Figure:
    """The median over ``rounds`` of what ``work`` takes for one item."""
    listed = list(items)
    found = []
    for _ in range(rounds):
        begun = time.process_time()
        for one in listed:
            work(one)
        found.append((time.process_time() - begun) / len(listed) * 1e6)
    return Figure(name, sorted(found)[rounds // 2])


def main() -> None:
    """Print the figures; end with 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5, help="the median of so many rounds is judged")
    chosen = parser.parse_args()
    signed, act = consents(), Act("treat", (parse(Ref, _organization("HOSPITAL-1")),))
    found = list(resources(chosen.records))
    subjects = [subject_of(resource, kind) for resource, kind in found]
    answers = {decide(signed, act, subject, _AT).effect for subject in subjects[:1_000]}
    print(f"{processor()}, one thread, processor time")
    print(f"{len(subjects):,} records, five consents of which two are heard; answers: {', '.join(sorted(answers))}")
    decider, policies = Decider(signed), Policies()
    needed = decider.looks_at(act)
    plain = measured("a decision", subjects, lambda one: decider.judge(act, one, _AT), chosen.rounds)
    memory = measured("a decision, remembered", subjects, lambda one: decider.decide(act, one, _AT), chosen.rounds)
    print(plain, memory, sep="\n")
    ready = measured(
        "five consents made ready, and one decision",
        subjects[:500],
        lambda one: decide(signed, act, one, _AT),
        chosen.rounds,
    )
    needs = measured(
        "a subject of a resource, as far as is needed",
        found,
        lambda one: subject_of(one[0], one[1], policies, looks_at=needed),
        chosen.rounds,
    )
    whole = measured(
        "a subject of a resource, all of it", found, lambda one: subject_of(one[0], one[1], policies), chosen.rounds
    )
    print(ready, needs, whole, sep="\n")
    print(f"goals: {GOAL_RATE:,} decisions a second; remembered, {GOAL_MEMORY} µs")
    if plain.micros > 1e6 / GOAL_RATE or memory.micros > GOAL_MEMORY:
        sys.exit(1)


if __name__ == "__main__":
    main()
