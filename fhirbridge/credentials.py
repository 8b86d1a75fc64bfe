"""Out of settings and secrets, the way in which a site is told who we are."""

from __future__ import annotations

from collections.abc import Iterable

from fhirbridge.client.auth import (
    Anonymous,
    AskedBearer,
    Authorization,
    Basic,
    ClientCredentials,
    Needs,
    Registered,
    Service,
    SigningKey,
    SmartBackend,
    is_token,
    read_key,
)
from fhirbridge.client.channel import Channel
from fhirbridge.config import (
    BasicAuth,
    BearerAuth,
    ClientCredentialsAuth,
    Config,
    NoAuth,
    Secret,
    SiteSettings,
    SmartBackendAuth,
)
from fhirbridge.errors import ConfigError
from fhirbridge.fhir.order import DELIVERY_ORDER


def authorization(config: Config, settings: SiteSettings, channel: Channel, types: Iterable[str]) -> Authorization:
    """How requests to a site are signed; ``channel`` is for token requests, ``types`` are those of the record kinds.

    Every secret is read once, so that a missing one is told at once: raises :class:`ConfigError`. Nothing is sent yet.
    """
    auth = settings.auth
    match auth:
        case NoAuth():
            return Anonymous()
        case BasicAuth():
            return Basic(auth.user, _text(config, auth.password))
        case BearerAuth():
            return AskedBearer(lambda: _token(config, auth.token))
        case ClientCredentialsAuth():
            post = auth.method == "client_secret_post"
            registered = Registered(auth.client_id, auth.token_url, auth.scope, post)
            return ClientCredentials(channel, registered, lambda: _text(config, auth.secret))
        case SmartBackendAuth():
            origins = frozenset(auth.token_origins)
            wanted = needs(settings, types)
            base = settings.base_url
            service = Service(base, auth.client_id, auth.token_url, origins, auth.scope, wanted, auth.jku)
            return SmartBackend(channel, service, signing_keys(config, auth))


def token_hosts(settings: SiteSettings) -> tuple[str, ...]:
    """The addresses, beside its own, at which a site's tokens are to be had: those that the operator wrote himself."""
    match settings.auth:
        case ClientCredentialsAuth(token_url=url):
            return (url,)
        case SmartBackendAuth(token_url=url, token_origins=origins):
            return origins if url is None else (url, *origins)
        case _:
            return ()


def signing_keys(config: Config, auth: SmartBackendAuth) -> tuple[SigningKey, ...]:
    """The keys of a site, the newest first. Raises :class:`ConfigError`, also where two have one name."""
    found = tuple(read_key(config.secret(one), one.kid) for one in auth.keys)
    if len({one.kid for one in found}) < len(found):
        raise ConfigError("two keys of a site have the same kid", code="config.key", hint="give each its own")
    return found


def needs(settings: SiteSettings, types: Iterable[str]) -> Needs:
    """What is done with resources of each type at a site, in the letters of SMART 2: create, read, update, delete,
    search. To delete belongs to it: a patient may want that when a consent is withdrawn."""
    written = [one for one in DELIVERY_ORDER if one != "Patient"]
    if settings.provenance != "never":
        written.append("Provenance")
    found = dict.fromkeys(["Patient", *settings.directory, *settings.types], "rs")
    return found | dict.fromkeys([*written, *types], "cruds")


def _token(config: Config, secret: Secret) -> str:
    try:
        token = config.secret(secret).decode("ascii")
    except UnicodeDecodeError:
        token = ""
    if not is_token(token):
        raise ConfigError("the token holds characters a bearer token cannot have", code="config.token")
    return token


def _text(config: Config, secret: Secret) -> str:
    try:
        return config.secret(secret).decode()
    except UnicodeDecodeError:
        raise ConfigError("a password or client secret is no text", code="config.secret") from None
