"""How a site is connected to: ``[site.NAME.tls]`` and ``[site.NAME.network]``."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from fhirbridge.config.secret import Secret
from fhirbridge.config.table import Table
from fhirbridge.origins import origin_of

Pin = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]{43}=$")]
ProxyUser = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^:\x00-\x1f\x7f]+$")]


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError:
        raise PydanticCustomError("allow", "neither an address nor a network") from None


def _proxy(url: str) -> str:
    if origin_of(url) is None or urlsplit(url).scheme != "http" or urlsplit(url).path.strip("/") or "?" in url:
        raise PydanticCustomError("proxy", "not the plain address of a proxy")
    return url.rstrip("/")


class TlsSettings(Table):
    """``[site.NAME.tls]``: whom to believe, and who we are. Files are PEM, relative ones beside the configuration."""

    ca: Path | None = None
    pins: tuple[Pin, ...] = ()
    certificate: Path | None = None
    key: Path | None = None
    key_password: Secret | None = None

    @model_validator(mode="after")
    def _key_has_a_certificate(self) -> TlsSettings:
        if self.certificate is None and (self.key is not None or self.key_password is not None):
            raise PydanticCustomError("key_alone", "a key without its certificate")
        return self

    @property
    def is_set(self) -> bool:
        """Whether anything is asked for that only TLS can do."""
        return bool(self.ca or self.pins or self.certificate)


class NetworkSettings(Table):
    """``[site.NAME.network]``: which addresses the site's names may lead to, and the way there."""

    allow: tuple[Annotated[str, AfterValidator(_network)], ...] = ()
    proxy: Annotated[str, AfterValidator(_proxy)] | None = None
    proxy_user: ProxyUser | None = None
    proxy_password: Secret | None = None

    @model_validator(mode="after")
    def _whole(self) -> NetworkSettings:
        if (self.proxy_user is None) != (self.proxy_password is None):
            raise PydanticCustomError("proxy_credentials", "a user of the proxy and his password go together")
        if self.proxy_user is not None and self.proxy is None:
            raise PydanticCustomError("proxy_missing", "a user of a proxy, but no proxy")
        return self
