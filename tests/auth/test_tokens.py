"""The token endpoint of these tests bites: each rule that is broken is found, by name, and nothing is issued."""

from __future__ import annotations

import secrets
import time
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest

from fhirbridge.client.auth.signing import SigningKey
from tests.auth.tokens import ASSERTION, FORM, Tokens
from tests.client.server import Request

HEADERS = {"content-type": FORM}


def asked(tokens: Tokens, form: dict[str, str], headers: dict[str, str] = HEADERS, **more: Any) -> str:
    """The verdict on one request."""
    request = Request(more.get("method", "POST"), more.get("path", "auth/token"), headers, urlencode(form).encode())
    reply = tokens.answer(request)
    assert reply is not None
    assert (reply.status == 200) == (tokens.verdicts[-1] == "issued")
    return tokens.verdicts[-1]


def form_of(key: SigningKey, tokens: Tokens, headers: dict[str, Any] | None = None, **claims: Any) -> dict[str, str]:
    """A right token request, but for what is given; a claim that is ``None`` is left out."""
    now = int(time.time())
    said = {"iss": tokens.client_id, "sub": tokens.client_id, "aud": tokens.url, "exp": now + 200}
    said = {name: one for name, one in {**said, "jti": secrets.token_hex(16), **claims}.items() if one is not None}
    head = {"kid": key.kid, "typ": "JWT", **(headers or {})}
    text = jwt.encode(said, key.private, algorithm=key.algorithm, headers=head)
    return {
        "grant_type": "client_credentials", "scope": "system/Observation.cu",
        "client_assertion_type": ASSERTION, "client_assertion": text,
    }  # fmt: skip


@pytest.mark.parametrize("algorithm", ["es", "rs"])
def test_a_right_request_gets_a_token(tokens: Tokens, algorithm: str, request: pytest.FixtureRequest) -> None:
    key = request.getfixturevalue(algorithm)
    tokens.know(key)
    assert asked(tokens, form_of(key, tokens)) == "issued"


@pytest.mark.parametrize(
    ("claims", "rule"),
    [
        ({"iss": "somebody"}, "iss"),
        ({"sub": "somebody"}, "sub"),
        ({"aud": "https://elsewhere.example/token"}, "aud"),
        ({"aud": None}, "aud"),
        ({"exp": 1}, "expired"),
        ({"exp": int(time.time()) + 100_000}, "exp too late"),
        ({"exp": None}, "exp missing"),
        ({"iat": int(time.time()) + 100_000}, "not yet"),
        ({"nbf": int(time.time()) + 100_000}, "not yet"),
        ({"jti": None}, "jti missing"),
        ({"jti": ""}, "jti missing"),
    ],
)
def test_a_wrong_claim_is_found(tokens: Tokens, es: SigningKey, claims: dict[str, Any], rule: str) -> None:
    tokens.know(es)
    assert asked(tokens, form_of(es, tokens, **claims)) == rule


def test_a_wrong_header_a_foreign_key_and_a_second_use_are_found(
    tokens: Tokens, es: SigningKey, es2: SigningKey, rs: SigningKey
) -> None:
    tokens.know(es)
    assert asked(tokens, form_of(es, tokens, {"typ": "at+jwt"})) == "typ"
    assert asked(tokens, form_of(es, tokens, {"kid": "other"})) == "kid"
    assert asked(tokens, form_of(es, tokens, {"jku": "https://evil.example"})) == "jku"
    assert asked(tokens, form_of(es2, tokens, {"kid": es.kid})) == "signature"
    assert asked(tokens, form_of(rs, tokens, {"kid": es.kid})) == "alg"
    tokens.algorithms = ("RS384",)
    assert asked(tokens, form_of(es, tokens)) == "alg"
    tokens.algorithms = ("ES384",)
    once = form_of(es, tokens)
    assert [asked(tokens, once), asked(tokens, once)] == ["issued", "jti seen"]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"grant_type": "password"}, "grant type"),
        ({"client_assertion_type": "jwt"}, "assertion type"),
        ({"client_assertion": "none"}, "no assertion"),
        ({"scope": ""}, "no scope"),
        ({"scope": "system/Observation.uc"}, "scope syntax"),
        ({"scope": "patient/Observation.cu"}, "scope syntax"),
        ({"client_id": "twice"}, "more parameters"),
    ],
)
def test_a_wrong_form_is_found(tokens: Tokens, es: SigningKey, change: dict[str, str], rule: str) -> None:
    tokens.know(es)
    assert asked(tokens, form_of(es, tokens) | change) == rule


def test_a_wrong_request_is_found(tokens: Tokens, es: SigningKey) -> None:
    tokens.know(es)
    right = form_of(es, tokens)
    assert asked(tokens, right, method="GET") == "method"
    assert asked(tokens, right, path="auth/token?scope=x") == "query"
    assert asked(tokens, right, {"content-type": "application/json"}) == "content type"
    assert asked(tokens, right, {**HEADERS, "authorization": "Basic eDp5"}) == "two ways at once"
