"""The connections of a site as its configuration has them: TLS, addresses, proxy."""

from __future__ import annotations

from pathlib import Path

from fhirbridge.client.channel import Channel
from fhirbridge.client.network import Network
from fhirbridge.client.tls import Tls
from fhirbridge.config import Config, SiteSettings
from fhirbridge.errors import ConfigError

# Seconds for a whole token request, bytes of its answer.
_TOKEN_DEADLINE = 60.0
_TOKEN_BODY = 1 << 20


def connections(config: Config, settings: SiteSettings, *token_urls: str) -> tuple[Channel, Channel]:
    """A channel for the site's requests, and one with bounds that fit a token for those to its token endpoint.

    Both keep to the same rules and show the same certificate. The hosts of ``token_urls`` count as configured, as that
    of ``base_url`` does. Raises :class:`ConfigError` where a file or a secret cannot be used.
    """
    tls, network = _tls(config, settings), _network(config, settings).trusting(settings.base_url, *token_urls)
    timeout = settings.timeout
    return (
        Channel(tls=tls, network=network, timeout=timeout, max_body=settings.max_body),
        Channel(tls=tls, network=network, timeout=timeout, deadline=_TOKEN_DEADLINE, max_body=_TOKEN_BODY),
    )


def _tls(config: Config, settings: SiteSettings) -> Tls:
    said = settings.tls
    password = None if said.key_password is None else config.secret(said.key_password)
    ca, certificate, key = (_beside(config, path) for path in (said.ca, said.certificate, said.key))
    return Tls(ca, said.pins, certificate, key, password)


def _network(config: Config, settings: SiteSettings) -> Network:
    said = settings.network
    if said.proxy_password is None:
        return Network(said.allow, said.proxy)
    try:
        password = config.secret(said.proxy_password).decode()
    except UnicodeDecodeError:
        raise ConfigError("the password of a proxy is no text", code="config.secret") from None
    return Network(said.allow, said.proxy, f"{said.proxy_user}:{password}")


def _beside(config: Config, path: Path | None) -> Path | None:
    return None if path is None else Path(config.beside(str(path)))
