"""A connection to a host: its name resolved once, every address judged, one of those connected to.

Between the judgement and the connection nothing is resolved again, so a name server that changes its mind (DNS
rebinding) changes nothing. Through a proxy, which is asked for a tunnel even to ``http:`` sites, the proxy resolves;
then its own address is judged, and the site's where it stands in the configuration as an address.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import time
from http.client import HTTPException
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from fhirbridge.client.incoming import Allowance, BoundedResponse, TooMuch
from fhirbridge.client.network import Address, Network, may_connect, refused
from fhirbridge.errors import SiteUnreachable

_PROXY_PORT = 3128
_BROKEN = (HTTPException, TooMuch)


def dial(host: str, port: int, network: Network, timeout: float) -> socket.socket:
    """A connection to ``host``, through the proxy if there is one, within ``timeout`` seconds after names are resolved.

    Raises :class:`SiteUnreachable` with ``sent`` false; its code is ``site.address`` where an address is refused and
    ``site.proxy`` where the proxy gives no tunnel.
    """
    if network.proxy is None:
        return _connect(host, port, network, timeout)
    literal = _literal(host)
    if literal is not None and not may_connect(literal, host.lower(), network):
        raise refused(literal, network)
    started, proxy = time.monotonic(), urlsplit(network.proxy)
    # The proxy's address is not the site's: what the site's may be says nothing about it.
    rules = Network().trusting(network.proxy)
    sock = _connect(proxy.hostname or "", proxy.port or _PROXY_PORT, rules, timeout)
    try:
        _tunnel(sock, f"[{host}]:{port}" if ":" in host else f"{host}:{port}", network, started + timeout)
    except BaseException:
        sock.close()
        raise
    return sock


def _connect(host: str, port: int, network: Network, timeout: float) -> socket.socket:
    places = _places(host, port, network)
    ends = time.monotonic() + timeout
    for number, (family, place) in enumerate(places):
        # Who is silent leaves time for those that come after.
        share = (ends - time.monotonic()) / (len(places) - number)
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(max(share, 0.001))
            sock.connect(place)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            sock.close()
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise _no_connection()


def _places(host: str, port: int, network: Network) -> list[tuple[int, Any]]:
    """What ``connect`` takes. A name that leads to a good and a bad address is believed in neither."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise _no_connection() from None
    for _, _, _, _, place in found:
        address = ip_address(str(place[0]))
        if not may_connect(address, host.lower(), network):
            raise refused(address, network)
    return [(family, place) for family, _, _, _, place in found]


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _tunnel(sock: socket.socket, target: str, network: Network, deadline: float) -> None:
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if network.proxy_credentials is not None:
        packed = base64.b64encode(network.proxy_credentials.encode()).decode("ascii")
        lines.append(f"Proxy-Authorization: Basic {packed}")
    allowance = Allowance(deadline, deadline - time.monotonic())
    try:
        sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
        with contextlib.closing(BoundedResponse(sock, method="CONNECT", allowance=allowance)) as answer:
            answer.begin()
            status = answer.status
    except (OSError, ValueError, *_BROKEN):
        raise _no_tunnel("the proxy did not answer as one") from None
    if not 200 <= status < 300 or allowance.stray:
        raise _no_tunnel(f"the proxy answered with status {status}")


def _no_tunnel(message: str) -> SiteUnreachable:
    hint = "check proxy, proxy_user and proxy_password in [site.NAME.network]"
    return SiteUnreachable(message, code="site.proxy", sent=False, hint=hint)


def _no_connection() -> SiteUnreachable:
    return SiteUnreachable("no connection to the site", sent=False, hint="check base_url and the network")
