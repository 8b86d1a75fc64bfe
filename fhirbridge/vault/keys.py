"""The ring: the key under which everything new is sealed, and older ones for what was sealed before."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fhirbridge.errors import VaultError

# A name stands in front of everything that is sealed, in clear.
NAME = r"^[a-z0-9][a-z0-9._-]{0,31}$"
SHORTEST_SECRET = 32
KEY_BYTES = 32


class Ring:
    """Secrets by name, one of them active. A secret is never used as a key itself: keys are derived from it."""

    def __init__(self, active: str, secrets: Mapping[str, bytes]) -> None:
        """Raises :class:`VaultError` where the active one is missing, or a name or a secret is of no use."""
        if active not in secrets:
            raise VaultError(
                "the active vault key is not in the ring", code="vault.unknown_key", hint="give its secret"
            )
        for name, secret in secrets.items():
            if re.fullmatch(NAME, name) is None:
                raise VaultError(
                    "a vault key has a name that cannot be used",
                    code="vault.name",
                    hint="small letters, digits, points and dashes, 32 at most, such as 2026-11",
                )
            if len(secret) < SHORTEST_SECRET:
                raise VaultError(
                    f"the vault key {name} is shorter than {SHORTEST_SECRET} bytes",
                    code="vault.weak_key",
                    hint="make one with: fhirbridge keys secret",
                )
        self.active = active
        self._secrets = dict(secrets)

    def __repr__(self) -> str:
        return f"Ring(active={self.active!r}, names={sorted(self._secrets)!r})"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all keys, in order."""
        return tuple(sorted(self._secrets))

    def holds(self, secret: bytes) -> bool:
        """Whether these very bytes are one of the secrets."""
        return any(hmac.compare_digest(secret, one) for one in self._secrets.values())

    def derived(self, purpose: bytes) -> dict[str, bytes]:
        """A key for one purpose from each secret, by name."""
        return {name: derived(secret, purpose) for name, secret in self._secrets.items()}


def derived(secret: bytes, purpose: bytes) -> bytes:
    """A key of 32 bytes for one purpose, by HKDF-SHA256 (RFC 5869); from none of them another can be told."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=b"fhirbridge|" + purpose).derive(secret)
