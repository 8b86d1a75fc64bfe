"""The link between people and their pseudonyms, sealed: written only when somebody asks for it.

A link file lets the clinic find a person again (an incidental finding, a withdrawal). It is encrypted with AES-256-GCM
under a key of its own, which is neither the project's nor kept beside it; without that key it tells how many people it
is about, roughly, and nothing else.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fhirbridge.errors import ConfigError, SourceError
from fhirbridge.fhir.json import canonical, parse_object

KEY_BYTES = 32
_MAGIC = b"fhirbridge link 1\n"
_NONCE = 12
# Files are filled up to a multiple of this, so that their size does not count the people to the last one.
_BLOCK = 4096


def seal(links: Mapping[str, str], key: bytes, project: str) -> bytes:
    """The sealed bytes of pseudonym → identity. ``key`` are 32 random bytes; raises :class:`ConfigError` otherwise."""
    text = canonical(dict(links))
    nonce = secrets.token_bytes(_NONCE)
    filled = text + b" " * (-len(text) % _BLOCK)
    return _MAGIC + nonce + _cipher(key).encrypt(nonce, filled, _bound(project))


def open_sealed(data: bytes, key: bytes, project: str) -> dict[str, str]:
    """What :func:`seal` sealed. Raises :class:`SourceError` for another key, project or file, or a changed byte."""
    if not data.startswith(_MAGIC):
        raise SourceError("not a link file", code="source.link", hint="name the file that was written as one")
    start = len(_MAGIC)
    try:
        text = _cipher(key).decrypt(data[start : start + _NONCE], data[start + _NONCE :], _bound(project))
    except (InvalidTag, ValueError):
        raise SourceError(
            "the link file does not open: another key or project, or it was changed",
            code="source.link",
            hint="use the key that it was sealed with",
        ) from None
    return {name: str(value) for name, value in parse_object(text).items()}


def _bound(project: str) -> bytes:
    return _MAGIC + project.encode()


def _cipher(key: bytes) -> AESGCM:
    if len(key) != KEY_BYTES:
        raise ConfigError(f"a link key has {KEY_BYTES} bytes", code="config.link_key")
    return AESGCM(key)
