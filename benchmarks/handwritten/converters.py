"""The hand-written converter of each kind and release."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

from benchmarks.handwritten.adverse_event import AdverseEvents, AdverseEventsR5
from benchmarks.handwritten.consent import Consents, ConsentsR5
from benchmarks.handwritten.observation import Assessments, VitalSigns
from benchmarks.handwritten.procedure import Procedures, ProceduresR5
from fhirbridge.binding import Binding, Release

# R4 is read and written with the models of R4B, the nearest there are.
_R4, _R5 = "fhir.resources.R4B", "fhir.resources"
_CONVERTERS: dict[str, tuple[Any, Any, str]] = {
    "session": (Procedures, ProceduresR5, "procedure.Procedure"),
    "vital_sign": (VitalSigns, VitalSigns, "observation.Observation"),
    "assessment": (Assessments, Assessments, "observation.Observation"),
    "consent": (Consents, ConsentsR5, "consent.Consent"),
    "adverse_event": (AdverseEvents, AdverseEventsR5, "adverseevent.AdverseEvent"),
}


class Converter(Protocol):
    """Both directions of one kind."""

    def write(self, record: Any) -> bytes: ...
    def read(self, data: bytes) -> Any: ...


def converter(kind: str, binding: Binding) -> Converter | None:
    """The converter of a kind for the release of ``binding``, or ``None`` where nobody has written one."""
    if kind not in _CONVERTERS:
        return None
    r4, r5, name = _CONVERTERS[kind]
    module, _, model = name.partition(".")
    is_r5 = binding.release is Release.R5
    models = import_module(f"{_R5 if is_r5 else _R4}.{module}")
    made: Converter = (r5 if is_r5 else r4)(binding, getattr(models, model))
    return made
