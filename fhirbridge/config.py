"""``fhirbridge.toml`` and the environment, read once into frozen settings. Nothing else reads either.

The file is the one named on the command line, else the one named by ``FHIRBRIDGE_CONFIG``, else ``fhirbridge.toml`` in
the working directory; without any of them the settings are those of the demo clinic. A secret never stands in the file:
it is named there (``{env = "NAME"}`` or ``{file = "path"}``) and read when it is needed.
"""

from __future__ import annotations

import datetime as dt
import decimal
import difflib
import re
import tomllib
import zoneinfo
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from fhirbridge.errors import ConfigError, Fault

FILE_NAME = "fhirbridge.toml"
LEDGER_FILE = "fhirbridge-ledger.db"
VARIABLE = "FHIRBRIDGE_CONFIG"
DEMO_DOMAIN = "clinic.example"
# Public on purpose: ids made with it can be guessed by anybody, which is why it serves only a trial.
DEMO_ID_KEY = b"fhirbridge demonstration id key, not a secret"
_SHORTEST_ID_KEY = 16
_SQLITE = "sqlite:///"
_LARGEST_SECRET = 65_536
# What stands between the first colon and the @ is a password to SQLAlchemy; drivers take one as a parameter as well.
_PASSWORD_IN_URL = re.compile(r"^[\w+]+://[^:/]*:[^@]*@|(?:passw(?:or)?d|pwd)(?:=|%3d)", re.IGNORECASE)

T = TypeVar("T")

Seconds = Annotated[float, Field(gt=0, le=3600)]
Url = Annotated[str, StringConstraints(min_length=1, max_length=2048, pattern=r"^https?://[^\s\\]+$")]
ResourceType = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z]{1,63}$")]
Domain = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
DatabaseUrl = Annotated[str, StringConstraints(max_length=2048, pattern=r"^[a-z][a-z0-9_]*(\+[a-z0-9_]+)?://\S*$")]
Statement = Annotated[str, StringConstraints(min_length=1, max_length=65_536, pattern=r"\S")]
IdentifierSystem = Annotated[str, StringConstraints(pattern=r"^[^\s|]{1,2048}$")]
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


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Secret(_Table):
    """Where a secret is kept: an environment variable or a file; never the secret itself."""

    env: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")] | None = None
    file: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_a_reference(cls, value: Any) -> Any:
        if not isinstance(value, dict | Secret):
            raise PydanticCustomError("secret_in_clear", "a secret does not stand in this file")
        return value

    @model_validator(mode="after")
    def _one_place(self) -> Secret:
        if (self.env is None) == (self.file is None):
            raise PydanticCustomError("secret_place", "a secret is kept in env or in file, one of them")
        return self

    def read(self, environ: Mapping[str, str], directory: Path) -> bytes:
        """The secret's bytes, without the line end of its file. Raises :class:`ConfigError`, never quoting it.

        A relative file is looked for beside the configuration, in ``directory``.
        """
        if self.env is not None:
            found = environ.get(self.env, "").encode()
            if not found:
                raise ConfigError(
                    f"the environment variable {self.env} is not set", code="config.secret", hint="set it"
                )
            return found
        path = directory / (self.file or "")
        try:
            with path.open("rb") as file:
                found = file.read(_LARGEST_SECRET + 1).rstrip(b"\r\n")
        except OSError as error:
            reason = error.strerror or "cannot be read"
            raise ConfigError(f"the secret file {self.file}: {reason}", code="config.secret") from None
        if not found or len(found) > _LARGEST_SECRET:
            raise ConfigError(f"the secret file {self.file} is empty or far too long", code="config.secret")
        return found


class ClinicSettings(_Table):
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


class OverlaySettings(_Table):
    """``[site.NAME.overlay]``: what one server wants otherwise than the specification's default."""

    r4_core_ae_codes: bool = False
    single_coding_required_bindings: bool = False
    us_core_o2_flow_component: bool = False
    us_core: bool = False
    secondary_codes: bool = False


class CanSettings(_Table):
    """``[site.NAME.can]``: what is known of the server; it outranks its CapabilityStatement, which may be wrong."""

    update_create: bool | None = None
    if_match: bool | None = None
    if_none_match: bool | None = None
    conditional_create: bool | None = None
    conditional_update: bool | None = None
    identifier_search: bool | None = None
    tag_search: bool | None = None
    transaction: bool | None = None
    batch: bool | None = None
    bare_if_none_exist: bool | None = None
    idempotency_key: HeaderName | None = None
    index_lag: Annotated[float, Field(ge=0, le=3600)] | None = None


