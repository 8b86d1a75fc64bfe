"""A token endpoint that checks every rule of SMART Backend Services, in front of the small FHIR server.

It answers for the server through ``misbehave``: the SMART configuration and ``/auth/token`` itself, and every FHIR
request that has no token of its own with 401. Rules: SMART App Launch 2.2 "Asymmetric client authentication" and
"Backend Services"; RFC 7523 §3; RFC 6749 §4.4, §5.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import jwt

from fhirbridge.client.auth.signing import SigningKey
from tests.client.server import FakeServer, Reply, Request

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LONGEST = 300
SCOPE = re.compile(r"system/(\*|[A-Z][A-Za-z]+)\.(read|write|\*|(?=[cruds])c?r?u?d?s?)")
WELL_KNOWN, ENDPOINT = ".well-known/smart-configuration", "auth/token"


class Wrong(Exception):
    """A rule that a token request broke: the error of RFC 6749 §5.2, and which rule, in a word."""

    def __init__(self, error: str, rule: str) -> None:
        super().__init__(f"{error}: {rule}")
        self.error, self.rule = error, rule


@dataclass
class Tokens:
    """The endpoint. What may be changed while it runs: ``jwks`` (public JWKs), ``life`` (``expires_in``, in seconds,
    not sent if ``None``), ``granted`` (what is granted of a scope), ``version`` of the scopes, ``algorithms``,
    ``says`` (the endpoint that the SMART configuration names), ``instead`` (answers to give first in its place),
    ``more`` (members added to its answers), ``clock`` (epoch seconds).

    ``verdicts`` has a word for each token request: ``issued`` or the rule that it broke. ``sent`` counts FHIR requests
    that were let through, ``turned_away`` those answered with 401.
    """

    client_id: str = "fhirbridge-at-the-clinic"
    secret: str | None = None
    jwks: list[dict[str, Any]] = field(default_factory=list)
    jku: str | None = None
    life: int | None = 300
    granted: Callable[[str], str | None] = lambda scope: scope
    version: int = 2
    algorithms: tuple[str, ...] = ("RS384", "ES384")
    says: str | None = None
    smart: bool = True
    guards: bool = True
    instead: deque[Reply] = field(default_factory=deque)
    more: dict[str, Any] = field(default_factory=dict)
    clock: Callable[[], float] = time.time
    verdicts: list[str] = field(default_factory=list)
    scopes: list[str] = field(default_factory=list)
    sent: int = 0
    turned_away: int = 0
    url: str = ""
    _seen: set[str] = field(default_factory=set)
    _valid: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def guard(self, server: FakeServer) -> None:
        """Stand before a server that runs."""
        self.url = f"{server.base}/{ENDPOINT}"
        server.misbehave = self.answer

    def know(self, *keys: SigningKey) -> None:
        """Let these keys, and no others, be those of the client."""
        self.jwks = [one.public() for one in keys]

    def revoke(self) -> None:
        """No token that was given out is good any more."""
        with self._lock:
            self._valid.clear()

    def answer(self, request: Request) -> Reply | None:
        """The answer to a request; ``None`` for those that the server may answer."""
        path = request.path.partition("?")[0]
        if path == WELL_KNOWN:
            return self._configuration()
        if path == ENDPOINT:
            with self._lock:
                return self._token(request)
        return self._guarded(request)

    def _configuration(self) -> Reply:
        if not self.smart:
            return Reply(404)
        said = {
            "token_endpoint": self.says or self.url,
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": list(self.algorithms),
            "grant_types_supported": ["client_credentials"],
            "capabilities": ["client-confidential-asymmetric", f"permission-v{self.version}"],
        }
        return Reply(body=json.dumps(said).encode(), content_type=JSON)

    def _guarded(self, request: Request) -> Reply | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        with self._lock:
            until = self._valid.get(token) if scheme == "Bearer" else None
            if not self.guards or (until is not None and self.clock() < until):
                self.sent += 1
                return None
            self.turned_away += 1
        return Reply(401, headers={"WWW-Authenticate": "Bearer"})

    def _token(self, request: Request) -> Reply:
        if self.instead:
            self.verdicts.append("instead")
            return self.instead.popleft()
        try:
            scope = self._checked(request)
        except Wrong as wrong:
            self.verdicts.append(wrong.rule)
            # What it describes quotes the client, as servers do: nobody may repeat it.
            said = {"error": wrong.error, "error_description": f"canary-description {request.body.decode()}"}
            return Reply(401 if wrong.error == "invalid_client" else 400, json.dumps(said).encode(), content_type=JSON)
        self.verdicts.append("issued")
        self.scopes.append(scope)
        token = secrets.token_urlsafe(32)
        self._valid[token] = self.clock() + (self.life or LONGEST)
        answer: dict[str, Any] = {"access_token": token, "token_type": "bearer"}
        answer |= {} if self.life is None else {"expires_in": self.life}
        granted = self.granted(scope)
        answer |= {} if granted is None else {"scope": granted}
        return Reply(
            body=json.dumps(answer | self.more).encode(), headers={"Cache-Control": "no-store"}, content_type=JSON
        )

    def _checked(self, request: Request) -> str:
        """The scope that was asked for. Raises :class:`Wrong`."""
        _need(request.method == "POST", "invalid_request", "method")
        _need(request.headers.get("content-type") == FORM, "invalid_request", "content type")
        _need("?" not in request.path, "invalid_request", "query")
        pairs = parse_qsl(request.body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
        form = dict(pairs)
        _need(len(form) == len(pairs), "invalid_request", "repeated parameter")
        _need(form.pop("grant_type", None) == "client_credentials", "unsupported_grant_type", "grant type")
        scope = form.pop("scope", "")
        if self.secret is None:
            self._asserted(form, request)
            _need(bool(scope), "invalid_scope", "no scope")
        else:
            self._knows_secret(form, request)
        _need(not form, "invalid_request", "more parameters")
        _need(all(SCOPE.fullmatch(one) for one in scope.split(" ") if scope), "invalid_scope", "scope syntax")
        return scope

    def _knows_secret(self, form: dict[str, str], request: Request) -> None:
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if scheme == "Basic":
            _need("client_secret" not in form, "invalid_request", "two ways at once")
            user, _, password = base64.b64decode(value).decode("ascii").partition(":")
            user, password = unquote_plus(user), unquote_plus(password)
        else:
            user, password = form.pop("client_id", ""), form.pop("client_secret", "")
        _need((user, password) == (self.client_id, self.secret), "invalid_client", "secret")

    def _asserted(self, form: dict[str, str], request: Request) -> None:
        _need("authorization" not in request.headers, "invalid_request", "two ways at once")
        _need(form.pop("client_assertion_type", None) == ASSERTION, "invalid_request", "assertion type")
        text = form.pop("client_assertion", "")
        try:
            header = jwt.get_unverified_header(text)
        except jwt.PyJWTError:
            raise Wrong("invalid_request", "no assertion") from None
        _need(header.get("typ") == "JWT", "invalid_client", "typ")
        _need(header.get("jku") == self.jku, "invalid_client", "jku")
        key = next((one for one in self.jwks if one["kid"] == header.get("kid")), None)
        if key is None:
            raise Wrong("invalid_client", "kid")
        _need(header.get("alg") == key["alg"] and header["alg"] in self.algorithms, "invalid_client", "alg")
        try:
            claims = jwt.decode(
                text,
                jwt.PyJWK(key),
                algorithms=[key["alg"]],
                options={
                    "verify_aud": False,
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                    "verify_sub": False,
                    "verify_jti": False,
                },
            )
        except jwt.PyJWTError:
            raise Wrong("invalid_client", "signature") from None
        self._claims(claims)

    def _claims(self, claims: dict[str, Any]) -> None:
        now = self.clock()
        _need(claims.get("iss") == self.client_id, "invalid_client", "iss")
        _need(claims.get("sub") == self.client_id, "invalid_client", "sub")
        _need(claims.get("aud") == self.url, "invalid_client", "aud")
        exp = claims.get("exp")
        if not isinstance(exp, int):
            raise Wrong("invalid_client", "exp missing")
        _need(exp > now, "invalid_client", "expired")
        _need(exp <= now + LONGEST, "invalid_client", "exp too late")
        _need(all(claims.get(name, 0) <= now for name in ("iat", "nbf")), "invalid_client", "not yet")
        jti = claims.get("jti")
        if not isinstance(jti, str) or not jti or len(jti) > 255:
            raise Wrong("invalid_client", "jti missing")
        _need(jti not in self._seen, "invalid_client", "jti seen")
        self._seen.add(jti)


def _need(so: bool, error: str, rule: str) -> None:
    if not so:
        raise Wrong(error, rule)


def busy(status: int, retry_after: str | None = None) -> Reply:
    """What a throttled endpoint answers."""
    return Reply(status, headers={} if retry_after is None else {"Retry-After": retry_after})


class Ticks:
    """A clock in steps: it stands still until it is told to go on."""

    def __init__(self, start: float = 0.0) -> None:
        self.now = start

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
