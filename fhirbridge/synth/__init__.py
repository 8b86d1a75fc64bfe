"""A synthetic clinic: records of all kinds that look like those of a ketamine clinic, and of nobody.

``records(Options(patients=200, seed=7))`` streams JSON trees in the shape of ``records.to_json``. Patient k depends on
the seed, k and the kind of clinic alone: a larger clinic starts with the smaller one, and several processes can make
one clinic with ``records_of``. All times derive from a fixed epoch (first visits in 2025 and the first half of 2026).
A patient has some 370 records (``vitals="rems"``: some 170); ``sessions`` caps the visits for small demonstrations
(two visits: some 100 records, or 50).
``truths`` tells what an analysis of the records should find.
"""

from collections.abc import Iterator

from fhirbridge.fhir.json import Tree
from fhirbridge.synth.course import (
    CADSS6_SHARE,
    DISSOCIATION_PER_MMHG,
    DISSOCIATION_SPREAD,
    PEAK_MINUTE,
    SYSTOLIC_REFERENCE,
    expected_dissociation,
)
from fhirbridge.synth.options import Options
from fhirbridge.synth.people import Demographics, Directory, demographics
from fhirbridge.synth.plan import SECOND_ZONE
from fhirbridge.synth.stream import records_of
from fhirbridge.synth.truth import PatientTruth, SessionTruth, truths

__all__ = [
    "CADSS6_SHARE",
    "DISSOCIATION_PER_MMHG",
    "DISSOCIATION_SPREAD",
    "PEAK_MINUTE",
    "SECOND_ZONE",
    "SYSTOLIC_REFERENCE",
    "Demographics",
    "Options",
    "PatientTruth",
    "SessionTruth",
    "expected_dissociation",
    "patients",
    "records",
    "records_of",
    "truths",
]


def records(options: Options) -> Iterator[Tree]:
    """All records of the clinic, one patient after another, each in time order; memory stays flat.

    The trees share parts with each other: read them, do not change them.
    """
    for index in range(options.patients):
        yield from records_of(options, index)


def patients(options: Options) -> Iterator[Demographics]:
    """The clinic's patients in the order of ``records``: ``id`` is the value of ``identifier``, ``birth_date`` a day,
    ``sex`` one of female, male, other, unknown."""
    directory = Directory(options.domain)
    for index in range(options.patients):
        yield demographics(directory, options.seed, index)
