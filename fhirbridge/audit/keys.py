"""The keys of the trail: one that seals its lines, and one under which a name stands in it instead of itself."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_SIZE = 32
_NAME = 32


class Keys:
    """What seals and checks lines. New lines are sealed with the first of ``secrets``; each of them checks.

    Every secret is stretched by HKDF-SHA256 with the clinic's ``domain``, so none of them serves for anything else, and
    the trail of another clinic is never taken for this one. ``names`` is the secret for names, the id key.
    """

    def __init__(self, secrets: Sequence[bytes], names: bytes, domain: str) -> None:
        self._keys = [_derived(secret, f"fhirbridge audit trail|{domain}") for secret in secrets]
        self._names = _derived(names, f"fhirbridge audit names|{domain}")
        self.ids = tuple(_mac(key, b"id")[:8] for key in self._keys)

    def __repr__(self) -> str:
        return f"Keys({', '.join(self.ids)})"

    @property
    def active(self) -> str:
        """The id of the key that seals new lines: says which key it is, nothing about it."""
        return self.ids[0]

    def seal(self, data: bytes) -> str:
        """The MAC of ``data``: HMAC-SHA256, 64 hex digits."""
        return _mac(self._keys[0], data)

    def holds(self, data: bytes, mac: str, key: str | None = None) -> str | None:
        """The id of the key with which ``mac`` seals ``data``; only ``key`` is tried where it is given."""
        for name, one in zip(self.ids, self._keys, strict=True):
            if key in (None, name) and hmac.compare_digest(_mac(one, data).encode(), mac.encode()):
                return name
        return None

    def name(self, *parts: str) -> str:
        """What stands in the trail for an identifier: the same for the same one, and nobody can guess it."""
        return _mac(self._names, "\0".join(parts).encode())[:_NAME]


def _mac(key: bytes, data: bytes) -> str:
    return hmac.digest(key, data, "sha256").hex()


def _derived(secret: bytes, info: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=_SIZE, salt=None, info=info.encode()).derive(secret)
