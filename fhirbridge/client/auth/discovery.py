"""Where a server says that tokens are to be had: ``.well-known/smart-configuration`` below its base address.

The document comes from the FHIR server, so what it names is not taken on trust: an assertion sent to a foreign endpoint
could be used there for as long as it lives. Only the origin of the base address is taken as it is; any other has to
stand in the configuration.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from fhirbridge.client.auth.endpoint import Exchange, ask, trouble_in
from fhirbridge.client.auth.scope import Version, version_of
from fhirbridge.client.auth.trouble import Trouble, refused
from fhirbridge.fhir.capability import smart_configuration
from fhirbridge.fhir.json import Json, Tree
from fhirbridge.loopback import in_clear
from fhirbridge.origins import origin_of

_WELL_KNOWN = ".well-known/smart-configuration"
_DOCUMENT = "the server's SMART configuration"
_SET_IT = "set token_url in [site.NAME.auth] to the address that the hospital gave you"


@dataclass(frozen=True, slots=True)
class Place:
    """Where tokens are to be had; ``algorithms`` is empty where the server does not say which it takes."""

    token_url: str
    algorithms: tuple[str, ...] = ()
    version: Version = 2


def discover(channel: Exchange, base: str, origins: Collection[str], now: float) -> Place | Trouble:
    """Ask the server at ``base``. Besides its own only these ``origins`` are taken."""
    answer = ask(channel, "GET", f"{base}/{_WELL_KNOWN}", _DOCUMENT, None, {})
    if isinstance(answer, Trouble):
        return answer
    if answer.status == 200:
        return place_in(answer.tree, base, origins)
    trouble = trouble_in(answer, _DOCUMENT, now)
    if trouble is not None and trouble.sort != "refused":
        return trouble
    return refused("site.no_smart", f"the server has no SMART configuration (status {answer.status})", _SET_IT)


def place_in(document: Json, base: str, origins: Collection[str]) -> Place | Trouble:
    """The token endpoint of a SMART configuration, if it is where it may be."""
    url = document.get("token_endpoint") if isinstance(document, dict) else None
    if not isinstance(url, str):
        return refused("site.no_smart", "the server's SMART configuration names no token endpoint", _SET_IT)
    origin = origin_of(url)
    if origin is None:
        said = "the server's SMART configuration names a token endpoint that is no plain address"
        return refused("site.token_origin", said, "ask the hospital for its token endpoint, and set token_url")
    if origin not in {origin_of(base), *map(origin_of, origins)}:
        said = f"the server's SMART configuration names a token endpoint on another origin, {origin}"
        hint = f'if the hospital confirms it, add token_origins = ["{origin}"] to [site.NAME.auth]'
        return refused("site.token_origin", said, hint)
    if in_clear(origin):
        said = "the server's SMART configuration names a token endpoint that is not encrypted"
        return refused("site.token_origin", said, "ask the hospital for one with https, and set token_url")
    smart = smart_configuration(document)
    return Place(url, smart.algorithms, version_of(smart.capabilities, _supported(document)))


def _supported(document: Tree) -> tuple[str, ...]:
    listed = document.get("scopes_supported")
    return tuple(one for one in listed if isinstance(one, str)) if isinstance(listed, list) else ()
