"""Which addresses a connection may go to: the rules, applied to what a name really led to (:mod:`.dial`).

What an address is, is judged after unwrapping an IPv4 address that stands in an IPv6 one. Without ``allow``:

* a public address may be connected to;
* a private one (10/8, 172.16/12, 192.168/16, 100.64/10, fc00::/7 …) only for a host that the operator wrote into the
  configuration himself, which is the usual case in a hospital; never for a host that came out of somebody's data;
* a loopback address only where the configuration says ``localhost`` or that address;
* a link-local one never.

With ``allow`` the networks in it are all that may be connected to, for every host, and may be loopback or link-local.
The addresses at which clouds hand out credentials (169.254.169.254 and its kin), multicast, reserved and unspecified
ones are refused whatever ``allow`` says.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import TypeAlias
from urllib.parse import urlsplit

from fhirbridge.errors import SiteUnreachable
from fhirbridge.loopback import is_loopback

Address: TypeAlias = IPv4Address | IPv6Address
_Net: TypeAlias = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Network:
    """``allow``: networks in CIDR form. ``hosts``: the hosts in the configuration, in lower case. ``proxy``: an
    ``http:`` address that is asked for a tunnel to every site; ``proxy_credentials``: ``user:password`` for it."""

    allow: tuple[str, ...] = ()
    proxy: str | None = None
    proxy_credentials: str | None = field(default=None, repr=False)
    hosts: frozenset[str] = frozenset()

    def trusting(self, *urls: str) -> Network:
        """The same with the hosts of ``urls``, which the operator wrote himself."""
        return replace(self, hosts=self.hosts | {(urlsplit(url).hostname or "").lower() for url in urls})


def _nets(*texts: str) -> tuple[_Net, ...]:
    return tuple(map(ip_network, texts))


# The first row that fits. IPv6 outside 2000::/3 is nothing that anybody was given.
_KINDS: tuple[tuple[str, tuple[_Net, ...]], ...] = (
    ("a cloud's own", _nets("169.254.169.254/32", "169.254.170.2/32", "100.100.100.200/32", "168.63.129.16/32",
                            "192.0.0.192/32", "fd00:ec2::254/128")),
    ("a loopback", _nets("127.0.0.0/8", "::1/128")),
    ("a link-local", _nets("169.254.0.0/16", "fe80::/10")),
    ("an unspecified", _nets("0.0.0.0/8", "::/128")),
    ("a multicast", _nets("224.0.0.0/4", "ff00::/8")),
    ("a reserved", _nets("240.0.0.0/4")),
    ("a private", _nets("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "192.0.0.0/24",
                        "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "fc00::/7", "fec0::/10",
                        "2001:db8::/32", "64:ff9b:1::/48")),
    ("a public", _nets("0.0.0.0/0", "2000::/3")),
)  # fmt: skip
_NEVER = frozenset({"a cloud's own", "an unspecified", "a multicast", "a reserved"})
_NAT64 = ip_network("64:ff9b::/96")


def kind_of(address: Address) -> str:
    """What an address is, as a phrase (``a private``, ``a loopback`` …), judged by what stands in it."""
    meant = _meant(address)
    return next((name for name, nets in _KINDS if any(meant in net for net in nets)), "a reserved")


def _meant(address: Address) -> Address:
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None) or address


@functools.lru_cache(maxsize=64)
def _allowed_nets(allow: tuple[str, ...]) -> tuple[_Net, ...]:
    return _nets(*allow)


def may_connect(address: Address, host: str, network: Network) -> bool:
    """Whether ``address``, to which ``host`` led, may be connected to."""
    kind = kind_of(address)
    if kind in _NEVER:
        return False
    if network.allow:
        return any(one in net for net in _allowed_nets(network.allow) for one in (address, _meant(address)))
    if kind == "a loopback" or is_loopback(host):
        # What is sent in clear because it stays here has to stay here, whatever localhost leads to.
        return kind == "a loopback" and is_loopback(host) and host in network.hosts
    return kind == "a public" or (kind == "a private" and host in network.hosts)


def refused(address: Address, network: Network) -> SiteUnreachable:
    """The error for an address that may not be connected to: what it is, and what to write if it is right."""
    kind = kind_of(address)
    message, hint = f"the site's name leads to {kind} address", "that is no FHIR server: check base_url and DNS"
    if kind not in _NEVER:
        message += ", which is not in allow" if network.allow else ", which nothing allows"
        hint = f'if that is the site, write [site.NAME.network] allow = ["{address}"], or the network it is in'
    return SiteUnreachable(message, code="site.address", sent=False, hint=hint)
