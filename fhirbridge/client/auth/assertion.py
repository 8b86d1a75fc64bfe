"""The assertion that stands in the place of a password: a JWT signed for one token request (SMART, RFC 7523 §3)."""

from __future__ import annotations

import secrets
import time

import jwt

from fhirbridge.client.auth.signing import SigningKey

# Seconds. A server takes 300 at most and 1 at least: in the middle a clock may be off by this much either way.
LIFE = 150
_RANDOM_BYTES = 24


def new_jti() -> str:
    """A name that no assertion had or will have.

    192 bits come from the kernel's generator at each call. No state of it is kept in this process, so a fork has
    nothing to copy, and a restart nothing to begin again; among 10^15 draws two are alike with a chance below 10^-27.
    The moment stands beside them for the one case in which the kernel itself is a copy: a machine restored from a
    snapshot, twice.
    """
    return f"{time.time_ns():x}.{secrets.token_hex(_RANDOM_BYTES)}"


def assertion(key: SigningKey, client_id: str, audience: str, now: float, jku: str | None = None) -> str:
    """A signed assertion for the token endpoint ``audience``; ``now`` is the endpoint's own time in epoch seconds.

    ``iat`` and ``nbf`` are left out: SMART asks for neither, and a server whose clock is slow refuses them.
    """
    claims = {"iss": client_id, "sub": client_id, "aud": audience, "exp": int(now) + LIFE, "jti": new_jti()}
    headers = {"kid": key.kid, "typ": "JWT"} | ({"jku": jku} if jku is not None else {})
    return jwt.encode(claims, key.private, algorithm=key.algorithm, headers=headers)
