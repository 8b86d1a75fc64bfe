"""A patient that somebody names: by the identifier of the clinic, or by SYSTEM|VALUE."""

from __future__ import annotations

from fhirbridge.config import Config
from fhirbridge.errors import UsageError
from fhirbridge.sync.identity import lane_named


def patient_key(said: str, config: Config) -> str:
    """The key of a patient by identifier. Raises :class:`ConfigError` and :class:`UsageError`, quoting nothing."""
    system, bar, value = said.rpartition("|")
    if not value:
        raise UsageError("no patient is named", code="usage.patient", hint="an identifier, or SYSTEM|VALUE")
    own = system if bar else f"https://{config.clinic.domain}/sid/patient"
    return lane_named(own, value, config.id_key())
