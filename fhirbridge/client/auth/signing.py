"""Keys that sign assertions: RS384 and ES384, which SMART wants of every client, as PEM or JWK; their public half."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from fhirbridge.client.auth.sealed import Sealed
from fhirbridge.errors import ConfigError, JsonError
from fhirbridge.fhir.json import parse_object

Algorithm: TypeAlias = Literal["RS384", "ES384"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
# Bits. NIST SP 800-57 counts on 2048 until 2030, on 3072 after that.
_SMALLEST_RSA = 2048
_NEW_RSA = 3072
_HINT = "fhirbridge keys new makes one"
_NEITHER = "it is neither RSA (RS384) nor on the curve P-384 (ES384)"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class SigningKey(Sealed):
    """A private key. ``kid`` is what the hospital knows it by."""

    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = field(repr=False)
    kid: str

    @property
    def algorithm(self) -> Algorithm:
        """What it signs with, which its type says."""
        return "RS384" if isinstance(self.private, rsa.RSAPrivateKey) else "ES384"

    def public(self) -> dict[str, Any]:
        """The public half as a JWK (RFC 7517), as a hospital wants it."""
        use = {"use": "sig", "key_ops": ["verify"], "alg": self.algorithm, "kid": self.kid}
        return {**_public_members(self.private), **use}

    def pem(self) -> bytes:
        """The private key as PKCS #8, for the file that it is kept in."""
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def new_key(algorithm: Algorithm) -> SigningKey:
    """A key that nobody had before."""
    if algorithm == "ES384":
        return _named(ec.generate_private_key(ec.SECP384R1()), None)
    return _named(rsa.generate_private_key(public_exponent=65537, key_size=_NEW_RSA), None)


def read_key(data: bytes, kid: str | None = None) -> SigningKey:
    """A private key out of PEM or a JWK, known by ``kid``, else by the JWK's own, else by its thumbprint (RFC 7638).

    Raises :class:`ConfigError`: no key, a public one, an encrypted one, a type that signs neither RS384 nor ES384.
    """
    private, own = _from_jwk(data) if data.lstrip().startswith(b"{") else (_from_pem(data), None)
    if isinstance(private, rsa.RSAPrivateKey):
        if private.key_size < _SMALLEST_RSA:
            raise _wrong(f"an RSA key has {_SMALLEST_RSA} bits or more")
    elif not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP384R1):
        raise _wrong(_NEITHER)
    return _named(private, kid or own)


def _from_pem(data: bytes) -> Any:
    try:
        return serialization.load_pem_private_key(data, password=None)
    except TypeError:
        raise _wrong("the key is locked by a password", "keep it unlocked in a keyring or vault instead") from None
    except (ValueError, UnsupportedAlgorithm):
        raise _wrong("there is no private key in it, as PEM or JWK") from None


def _from_jwk(data: bytes) -> tuple[Any, str | None]:
    try:
        members = parse_object(data)
        kid = members.get("kid")
        if not isinstance(members.get("d"), str) or not isinstance(kid, str | None):
            raise _wrong("the JWK is not that of a private key")
        match members.get("kty"):
            case "RSA":
                return RSAAlgorithm.from_jwk(members), kid
            case "EC":
                return ECAlgorithm.from_jwk(members), kid
            case _:
                raise _wrong(_NEITHER)
    except (JsonError, jwt.InvalidKeyError, ValueError, TypeError, UnsupportedAlgorithm):
        raise _wrong("the JWK is broken") from None


def _named(private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, kid: str | None) -> SigningKey:
    return SigningKey(private, kid or _thumbprint(_public_members(private)))


def _public_members(private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> dict[str, str]:
    """Those members of the JWK that make the public key, and no other."""
    if isinstance(private, rsa.RSAPrivateKey):
        made = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
        return {name: made[name] for name in ("kty", "n", "e")}
    made = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
    return {name: made[name] for name in ("kty", "crv", "x", "y")}


def _thumbprint(members: dict[str, str]) -> str:
    text = json.dumps(members, separators=(",", ":"), sort_keys=True)
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode("ascii")


def _wrong(reason: str, hint: str = _HINT) -> ConfigError:
    return ConfigError(f"a signing key cannot be used: {reason}", code="config.key", hint=hint)
