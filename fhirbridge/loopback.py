"""Which addresses stay on this machine, by their text alone: nothing is resolved here.

One rule for every credential, wherever it is configured or sent: over plain ``http:`` only to the machine itself.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Whether a host is ``localhost`` or an address such as ``127.0.0.1`` and ``::1``. A name with dots is never."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def in_clear(url: str) -> bool:
    """Whether what is sent to ``url`` can be read on its way: not https, and to another machine."""
    parts = urlsplit(url)
    return parts.scheme != "https" and not is_loopback(parts.hostname or "")
