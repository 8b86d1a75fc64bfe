"""The clinic that writes the records, and the ledger of its deliveries."""

from __future__ import annotations

import zoneinfo
from typing import Annotated

from pydantic import Field, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

from fhirbridge.config.secret import Secret
from fhirbridge.config.table import Table, Url

DEMO_DOMAIN = "clinic.example"
Domain = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]


class ClinicSettings(Table):
    """``[clinic]``: who writes the records."""

    domain: Domain = DEMO_DOMAIN
    time_zone: str = "America/New_York"
    id_key: Secret | None = None
    demo: bool = False
    source: Annotated[str, StringConstraints(pattern=r"^[^\s#]*$")] = ""
    base: Url = "https://fhirbridge.example/fhir"
    other_bases: tuple[Url, ...] = ()

    @field_validator("time_zone")
    @classmethod
    def _exists(cls, name: str) -> str:
        try:
            zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise PydanticCustomError("time_zone", "no such time zone") from None
        return name

    @field_validator("base", "other_bases")
    @classmethod
    def _no_last_slash(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        return value.rstrip("/") if isinstance(value, str) else tuple(one.rstrip("/") for one in value)

    @model_validator(mode="after")
    def _has_a_key(self) -> ClinicSettings:
        if self.id_key is None and not self.demo:
            raise PydanticCustomError("id_key_missing", "the clinic needs an id key")
        if self.id_key is not None and self.demo:
            raise PydanticCustomError("id_key_twice", "the demo has its own id key")
        return self


class LedgerSettings(Table):
    """``[ledger]``: where the state of every delivery is kept; a file beside the configuration unless it says."""

    url: Annotated[str, StringConstraints(pattern=r"^(sqlite:///|postgresql\+psycopg://)\S+$")] | None = None
    adverse_event_limit: Annotated[float, Field(gt=0, le=86_400)] = 900.0