class PatientSettings(_Table):
    """``[site.NAME.patients]``: how the hospital knows the clinic's patients; by their own identifiers, unless set."""

    system: IdentifierSystem | None = None
    crosswalk: Path | None = None

    @model_validator(mode="after")
    def _system_has_a_crosswalk(self) -> PatientSettings:
        if self.system is not None and self.crosswalk is None:
            raise PydanticCustomError("crosswalk_missing", "the hospital's system needs a crosswalk to it")
        return self


class ListingSettings(_Table):
    """``[site.NAME.directory.TYPE]``: what of one type the hospital has in its own directory."""

    crosswalk: Path
    system: IdentifierSystem | None = None


class SiteSettings(_Table):
    """``[site.NAME]``: one hospital's FHIR server. Times are seconds, sizes bytes."""

    base_url: Url
    release: Literal["r4", "r4b", "r5"] = "r4"
    timeout: Seconds = 30.0
    page_size: Annotated[int, Field(ge=1, le=10_000)] = 100
    bundle_entries: Annotated[int, Field(ge=1, le=5_000)] = 100
    transaction: Literal["auto", "transaction", "batch"] = "auto"
    max_body: Annotated[int, Field(ge=1_024, le=4 * 2**30)] = 64 * 2**20
    token: Secret | None = None
    overlay: OverlaySettings = OverlaySettings()
    can: CanSettings = CanSettings()
    patients: PatientSettings = PatientSettings()
    directory: dict[DirectoryType, ListingSettings] = {}
    types: tuple[ResourceType, ...] = ()
    write: dict[ResourceType | Literal["*"], WriteName] = {}
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
        if any(step in (".", "..") for step in parts.path.lower().replace("%2e", ".").split("/")):
            raise PydanticCustomError("base_url_dots", "a base address has no dot segments")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _token_is_guarded(self) -> SiteSettings:
        if self.token is not None and self.base_url.startswith("http:") and not _is_loopback(self.base_url):
            raise PydanticCustomError("token_in_clear", "a token would travel unencrypted")
        return self


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class SourceSettings(_Table):
    """``[source.NAME]``: where records come from and, for rows of CSV or SQL, which column is which field."""

    path: str = "-"
    url: DatabaseUrl | None = None
    password: Secret | None = None
    query: Statement | None = None
    mark: Statement | None = None
    format: Literal["ndjson", "json", "csv"] | None = None
    kind: str | None = None
    columns: dict[str, str] = {}
    constants: dict[str, Any] = {}
    ignore_columns: tuple[str, ...] = ()
    delimiter: Annotated[str, StringConstraints(min_length=1, max_length=1)] = ","
    list_separator: Annotated[str, StringConstraints(min_length=1, max_length=8)] = ";"

    @model_validator(mode="after")
    def _csv_has_a_map(self) -> SourceSettings:
        if self.format == "csv" and (self.kind is None or not self.columns):
            raise PydanticCustomError("csv_map", "a CSV source needs a kind and columns")
        return self

    @field_validator("url")
    @classmethod
    def _no_password(cls, url: str | None) -> str | None:
        if url is not None and _PASSWORD_IN_URL.search(url) is not None:
            raise PydanticCustomError("password_in_clear", "a password does not stand in this file")
        return url

    @model_validator(mode="after")
    def _sql_is_whole(self) -> SourceSettings:
        if self.url is None:
            if self.query is not None or self.mark is not None or self.password is not None:
                raise PydanticCustomError("sql_source", "a query, a mark and a password belong to a url")
        elif self.query is None or self.mark is None or self.kind is None or not self.columns:
            raise PydanticCustomError("sql_source", "a SQL source needs a query, a mark, a kind and columns")
        elif "path" in self.model_fields_set or self.format is not None:
            raise PydanticCustomError("sql_source", "a SQL source has neither path nor format")
        return self


class LedgerSettings(_Table):
    """``[ledger]``: where the state of every delivery is kept; a file beside the configuration unless it says."""

    url: Annotated[str, StringConstraints(pattern=r"^(sqlite:///|postgresql\+psycopg://)\S+$")] | None = None
    adverse_event_limit: Annotated[float, Field(gt=0, le=86_400)] = 900.0


class Settings(_Table):
    """The whole configuration, as it stands in the file."""

    clinic: ClinicSettings
    ledger: LedgerSettings = LedgerSettings()
    site: dict[str, SiteSettings] = {}
    source: dict[str, SourceSettings] = {}


