"""The whole of ``fhirbridge.toml`` as one model, and every fault of a file with the nearest right key."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, Field, ValidationError

from fhirbridge.config.audit import AuditSettings
from fhirbridge.config.auth import AUTH_KINDS, KeySettings
from fhirbridge.config.clinic import ClinicSettings, LedgerSettings
from fhirbridge.config.consent import ConsentSettings, ExceptionSettings, LabelSettings, SiteConsentSettings
from fhirbridge.config.research import ResearchSettings
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
from fhirbridge.config.tls import NetworkSettings, TlsSettings
from fhirbridge.config.vault import VaultSettings
from fhirbridge.errors import ConfigError, Fault


class Settings(Table):
    """The whole configuration, as it stands in the file."""

    audit: AuditSettings = AuditSettings()
    clinic: ClinicSettings
    consent: ConsentSettings = ConsentSettings()
    ledger: LedgerSettings = LedgerSettings()
    research: ResearchSettings = ResearchSettings()
    site: dict[str, SiteSettings] = Field(default_factory=dict)
    source: dict[str, SourceSettings] = Field(default_factory=dict)
    vault: VaultSettings | None = None


def parse(tree: Mapping[str, Any]) -> Settings:
    """Make settings of a TOML tree. Raises :class:`ConfigError`: every fault, with the nearest right key."""
    try:
        # A file without [clinic] gets the fault about the id key like any other.
        return Settings.model_validate({"clinic": {}, **tree})
    except ValidationError as error:
        faults = [_fault(detail["loc"], detail["type"], detail["msg"]) for detail in error.errors(include_url=False)]
        raise ConfigError("\n".join(map(str, faults)), code="config.invalid") from None


def _fault(location: Sequence[int | str], kind: str, message: str) -> Fault:
    steps = list(location)
    if location[0] == "site" and location[2:3] == ("auth",) and location[3:4] and location[3] in AUTH_KINDS:
        # The way that the table was read as is no key of the file.
        del steps[3]
    path = ".".join(map(str, steps))
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return Fault(
            "config.auth_kind", path, "no such way to say who we are", f"kind is one of {', '.join(AUTH_KINDS)}"
        )
    if kind == "extra_forbidden" and (location[0], location[2:]) == ("site", ("token",)):
        hint = f'write [{path.removesuffix(".token")}.auth] with kind = "bearer" and token = …'
        return Fault("config.token_moved", path, "a token stands in the table auth of its site", hint)
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
        "audit": AuditSettings, "vault": VaultSettings,
        "clinic": ClinicSettings, "overlay": OverlaySettings, "can": CanSettings, "id_key": Secret, "token": Secret,
        "ledger": LedgerSettings, "password": Secret, "patients": PatientSettings, "exceptions": ExceptionSettings,
        "research": ResearchSettings, "key": Secret,
        "labels": LabelSettings, "consent": SiteConsentSettings if location[0] == "site" else ConsentSettings,
        **dict.fromkeys(get_args(DirectoryType), ListingSettings), **AUTH_KINDS, "secret": Secret, "keys": KeySettings,
        "tls": TlsSettings, "key_password": Secret, "network": NetworkSettings, "proxy_password": Secret,
    }  # fmt: skip
    if location[:2] == ("vault", "key"):
        return list(Secret.model_fields)
    for depth, step in enumerate(map(str, location[:-1])):
        model = named[str(location[0])] if depth == 1 and location[0] in named else tables.get(step, model)
    return list(model.model_fields)


_HINTS = {
    "secret_in_clear": 'write {env = "NAME"}, {file = "path"}, {keyring = "service/user"} or {command = ["program"]}',
    "secret_place": 'write {env = "NAME"}, {file = "path"}, {keyring = "service/user"} or {command = ["program"]}',
    "token_url": "such as https://login.hospital.example/oauth2/token",
    "token_origins": "such as https://login.hospital.example",
    "id_key_missing": 'write id_key = {env = "FHIRBRIDGE_ID_KEY"}, or demo = true for a trial',
    "id_key_twice": "remove demo or id_key",
    "vault_active": "add [vault.key.NAME] with env, file, keyring or command",
    "time_zone": "use a name such as America/New_York",
    "token_in_clear": "use https",
    "tls_in_clear": "use https",
    "key_alone": "add certificate",
    "allow": 'such as "10.0.0.0/8" or "10.1.2.3"',
    "proxy": 'such as "http://proxy.clinic.example:3128", without a user',
    "proxy_missing": "add proxy",
    "proxy_credentials": 'add the other: proxy_user = "NAME", proxy_password = {env = "NAME"}',
    "password_in_clear": 'leave it out of url and write password = {env = "NAME"} or {file = "path"}',
    "sql_source": "give url, query, mark and kind, and a [source.NAME.columns] table of field = column",
    "crosswalk_missing": 'add crosswalk = "patients.csv"; fhirbridge enrol fills it',
    "csv_map": "add kind and a [source.NAME.columns] table of field = column",
    "base_url": "such as https://hospital.example/fhir",
    "string_pattern_mismatch": "check the spelling",
}
