"""Codes and extensions of the sleep diary, each said once: the mapping writes them, hospitals install them.

They live under the clinic's own canonical base, so their names must not be among those of fhirbridge's own mappings.
"""

from __future__ import annotations

from fhirbridge.binding import Binding
from fhirbridge.codec.extension import Definition, Type
from fhirbridge.codec.leaf import concept_node
from fhirbridge.conformance import CodeSystem, Publication
from fhirbridge.fhir.json import Tree

DIARY = CodeSystem(
    "sleep-diary",
    "Entries of a sleep diary",
    {"night": "Night", "time-asleep": "Time asleep", "awakenings": "Awakenings", "quality": "Quality of the night"},
)
QUALITY = CodeSystem("sleep-quality", "Quality of a night", {"poor": "Poor", "fair": "Fair", "good": "Good"})

SLEEP_AID = Definition(
    "sleep-aid-taken", ("Observation",), "Whether something was taken in order to sleep", types=(Type("boolean"),)
)
AFTER_SESSION = Definition(
    "after-session",
    ("Observation",),
    "Treatment session of the day before",
    types=(Type("Reference", targets=("Procedure",)),),
)

PUBLICATION = Publication(
    publisher="Example hospital",
    date="2026-11-22",
    extensions=(SLEEP_AID, AFTER_SESSION),
    code_systems=(DIARY, QUALITY),
    version="0.1",
)


def concepts(binding: Binding, system: CodeSystem) -> dict[str, Tree]:
    """The CodeableConcept of every code of a system, under the canonical base of the clinic."""
    url = binding.code_system(system.name)
    return {code: concept_node([(url, code, display)], display) for code, display in system.concepts.items()}
