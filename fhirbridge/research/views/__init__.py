"""SQL-on-FHIR ViewDefinitions that give the tables of a dataset out of de-identified resources (R4).

A view sees one resource at a time. So it has the columns that come from one record; those that need the first dose, a
count or a second record are declared as computed, and a view leaves them out.
"""

from __future__ import annotations

import functools
from typing import Any

from fhirbridge.research.tables import TABLES
from fhirbridge.research.views.events import adverse_events_view
from fhirbridge.research.views.observations import Observations
from fhirbridge.research.views.probes import Probes
from fhirbridge.research.views.sessions import Sessions

_CANONICAL = "https://fhirbridge.example/fhir/ViewDefinition"


@functools.cache
def view_definitions() -> dict[str, dict[str, Any]]:
    """The views by the name of their table."""
    probes = Probes()
    observations, procedures = Observations(probes), Sessions(probes)
    made = {
        "sessions": ("Procedure", procedures.sessions()),
        "administrations": ("Procedure", procedures.administrations()),
        "vitals": ("Observation", observations.vitals()),
        "assessments": ("Observation", observations.assessments()),
        "assessment_items": ("Observation", observations.items()),
        "adverse_events": ("AdverseEvent", adverse_events_view(probes)),
    }
    return {name: _definition(name, resource, view) for name, (resource, view) in made.items()}


def _definition(name: str, resource: str, view: dict[str, Any]) -> dict[str, Any]:
    return {
        "resourceType": "ViewDefinition",
        "url": f"{_CANONICAL}/{name.replace('_', '-')}",
        "name": name,
        "title": TABLES[name].meaning,
        "status": "active",
        "fhirVersion": ["4.0.1"],
        "resource": resource,
        **view,
    }
