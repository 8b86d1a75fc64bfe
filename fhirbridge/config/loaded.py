"""The configuration that applies: found, read, and together with the place it came from."""

from __future__ import annotations

import decimal
import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn, SupportsIndex, TypeVar

from pydantic import BaseModel

from fhirbridge.config.clinic import ClinicSettings
from fhirbridge.config.secret import Secret
from fhirbridge.config.settings import Settings, parse
from fhirbridge.config.site import SiteSettings
from fhirbridge.config.source import SourceSettings
from fhirbridge.config.vault import vault_from
from fhirbridge.errors import ConfigError
from fhirbridge.vault import Vault

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
        self.audit = settings.audit
        self.clinic = settings.clinic
        self.consent = settings.consent
        self.ledger = settings.ledger
        self.research = settings.research
        self._settings = settings
        self._directory = directory
        self._environ = environ

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a configuration holds the environment, with its secrets, and is neither pickled nor copied")

    def __repr__(self) -> str:
        return f"Config(sites={sorted(self._settings.site)}, sources={sorted(self._settings.source)})"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know before trusting the result."""
        demo = (
            "the demo keys are public: resource ids can be guessed, and whoever has the ledger can read it; "
            "set clinic.id_key and [vault] for real records"
        )
        exposed = (
            f"others may read the secret file of {path}: chmod 600 {secret.file}"
            for path, secret in _secrets(self._settings)
            if secret.is_exposed(self._directory)
        )
        silent = "audit.enabled is false: nothing writes down what leaves"
        return (
            *((demo,) if self.clinic.demo else ()),
            *((silent,) if not (self.audit.enabled or self.clinic.demo) else ()),
            *exposed,
        )

    def id_key(self) -> bytes:
        """The key of the resource ids. Raises :class:`ConfigError` when it is not there or too short to be a secret."""
        if self.clinic.id_key is None:
            return DEMO_ID_KEY
        key = self.secret(self.clinic.id_key)
        if len(key) < _SHORTEST_ID_KEY:
            hint = "make one with: fhirbridge keys secret"
            raise ConfigError(
                f"clinic.id_key is shorter than {_SHORTEST_ID_KEY} bytes", code="config.id_key", hint=hint
            )
        return key

    def vault(self) -> Vault:
        """What the ledger is sealed with. Raises :class:`ConfigError` where there is no key, or one is of no use."""
        return vault_from(
            self._settings.vault,
            self.secret,
            id_key=self.id_key(),
            domain=self.clinic.domain,
            demo=self.clinic.demo,
        )

    def audit_key(self) -> bytes | None:
        """The key of the audit trail, where it has one of its own. Raises :class:`ConfigError` as :meth:`id_key`."""
        return None if self.audit.key is None else self._long(self.audit.key, "audit.key")

    def old_audit_keys(self) -> tuple[bytes, ...]:
        """Those that it had before. Raises :class:`ConfigError` as :meth:`id_key`."""
        return tuple(self._long(one, f"audit.old_keys.{place}") for place, one in enumerate(self.audit.old_keys))

    def _long(self, secret: Secret, path: str) -> bytes:
        key = self.secret(secret)
        if len(key) < _SHORTEST_ID_KEY:
            hint = "make one with: fhirbridge keys secret"
            message = f"{path} is shorter than {_SHORTEST_ID_KEY} bytes"
            raise ConfigError(message, code="config.audit_key", hint=hint)
        return key

    def secret(self, secret: Secret) -> bytes:
        """What a secret of the configuration is now. Raises :class:`ConfigError`, never quoting it."""
        return secret.read(self._environ, self._directory)

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
            return url, self.secret(source.password).decode()
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


def _secrets(node: object, path: str = "") -> Iterator[tuple[str, Secret]]:
    """Every secret of the configuration with its path."""
    if isinstance(node, Secret):
        yield path, node
        return
    members: Iterable[tuple[object, object]] = ()
    if isinstance(node, BaseModel):
        members = iter(node)
    elif isinstance(node, Mapping):
        members = node.items()
    elif isinstance(node, tuple):
        members = enumerate(node)
    for name, member in members:
        yield from _secrets(member, f"{path}.{name}" if path else str(name))


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
