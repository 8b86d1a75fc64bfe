"""How a site is told who we are: ``[site.NAME.auth]``, one table for each way."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, field_validator
from pydantic_core import PydanticCustomError

from fhirbridge.config.secret import Secret
from fhirbridge.config.table import Table, Url
from fhirbridge.loopback import in_clear
from fhirbridge.origins import origin_of

ClientId = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=r"^[\x20-\x7e]+$")]
# RFC 6749 §3.3.
Scope = Annotated[
    str, StringConstraints(max_length=8192, pattern=r"^[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*$")
]
Kid = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[\x21-\x7e]+$")]


def _guarded(url: str) -> str:
    if origin_of(url) is None:
        raise PydanticCustomError("token_url", "not the plain address of a token endpoint")
    if in_clear(url):
        raise PydanticCustomError("token_in_clear", "a token would travel unencrypted")
    return url


def _origin(text: str) -> str:
    origin = origin_of(text)
    if origin is None or urlsplit(text).path.strip("/") or "?" in text:
        raise PydanticCustomError("token_origins", "an origin is a scheme, a host and perhaps a port")
    return _guarded(origin)


TokenUrl = Annotated[Url, AfterValidator(_guarded)]
Origin = Annotated[str, AfterValidator(_origin)]


class NoAuth(Table):
    """Nobody has to say who he is."""

    kind: Literal["none"] = "none"


class BasicAuth(Table):
    """A user and a password, sent with every request (RFC 7617)."""

    kind: Literal["basic"]
    user: Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^:\x00-\x1f\x7f]+$")]
    password: Secret


class BearerAuth(Table):
    """A token that somebody else obtains; where its place is a file or a command, it is asked for anew in time."""

    kind: Literal["bearer"]
    token: Secret


class ClientCredentialsAuth(Table):
    """OAuth 2.0 client credentials: a secret for a token (RFC 6749 §4.4)."""

    kind: Literal["client-credentials"]
    client_id: ClientId
    secret: Secret
    token_url: TokenUrl
    scope: Scope | None = None
    method: Literal["client_secret_basic", "client_secret_post"] = "client_secret_basic"


class KeySettings(Secret):
    """One of ``keys``: the place of a private key (PEM or JWK), and what the hospital calls it."""

    kid: Kid | None = None


class SmartBackendAuth(Table):
    """SMART Backend Services: an assertion signed with a key of our own, for a token. The newest key comes first."""

    kind: Literal["smart-backend"]
    client_id: ClientId
    keys: Annotated[tuple[KeySettings, ...], Field(min_length=1, max_length=8)]
    token_url: TokenUrl | None = None
    token_origins: tuple[Origin, ...] = ()
    scope: Scope | None = None
    jku: Annotated[Url, StringConstraints(pattern=r"^https://")] | None = None

    @field_validator("keys", mode="before")
    @classmethod
    def _one_alone(cls, value: Any) -> Any:
        return (value,) if isinstance(value, dict) else value


AuthSettings: TypeAlias = Annotated[
    NoAuth | BasicAuth | BearerAuth | ClientCredentialsAuth | SmartBackendAuth, Field(discriminator="kind")
]
AUTH_KINDS: dict[str, type[Table]] = {
    "none": NoAuth,
    "basic": BasicAuth,
    "bearer": BearerAuth,
    "client-credentials": ClientCredentialsAuth,
    "smart-backend": SmartBackendAuth,
}
