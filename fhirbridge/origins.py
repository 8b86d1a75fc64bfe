"""The origin of an address, by its text alone, where an address is only believed if it can be read in one way."""

from __future__ import annotations

import re

# No user, no backslash, no fragment, no name in other letters: nothing that two readers could read differently.
_ADDRESS = re.compile(
    r"(https?)://([a-z0-9_]([a-z0-9._-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(:[0-9]{1,5})?(/[!\"$-\[\]-~]*)?"
)
_PORTS = {"http": 80, "https": 443}
_LONGEST = 2_048
_LARGEST_PORT = 65_535


def origin_of(url: str) -> str | None:
    """Scheme, host and port of an address, ``https://host`` or ``https://host:8443``; ``None`` if it is not plain."""
    found = _ADDRESS.fullmatch(url.lower()) if len(url) <= _LONGEST else None
    if found is None:
        return None
    scheme, host, port = found[1], found[2], int((found[4] or ":0")[1:]) or _PORTS[found[1]]
    if port > _LARGEST_PORT:
        return None
    return f"{scheme}://{host}" if port == _PORTS[scheme] else f"{scheme}://{host}:{port}"
