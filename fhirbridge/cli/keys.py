"""``fhirbridge keys``: keys for SMART Backend Services, the JWKS that a hospital asks for, random secrets."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from fhirbridge.cli.app import configuration
from fhirbridge.cli.console import say
from fhirbridge.client.auth import Algorithm, SigningKey, new_key, read_key
from fhirbridge.config import Config, SmartBackendAuth
from fhirbridge.credentials import signing_keys
from fhirbridge.errors import ConfigError, UsageError

_SECRET_BYTES = 32
_LARGEST_KEY = 65_536

keys = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Make keys and secrets, and show what a hospital asks for."
)


@keys.command()
def new(
    out: Annotated[Path, typer.Option(help="File to write the private key to; it must not be there yet.")],
    alg: Annotated[Algorithm, typer.Option(help="What it signs with; hospitals take either.")] = "ES384",
) -> None:
    """Make a private key that signs for a site with SMART Backend Services.

    The file is for you alone (mode 600), and no file is ever written over. The hospital gets the public half.

    \b
    fhirbridge keys new --out hospital.pem
    fhirbridge keys new --alg RS384 --out hospital.pem
    """
    key = new_key(alg)
    _write(out, key.pem())
    say(f"{alg} key written to {out}; kid {key.kid}")
    say(f'name it in [site.NAME.auth]: keys = [{{ file = "{out}" }}], the newest first')
    say(f"give the hospital what this prints: fhirbridge keys jwks {out}")


@keys.command()
def jwks(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="SITE|FILE...", help="A site, or files with private keys.")],
) -> None:
    """Print the public keys as a JWK Set, for a hospital to register or for you to publish.

    Nothing in it is secret. While keys change, it holds the new one and the one before.

    \b
    fhirbridge keys jwks hospital
    fhirbridge keys jwks new.pem old.pem > jwks.json
    """
    found = [one.public() for one in _keys(context, names)]
    sys.stdout.write(json.dumps({"keys": found}, indent=2) + "\n")


@keys.command()
def secret(
    out: Annotated[Path | None, typer.Option(help="File to write it to, for you alone; else standard output.")] = None,
) -> None:
    """Make a random secret of 256 bits, in hex: an id key, a vault key.

    \b
    fhirbridge keys secret --out id.key
    fhirbridge keys secret | vault kv put secret/fhirbridge id_key=-
    """
    text = f"{secrets.token_hex(_SECRET_BYTES)}\n"
    if out is None:
        sys.stdout.write(text)
        return
    _write(out, text.encode("ascii"))
    say(f"secret written to {out}; keep a copy where the backups are")


def _keys(context: typer.Context, names: Sequence[str]) -> list[SigningKey]:
    """The keys of one site of the configuration, or those in files. Raises :class:`ConfigError`, also where two of
    them have one name."""
    (first, *others) = names
    if others or Path(first).is_file():
        found = [read_key(_read(Path(one))) for one in names]
    else:
        found = list(_keys_of(configuration(context), first))
    if len({one.kid for one in found}) < len(found):
        raise UsageError("two of these keys have the same kid", code="usage.key", hint="name each key once")
    return found


def _keys_of(config: Config, site: str) -> Sequence[SigningKey]:
    auth = config.site(site).auth
    if not isinstance(auth, SmartBackendAuth):
        hint = f'[site.{site}.auth] needs kind = "smart-backend" and keys'
        raise UsageError("the site signs nothing", code="usage.key", hint=hint)
    return signing_keys(config, auth)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_KEY)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or 'cannot be read'}", code="config.key") from None


def _write(path: Path, data: bytes) -> None:
    """Write to a new file that nobody else may read, from its first byte on."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        hint = "choose another name; what is lost with a key cannot be had again"
        raise UsageError(f"{path} is there already, and is not written over", code="usage.output", hint=hint) from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or 'cannot be written'}", code="usage.output") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def add_to(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(keys, name="keys")
