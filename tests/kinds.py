"""Every record kind with its strategy: what the laws are run over."""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import strategies as st

from fhirbridge.binding import Binding, Clinic, Overlay, Release
from fhirbridge.mapping import Kind
from mappings import adverse_event, assessment, consent, session, vitals
from tests.strategies import adverse_event as adverse_events
from tests.strategies import consent as consents
from tests.strategies import observations
from tests.strategies import session as sessions

CLINIC = Clinic("clinic.example", b"an id key for tests, 32 bytes ok")
OVERLAYS = {
    "plain": Overlay(),
    "r4-core": Overlay(r4_core_ae_codes=True, single_coding_required_bindings=True),
    "us": Overlay(us_core=True, us_core_o2_flow_component=True, secondary_codes=True),
}
BINDINGS = {
    f"{release}-{name}": Binding(CLINIC, release, overlay) for release in Release for name, overlay in OVERLAYS.items()
}


class Case(NamedTuple):
    """A kind and records of it, as JSON trees."""

    kind: Kind
    trees: st.SearchStrategy[dict[str, Any]]


CASES = {
    "session": Case(session.KIND, sessions.sessions),
    "vital_sign": Case(vitals.KIND, observations.vital_signs),
    "assessment": Case(assessment.KIND, observations.assessments),
    "consent": Case(consent.KIND, consents.consents),
    "adverse_event": Case(adverse_event.KIND, adverse_events.adverse_events),
}
KINDS = {name: case.kind for name, case in CASES.items()}