class Config:
    """Settings together with the place they came from, so that secrets and relative paths can be found."""

    def __init__(self, settings: Settings, directory: Path, environ: Mapping[str, str]) -> None:
        self.clinic = settings.clinic
        self.ledger = settings.ledger
        self._settings = settings
        self._directory = directory
        self._environ = environ

    def __repr__(self) -> str:
        return f"Config(sites={sorted(self._settings.site)}, sources={sorted(self._settings.source)})"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know before trusting the result."""
        if not self.clinic.demo:
            return ()
        return (
            "the demo id key is public: resource ids made with it can be guessed; set clinic.id_key for real records",
        )

    def id_key(self) -> bytes:
        """The key of the resource ids. Raises :class:`ConfigError` when it is not there or too short to be a secret."""
        if self.clinic.id_key is None:
            return DEMO_ID_KEY
        key = self.clinic.id_key.read(self._environ, self._directory)
        if len(key) < _SHORTEST_ID_KEY:
            hint = 'make one with: python -c "import secrets; print(secrets.token_hex(32))"'
            raise ConfigError(
                f"clinic.id_key is shorter than {_SHORTEST_ID_KEY} bytes", code="config.id_key", hint=hint
            )
        return key

    def token(self, site: SiteSettings) -> str | None:
        """The bearer token of a site, if it has one. Raises :class:`ConfigError` when it cannot be read or sent."""
        if site.token is None:
            return None
        token = site.token.read(self._environ, self._directory)
        if re.fullmatch(rb"[A-Za-z0-9._~+/=-]+", token) is None:
            raise ConfigError("the token holds characters a bearer token cannot have", code="config.token")
        return token.decode("ascii")

    def ledger_url(self) -> str:
        """Where the ledger is; a relative SQLite file is taken from the directory of the configuration."""
        return self._beside(self._settings.ledger.url or f"{_SQLITE}{LEDGER_FILE}")

    def _beside(self, url: str) -> str:
        path = Path(url.removeprefix(_SQLITE))
        return url if not url.startswith(_SQLITE) else f"{_SQLITE}{(self._directory / path).absolute()}"

    def site(self, name: str) -> SiteSettings:
        """The settings of a site. Raises :class:`ConfigError` naming the nearest one."""
        return _named(self._settings.site, name, "site")

    def source(self, name: str) -> SourceSettings:
        """The settings of a source. Raises :class:`ConfigError` naming the nearest one."""
        return _named(self._settings.source, name, "source")

    def database(self, source: SourceSettings) -> tuple[str, str | None]:
        """The URL of a source's database, a relative SQLite file taken from the directory of the configuration, and
        its password. Raises :class:`ConfigError` when that cannot be read."""
        url = self._beside(source.url or "")
        if source.password is None:
            return url, None
        try:
            return url, source.password.read(self._environ, self._directory).decode()
        except UnicodeDecodeError:
            raise ConfigError("the password of a source is no text", code="config.secret") from None

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the sources, in their order."""
        return tuple(self._settings.source)

    def beside(self, path: str) -> str:
        """A source's path, a relative one taken from the directory of the configuration; ``-`` stays."""
        return path if path == "-" else str(self._directory / path)


def _named(tables: Mapping[str, T], name: str, what: str) -> T:
    if name in tables:
        return tables[name]
    near = difflib.get_close_matches(name, tables, n=1)
    if near:
        hint = f"did you mean {near[0]}?"
    else:
        hint = f"the configuration knows: {', '.join(sorted(tables))}" if tables else f"add a [{what}.NAME] table"
    raise ConfigError(f"there is no {what} of that name", code=f"config.no_{what}", hint=hint)


def load(explicit: Path | None, environ: Mapping[str, str], directory: Path) -> Config:
    """Read the configuration that applies in ``directory``. Raises :class:`ConfigError` with every fault, by path."""
    path = explicit or (Path(environ[VARIABLE]) if environ.get(VARIABLE) else None)
    if path is None:
        path = directory / FILE_NAME
        if not path.exists():
            return Config(Settings(clinic=ClinicSettings(demo=True)), directory, environ)
    try:
        with path.open("rb") as file:
            # Numbers keep their text on the way into constants.
            tree = tomllib.load(file, parse_float=decimal.Decimal)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or 'cannot be read'}", code="config.file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, decimal.InvalidOperation, RecursionError) as error:
        place = re.search(r"line \d+, column \d+", str(error))
        where = f" at {place[0]}" if place else ""
        raise ConfigError(f"{path}: not valid TOML{where}", code="config.toml", hint="see https://toml.io") from None
    return Config(parse(tree), path.parent, environ)


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
        "ledger": LedgerSettings, "password": Secret, "patients": PatientSettings,
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
