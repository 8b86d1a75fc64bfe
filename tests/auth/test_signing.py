"""Keys and assertions: both algorithms, both forms, and nothing private in what a hospital gets."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from fhirbridge.client.auth.assertion import assertion
from fhirbridge.client.auth.signing import SigningKey, new_key, read_key
from fhirbridge.errors import ConfigError
from tests.auth.jti import skewed

ROOT = Path(__file__).resolve().parents[2]
PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}


def test_a_new_key_comes_back_from_its_file() -> None:
    key = new_key("ES384")
    back = read_key(key.pem())
    assert (back.kid, back.algorithm, back.public()) == (key.kid, "ES384", key.public())


@pytest.mark.parametrize("sort", ["es", "rs"])
def test_a_jwk_is_a_key_with_its_own_name(sort: str, request: pytest.FixtureRequest) -> None:
    key: SigningKey = request.getfixturevalue(sort)
    made = RSAAlgorithm if sort == "rs" else ECAlgorithm
    members = json.loads(made.to_jwk(key.private))  # type: ignore[arg-type]
    assert read_key(json.dumps({**members, "kid": "hospital-7"}).encode()).kid == "hospital-7"
    assert read_key(json.dumps({**members, "kid": "hospital-7"}).encode(), "ours").kid == "ours"
    assert read_key(json.dumps(members).encode()).public()["kid"] == read_key(key.pem()).kid


@pytest.mark.parametrize("sort", ["es", "rs"])
def test_the_public_half_verifies_and_holds_nothing_private(sort: str, request: pytest.FixtureRequest) -> None:
    key: SigningKey = request.getfixturevalue(sort)
    public = key.public()
    assert not PRIVATE & public.keys()
    text = assertion(key, "c", "https://h.example/token", time.time(), "https://c.example/jwks.json")
    claims = jwt.decode(text, jwt.PyJWK(public), algorithms=[key.algorithm], audience="https://h.example/token")
    assert set(claims) == {"iss", "sub", "aud", "exp", "jti"}
    assert jwt.get_unverified_header(text) == {
        "alg": key.algorithm, "kid": key.kid, "typ": "JWT", "jku": "https://c.example/jwks.json",
    }  # fmt: skip


def test_the_thumbprint_is_that_of_the_rfc() -> None:
    """RFC 7638 §3.1 says which name a key has; PyJWT, which does not make them, reads the key of that example."""
    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3okn"
        "jhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6q"
        "MQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awap"
        "JzKnqDKgw"
    )
    from fhirbridge.client.auth.signing import _thumbprint

    assert _thumbprint({"n": modulus, "kty": "RSA", "e": "AQAB"}) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def pem(key: object, password: bytes | None = None) -> bytes:
    sealed = serialization.NoEncryption() if password is None else serialization.BestAvailableEncryption(password)
    text: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealed)  # type: ignore[attr-defined]
    return text


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: pem(ec.generate_private_key(ec.SECP256R1())), "P-384"),
        (lambda: pem(ed25519.Ed25519PrivateKey.generate()), "P-384"),
        (lambda: pem(rsa.generate_private_key(65537, 1024)), "2048"),  # noqa: S505 - too small on purpose
        (lambda: pem(ec.generate_private_key(ec.SECP384R1()), b"canary-password"), "locked"),
        (lambda: new_key("ES384").private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo), "no private key"),
        (lambda: json.dumps(new_key("ES384").public()).encode(), "private"),
        (lambda: b'{"kty": "oct", "k": "canary", "d": "x"}', "neither"),
        (lambda: b'{"kty": "EC", "d": "canary", "crv": "P-384"}', "broken"),
        (lambda: b'{"kty": "EC", "kty": "RSA"}', "broken"),
        (lambda: b"{", "broken"),
        (lambda: b"canary", "no private key"),
        (lambda: b"", "no private key"),
        (lambda: b"\xff\xfe\x00", "no private key"),
    ],
)  # fmt: skip
def test_what_signs_neither_way_is_refused_without_being_quoted(make: object, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        read_key(make())  # type: ignore[operator]
    assert caught.value.code == "config.key"
    assert "canary" not in str(caught.value)


def test_no_jti_comes_twice_whoever_draws_it() -> None:
    """In processes that were forked after the first draw, and in those that were not. The whole size, with 2,000
    assertions under clocks that are off, is ``python -m tests.auth.jti``."""
    size = ["--count", "2000", "--processes", "2", "--assertions", "20"]
    command = [sys.executable, "-m", "tests.auth.jti", *size]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": 0 repeated") == 2
    assert "20 taken" in done.stdout


def test_assertions_are_good_under_a_clock_that_is_off(es: SigningKey, rs: SigningKey) -> None:
    assert skewed(40, [es, rs]) == 40
