"""Where secrets are kept: never in the configuration itself, never on a command line."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from fhirbridge.config.command import run
from fhirbridge.config.table import Table
from fhirbridge.errors import ConfigError

_LARGEST_SECRET = 65_536
_FOR_OTHERS = stat.S_IRGRP | stat.S_IROTH
_PLACES = ("env", "file", "keyring", "command")
Words = Annotated[tuple[Annotated[str, StringConstraints(min_length=1, max_length=4096)], ...], Field(min_length=1)]


class Secret(Table):
    """Where a secret is kept: an environment variable, a file, the system's keyring, or what a command prints.

    Only the place is held here, never the secret itself.
    """

    env: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")] | None = None
    file: Path | None = None
    keyring: Annotated[str, StringConstraints(max_length=512, pattern=r"^[^/\s].*/[^/\s][^/]*$")] | None = None
    command: Words | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_a_reference(cls, value: Any) -> Any:
        if not isinstance(value, dict | Secret):
            raise PydanticCustomError("secret_in_clear", "a secret does not stand in this file")
        return value

    @model_validator(mode="after")
    def _one_place(self) -> Secret:
        if sum(getattr(self, place) is not None for place in _PLACES) != 1:
            raise PydanticCustomError("secret_place", "a secret is kept in one place: env, file, keyring or command")
        return self

    def read(self, environ: Mapping[str, str], directory: Path) -> bytes:
        """The secret's bytes, without the line end of its file or command. Raises :class:`ConfigError`, never quoting
        it.

        A relative file is looked for beside the configuration, in ``directory``, where a command runs as well.
        """
        if self.env is not None:
            return _whole(
                environ.get(self.env, "").encode(errors="surrogateescape"),
                f"the environment variable {self.env}",
                "set it",
            )
        if self.keyring is not None:
            return _whole(_from_keyring(self.keyring), f"the keyring's entry {self.keyring}", "add it to the keyring")
        if self.command is not None:
            found = run(self.command, environ, directory, _LARGEST_SECRET)
            return _whole(
                found.rstrip(b"\r\n"), f"what the command {Path(self.command[0]).name} prints", "run it by hand"
            )
        path = self.file or Path()
        return _whole(_from_file(directory / path, path), f"the secret file {path}", "write the secret to it")

    def is_exposed(self, directory: Path) -> bool:
        """Whether it is a file that others than its owner may read."""
        try:
            return self.file is not None and bool((directory / self.file).stat().st_mode & _FOR_OTHERS)
        except OSError:
            return False


def _whole(found: bytes, what: str, hint: str) -> bytes:
    if not found:
        raise ConfigError(f"{what} is not set, or empty", code="config.secret", hint=hint)
    if len(found) > _LARGEST_SECRET:
        raise ConfigError(f"{what} is far too long for a secret", code="config.secret", hint=hint)
    return found


def _from_file(path: Path, name: Path) -> bytes:
    try:
        with path.open("rb") as file:
            _refuse_if_anybody_may_write(file, name)
            return file.read(_LARGEST_SECRET + 1).rstrip(b"\r\n")
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise ConfigError(f"the secret file {name}: {reason}", code="config.secret") from None


def _refuse_if_anybody_may_write(file: BinaryIO, name: Path) -> None:
    """A key that anybody may replace is nobody's. One that others may read is only warned of, by the configuration:
    containers mount secrets readable for all, where "all" is one program."""
    if os.name == "posix" and os.fstat(file.fileno()).st_mode & stat.S_IWOTH:
        raise ConfigError(
            f"anybody may write to the secret file {name}", code="config.secret_writable", hint=f"chmod 600 {name}"
        )


def _from_keyring(entry: str) -> bytes:
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        hint = 'pip install "fhirbridge[keyring]"'
        raise ConfigError("the package keyring is not installed", code="config.keyring", hint=hint) from None
    service, _, user = entry.rpartition("/")
    try:
        return (keyring.get_password(service, user) or "").encode()
    except KeyringError:
        raise ConfigError(
            f"the keyring does not give out {entry}", code="config.keyring", hint="is it unlocked, is there one at all?"
        ) from None
