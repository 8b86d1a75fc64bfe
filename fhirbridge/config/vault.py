"""The keys under which the ledger seals what it keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from fhirbridge.config.secret import Secret
from fhirbridge.config.table import Table
from fhirbridge.errors import ConfigError, VaultError
from fhirbridge.vault import NAME, Ring, Vault

KeyName = Annotated[str, StringConstraints(pattern=NAME)]
DEMO_NAME = "demo"
# Public on purpose: what is sealed under it can be read by anybody, which is why it serves only a trial.
DEMO_VAULT_KEY = b"fhirbridge demonstration vault key, not a secret"


class VaultSettings(Table):
    """``[vault]``: ``active`` is the name of the key for what is new, ``[vault.key.NAME]`` where each key is kept.

    Older keys stay until ``fhirbridge vault rekey`` has sealed everything under the active one.
    """

    active: KeyName
    key: Annotated[dict[KeyName, Secret], Field(min_length=1)]

    @model_validator(mode="after")
    def _has_the_active_one(self) -> VaultSettings:
        if self.active not in self.key:
            raise PydanticCustomError("vault_active", "the active key is none of vault.key")
        return self


def vault_from(
    settings: VaultSettings | None, read: Callable[[Secret], bytes], *, id_key: bytes, domain: str, demo: bool
) -> Vault:
    """The clinic's vault; that of the demo where none is configured and it is a demo.

    Raises :class:`ConfigError` where there is none, or a key cannot be read, is too short, or is the id key as well.
    """
    if settings is None and not demo:
        raise ConfigError(
            "the ledger keeps patient data and has no key to seal it with: there is no [vault]",
            code="config.vault",
            hint='fhirbridge keys secret --out vault.key, then: [vault] active = "2026-11", '
            '[vault.key.2026-11] file = "vault.key"; keep a copy where the ledger\'s backup is not',
        )
    secrets = {DEMO_NAME: DEMO_VAULT_KEY} if settings is None else {n: read(one) for n, one in settings.key.items()}
    try:
        return Vault(Ring(DEMO_NAME if settings is None else settings.active, secrets), id_key=id_key, domain=domain)
    except VaultError as error:
        raise ConfigError(f"vault.key: {error.message}", code="config.vault_key", hint=error.hint) from None
