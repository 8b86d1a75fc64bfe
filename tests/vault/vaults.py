"""Vaults for tests: the keys are public."""

from __future__ import annotations

from fhirbridge.config import DEMO_DOMAIN, DEMO_ID_KEY, DEMO_VAULT_KEY
from fhirbridge.vault import Ring, Vault

DOMAIN = DEMO_DOMAIN
SECRETS = {
    "demo": DEMO_VAULT_KEY,
    "2026-11": b"the vault key of a test, no secret",
    "2027-01": b"the next vault key of a test, no secret",
}


def ring(active: str = "demo", *others: str) -> Ring:
    """A ring of some of the secrets."""
    return Ring(active, {name: SECRETS[name] for name in (active, *others)})


def vault_of(id_key: bytes = DEMO_ID_KEY, active: str = "demo", *others: str) -> Vault:
    """The vault of the demo, or of another id key, or with other keys in its ring."""
    return Vault(ring(active, *others), id_key=id_key, domain=DOMAIN)
