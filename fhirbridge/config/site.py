"""One hospital's FHIR server, and what is known of it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

from fhirbridge.config.auth import AuthSettings, NoAuth
from fhirbridge.config.consent import SiteConsentSettings
from fhirbridge.config.table import IdentifierSystem, Table, Url
from fhirbridge.config.tls import NetworkSettings, TlsSettings
from fhirbridge.loopback import in_clear
from fhirbridge.origins import origin_of

Seconds = Annotated[float, Field(gt=0, le=3600)]
ResourceType = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z]{1,63}$")]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$")]
# The ways to write (specification §9.3), the safest first; what each does stands in fhirbridge.sync.strategy.
WriteName = Literal[
    "client-id",
    "idempotency-key",
    "conditional-update",
    "conditional-create",
    "conditional-create-tag",
    "search-then-create",
]
EVERY_TYPE = "*"
DirectoryType = Literal["Practitioner", "Organization", "Location", "Encounter"]


class OverlaySettings(Table):
    """``[site.NAME.overlay]``: what one server wants otherwise than the specification's default."""

    r4_core_ae_codes: bool = False
    single_coding_required_bindings: bool = False
    us_core_o2_flow_component: bool = False
    us_core: bool = False
    secondary_codes: bool = False


class CanSettings(Table):
    """``[site.NAME.can]``: what is known of the server; it outranks its CapabilityStatement, which may be wrong."""

    update_create: bool | None = None
    if_match: bool | None = None
    if_none_match: bool | None = None
    conditional_create: bool | None = None
    conditional_update: bool | None = None
    identifier_search: bool | None = None
    tag_search: bool | None = None
    # False: identifiers go in the address of a search, where the site's logs and every proxy's see them.
    post_search: bool | None = None
    transaction: bool | None = None
    batch: bool | None = None
    bare_if_none_exist: bool | None = None
    idempotency_key: HeaderName | None = None
    index_lag: Annotated[float, Field(ge=0, le=3600)] | None = None


class PatientSettings(Table):
    """``[site.NAME.patients]``: how the hospital knows the clinic's patients; by their own identifiers, unless set."""

    system: IdentifierSystem | None = None
    crosswalk: Path | None = None

    @model_validator(mode="after")
    def _system_has_a_crosswalk(self) -> PatientSettings:
        if self.system is not None and self.crosswalk is None:
            raise PydanticCustomError("crosswalk_missing", "the hospital's system needs a crosswalk to it")
        return self


class ListingSettings(Table):
    """``[site.NAME.directory.TYPE]``: what of one type the hospital has in its own directory."""

    crosswalk: Path
    system: IdentifierSystem | None = None


class SiteSettings(Table):
    """``[site.NAME]``: one hospital's FHIR server. Times are seconds, sizes bytes."""

    base_url: Url
    release: Literal["r4", "r4b", "r5"] = "r4"
    timeout: Seconds = 30.0
    page_size: Annotated[int, Field(ge=1, le=10_000)] = 100
    bundle_entries: Annotated[int, Field(ge=1, le=5_000)] = 100
    transaction: Literal["auto", "transaction", "batch"] = "auto"
    max_body: Annotated[int, Field(ge=1_024, le=4 * 2**30)] = 64 * 2**20
    auth: AuthSettings = NoAuth()
    tls: TlsSettings = TlsSettings()
    network: NetworkSettings = NetworkSettings()
    overlay: OverlaySettings = OverlaySettings()
    can: CanSettings = CanSettings()
    consent: SiteConsentSettings = SiteConsentSettings()
    patients: PatientSettings = PatientSettings()
    directory: dict[DirectoryType, ListingSettings] = Field(default_factory=dict)
    types: tuple[ResourceType, ...] = ()
    write: dict[ResourceType | Literal["*"], WriteName] = Field(default_factory=dict)
    retract_without_status: Literal["modifier", "delete", "park"] = "modifier"
    provenance: Literal["auto", "always", "never"] = "auto"
    start: dt.date | None = None
    rate: Annotated[int, Field(ge=1, le=60_000)] | None = None

    @field_validator("write", mode="before")
    @classmethod
    def _one_for_all(cls, value: Any) -> Any:
        return {EVERY_TYPE: value} if isinstance(value, str) else value

    @field_validator("base_url")
    @classmethod
    def _is_a_base(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            usable = False
        if not usable:
            raise PydanticCustomError("base_url", "not a usable address")
        if parts.query or parts.fragment or parts.username is not None or ";" in url:
            raise PydanticCustomError("base_url_extra", "a base address has no query, fragment, parameters or user")
        if origin_of(f"{parts.scheme}://{parts.netloc}") is None:
            # In other letters than ASCII it may look like a host that it is not; its plain form is xn--….
            raise PydanticCustomError("base_url", "a host is written in ASCII")
        if any(step in (".", "..") for step in parts.path.lower().replace("%2e", ".").split("/")):
            raise PydanticCustomError("base_url_dots", "a base address has no dot segments")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _credentials_are_guarded(self) -> SiteSettings:
        if self.auth.kind != "none" and in_clear(self.base_url):
            raise PydanticCustomError("token_in_clear", "credentials would travel unencrypted")
        if self.tls.is_set and in_clear(self.base_url):
            raise PydanticCustomError("tls_in_clear", "a table tls, but an address that is not encrypted")
        return self
