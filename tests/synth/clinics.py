"""Clinics the tests look at, made once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

from fhirbridge.fhir.json import Tree
from fhirbridge.records import AdverseEvent, Assessment, Consent, Record, Session, VitalSign
from fhirbridge.synth import Options, records

MODELS: dict[str, type[Record]] = {
    model.kind: model for model in (Session, VitalSign, Assessment, Consent, AdverseEvent)
}


@cache
def clinic(options: Options) -> tuple[Tree, ...]:
    """All records of a clinic."""
    return tuple(records(options))


def large() -> tuple[Tree, ...]:
    """A clinic large enough for what is rare, and with nothing to correct."""
    return clinic(Options(patients=300, seed=11, corrections=0.0))


def of_kind(kind: str, trees: Iterable[Tree]) -> Iterator[Tree]:
    """The records of one kind."""
    return (tree for tree in trees if tree["kind"] == kind)
