"""The whole of ``fhirbridge.toml`` as one model, and every fault of a file with the nearest right key."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, Field, ValidationError

from fhirbridge.config.clinic import ClinicSettings, LedgerSettings
from fhirbridge.config.consent import ConsentSettings, ExceptionSettings, LabelSettings, SiteConsentSettings
from fhirbridge.config.secret import Secret
from fhirbridge.config.site import (
    CanSettings,
    DirectoryType,
    ListingSettings,
    OverlaySettings,
    PatientSettings,
    SiteSettings,
)
from fhirbridge.config.source import SourceSettings
from fhirbridge.config.table import Table
from fhirbridge.errors import ConfigError, Fault


class Settings(Table):
    """The whole configuration, as it stands in the file."""

    clinic: ClinicSettings
    consent: ConsentSettings = ConsentSettings()
    ledger: LedgerSettings = LedgerSettings()
    site: dict[str, SiteSettings] = Field(default_factory=dict)
    source: dict[str, SourceSettings] = Field(default_factory=dict)


def parse(tree: Mapping[str, Any]) -> Settings:
    """Make settings of a TOML tree. Raises :class:`ConfigError`: every fault, with the nearest right key."""
    try:
        # A file without [clinic] gets the fault about the id key like any other.
        return Settings.model_validate({"clinic": {}, **tree})
    except ValidationError as error:
        faults = [_fault(detail["loc"], detail["type"], detail["msg"]) for detail in error.errors(include_url=False)]
        raise ConfigError("\n".join(map(str, faults)), code="config.invalid") from None


def _fault(location: Sequence[int | str], kind: str, message: str) -> Fault:
    path = ".".join(str(step) for step in location)
    if kind == "extra_forbidden":
        keys = _keys_beside(location)
        near = difflib.get_close_matches(str(location[-1]), keys, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(keys)}"
        return Fault("config.unknown_key", path, "no such key", hint)
    if kind == "missing":
        return Fault("config.missing", path, "a required key is missing", "add it")
    return Fault(f"config.{kind}", path, message, _HINTS.get(kind, ""))


def _keys_beside(location: Sequence[int | str]) -> list[str]:
    model: type[BaseModel] = Settings
    named: dict[str, type[BaseModel]] = {"site": SiteSettings, "source": SourceSettings}
    tables: dict[str, type[BaseModel]] = {
        "clinic": ClinicSettings, "overlay": OverlaySettings, "can": CanSettings, "id_key": Secret, "token": Secret,
        "ledger": LedgerSettings, "password": Secret, "patients": PatientSettings, "exceptions": ExceptionSettings,
        "labels": LabelSettings, "consent": SiteConsentSettings if location[0] == "site" else ConsentSettings,
        **dict.fromkeys(get_args(DirectoryType), ListingSettings),
    }  # fmt: skip
    for depth, step in enumerate(map(str, location[:-1])):
        model = named[str(location[0])] if depth == 1 and location[0] in named else tables.get(step, model)
    return list(model.model_fields)


_HINTS = {
    "secret_in_clear": 'write {env = "NAME"} or {file = "path"}',
    "secret_place": 'write {env = "NAME"} or {file = "path"}',
    "id_key_missing": 'write id_key = {env = "FHIRBRIDGE_ID_KEY"}, or demo = true for a trial',
    "id_key_twice": "remove demo or id_key",
    "time_zone": "use a name such as America/New_York",
    "token_in_clear": "use https",
    "password_in_clear": 'leave it out of url and write password = {env = "NAME"} or {file = "path"}',
    "sql_source": "give url, query, mark and kind, and a [source.NAME.columns] table of field = column",
    "crosswalk_missing": 'add crosswalk = "patients.csv"; fhirbridge enrol fills it',
    "csv_map": "add kind and a [source.NAME.columns] table of field = column",
    "base_url": "such as https://hospital.example/fhir",
    "string_pattern_mismatch": "check the spelling",
}
