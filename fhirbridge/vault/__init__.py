"""Sealing what is at rest: a ring of keys, AES-256-GCM bound to clinic, place and owner, keyed hashes and marks."""

from __future__ import annotations

from fhirbridge.vault.keys import NAME, SHORTEST_SECRET, Ring
from fhirbridge.vault.vault import Vault, key_named

__all__ = ["NAME", "SHORTEST_SECRET", "Ring", "Vault", "key_named"]
