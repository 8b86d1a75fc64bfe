"""Where secrets are kept: never in the configuration itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from fhirbridge.config.table import Table
from fhirbridge.errors import ConfigError

_LARGEST_SECRET = 65_536


class Secret(Table):
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
