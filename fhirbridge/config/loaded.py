"""The configuration that applies: found, read, and together with the place it came from."""

from __future__ import annotations

import decimal
import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from fhirbridge.config.clinic import ClinicSettings
from fhirbridge.config.settings import Settings, parse
from fhirbridge.config.site import SiteSettings
from fhirbridge.config.source import SourceSettings
from fhirbridge.errors import ConfigError

FILE_NAME = "fhirbridge.toml"
LEDGER_FILE = "fhirbridge-ledger.db"
VARIABLE = "FHIRBRIDGE_CONFIG"
# Public on purpose: ids made with it can be guessed by anybody, which is why it serves only a trial.
DEMO_ID_KEY = b"fhirbridge demonstration id key, not a secret"
_SHORTEST_ID_KEY = 16
_SQLITE = "sqlite:///"

T = TypeVar("T")


class Config:
    """Settings together with the place they came from, so that secrets and relative paths can be found."""

    def __init__(self, settings: Settings, directory: Path, environ: Mapping[str, str]) -> None:
        self.clinic = settings.clinic
        self.consent = settings.consent
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

    @property
    def sites(self) -> tuple[str, ...]:
        """The names of the sites, in their order."""
        return tuple(self._settings.site)

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
