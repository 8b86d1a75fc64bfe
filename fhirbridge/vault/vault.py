"""The vault of one clinic: what it seals can be read, moved or changed by nobody without its keys.

**Sealing** is AES-256-GCM. The key is derived for one owner (a patient, by the key of the lane; "" for the clinic) from
the secret and the clinic's domain; what is sealed is bound to its place (table, number, whatever else must not change)
as associated data. So a sealed value opens for this clinic, this owner and this place alone.

A nonce must never come twice under one key. It is 96 random bits, which is safe for 2**32 values under one key (NIST SP
800-38D, 8.3: a repetition is then less likely than 2**-32); since each patient has a key of its own, no clinic comes
near it: a thousand values for each of a million patients repeat with a probability below 2**-57. A fresh key for each
value would cost one more HMAC each and is needed for no number that a ledger can hold.

**Tokens** (for looking up) and **marks** (for finding edits) are keyed BLAKE2b under keys derived from the id key. They
do not change when vault keys are rotated: the id key never is.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import blake2b, sha256
from types import MappingProxyType
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fhirbridge.errors import VaultError
from fhirbridge.vault.keys import Ring, derived

_FORM = b"\x01"
_NONCE = 12
_MARK = 16
# Patients whose derived keys are kept ready.
_READY = 8_192
_encode = msgspec.msgpack.Encoder().encode


class Vault:
    """Seals and opens, under the keys of ``ring``; ``id_key`` and ``domain`` are the clinic's. Safe for threads.

    Raises :class:`VaultError` (``vault.same_key``) where the id key is one of the ring's secrets: who may read what is
    stored could then also guess addresses, and a rotation would change them.
    """

    def __init__(self, ring: Ring, *, id_key: bytes, domain: str) -> None:
        if ring.holds(id_key):
            raise VaultError(
                "the id key is a vault key as well",
                code="vault.same_key",
                hint="make a vault key of its own: fhirbridge keys secret; the id key stays as it is",
            )
        self.active = ring.active
        self.names = ring.names
        self.id_check = hmac.new(id_key, b"fhirbridge ledger key check", sha256).hexdigest()[:32]
        self.checks: Mapping[str, str] = MappingProxyType(
            {name: key.hex()[:32] for name, key in ring.derived(b"vault check|" + domain.encode()).items()}
        )
        self._masters = ring.derived(b"vault|" + domain.encode())
        self.prefix = header(ring.active)
        self._token = blake2b(key=derived(id_key, b"tokens|" + domain.encode()), digest_size=_MARK)
        self._mark = blake2b(key=derived(id_key, b"marks|" + domain.encode()), digest_size=_MARK)
        self._cipher: Callable[[str, str], AESGCM] = lru_cache(_READY)(self._derive)

    def __repr__(self) -> str:
        return f"Vault(active={self.active!r}, names={list(self.names)!r})"

    def _derive(self, name: str, owner: str) -> AESGCM:
        # HKDF-Expand of one block (RFC 5869, 2.3), by hand: the library's takes ten times as long.
        return AESGCM(hmac.digest(self._masters[name], b"owner|" + owner.encode() + b"\x01", "sha256"))

    def seal(self, owner: str, place: tuple[Any, ...], plain: bytes) -> bytes:
        """``plain`` under the active key, to be opened for the same owner and place alone.

        ``place`` is made of text, numbers, booleans and None.
        """
        nonce = os.urandom(_NONCE)
        return self.prefix + nonce + self._cipher(self.active, owner).encrypt(nonce, plain, _encode(place))

    def open(self, owner: Any, place: tuple[Any, ...], sealed: Any) -> bytes:
        """What was sealed: bytes, for an owner by its name; whatever else a database gives back was edited.

        Raises :class:`VaultError`: ``vault.unknown_key`` where its key is not in the ring, ``vault.broken`` where it
        was changed, belongs elsewhere, or the key's secret is another one. Nothing is ever read in part.
        """
        if not isinstance(sealed, bytes) or not isinstance(owner, str):
            raise broken()
        if sealed.startswith(self.prefix):
            name, start = self.active, len(self.prefix)
        else:
            name = key_named(sealed)
            start = len(name) + 2
            if name not in self._masters:
                raise VaultError(
                    f"it is sealed under the key {name}, which is not in the ring",
                    code="vault.unknown_key",
                    hint=f"add [vault.key.{name}] to the configuration",
                )
        nonce = sealed[start : start + _NONCE]
        try:
            return self._cipher(name, owner).decrypt(nonce, sealed[start + _NONCE :], _encode(place))
        except (InvalidTag, ValueError):
            raise broken() from None

    def token(self, text: str) -> str:
        """A keyed hash to look ``text`` up by; the same for the same text, and nobody without the id key can guess."""
        hashed = self._token.copy()
        hashed.update(text.encode())
        return hashed.hexdigest()

    def mark(self, said: tuple[Any, ...]) -> bytes:
        """What proves that nobody without the id key wrote ``said``: 16 bytes."""
        hashed = self._mark.copy()
        hashed.update(_encode(said))
        return hashed.digest()

    def marked(self, said: tuple[Any, ...], mark: bytes | None) -> bool:
        """Whether ``mark`` is that of ``said``."""
        return isinstance(mark, bytes) and hmac.compare_digest(self.mark(said), mark)


def key_named(sealed: bytes) -> str:
    """The name of the key under which something was sealed. Raises :class:`VaultError` (``vault.broken``)."""
    try:
        length = sealed[1]
        name = sealed[2 : 2 + length].decode("ascii")
    except (IndexError, UnicodeDecodeError):
        raise broken() from None
    if sealed[:1] != _FORM or not name.isprintable() or len(name) != length:
        raise broken()
    return name


def header(name: str) -> bytes:
    """What everything begins with that is sealed under the key ``name``."""
    return _FORM + bytes([len(name)]) + name.encode("ascii")


def broken() -> VaultError:
    """What is raised where something does not open."""
    return VaultError(
        "a sealed value does not open",
        code="vault.broken",
        hint="it was changed or moved, or its key's secret is another one: restore both from the backup",
    )
