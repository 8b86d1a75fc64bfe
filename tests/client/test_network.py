"""No connection leaves the allowed addresses, whatever a name leads to, however an address is written, and also where
a name server gives another answer the second time."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.client.channel import Channel
from fhirbridge.client.network import Network, kind_of, may_connect
from fhirbridge.client.transport import Transport
from fhirbridge.errors import SiteUnreachable
from tests.client.server import FakeServer, serving

NAME = "hospital.example"
CONFIGURED = Network(hosts=frozenset({NAME}))
NEVER = [
    "169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "0.0.0.0",  # noqa: S104
    "0.1.2.3", "::", "224.0.0.1", "239.255.255.250", "ff02::1", "240.0.0.1", "255.255.255.255",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::127.0.0.1", "::2", "100::1", "4000::1",
    "::ffff:0.0.0.0",
]  # fmt: skip
LOOPBACK = [
    "127.0.0.1",
    "127.255.255.254",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
]
LINK_LOCAL = ["169.254.0.1", "fe80::1", "febf::1", "::ffff:169.254.1.1"]
PRIVATE = [
    "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "198.18.0.1", "fc00::1",
    "fdff::1", "fec0::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "192.0.2.1", "203.0.113.9", "2001:db8::1",
    "2002:a00:1::",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "172.32.0.1", "172.15.255.255", "192.169.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8"]


def led(to: str, host: str = NAME, network: Network = CONFIGURED) -> bool:
    return may_connect(ip_address(to), host, network)


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_no_servers_whatever_is_allowed(address: str) -> None:
    assert not led(address)
    assert not led(address, network=Network(allow=("0.0.0.0/0", "::/0"), hosts=frozenset({NAME})))
    assert not led(address, host=address, network=Network(hosts=frozenset({address})))


@pytest.mark.parametrize("address", LOOPBACK)
def test_loopback_is_for_localhost_in_the_configuration(address: str) -> None:
    assert not led(address)
    assert led(address, "localhost", Network(hosts=frozenset({"localhost"})))
    assert not led(address, "localhost", Network(hosts=frozenset({NAME})))
    assert led(address, network=Network(allow=("127.0.0.0/8", "::1")))


@pytest.mark.parametrize("address", LINK_LOCAL)
def test_link_local_has_to_be_allowed(address: str) -> None:
    assert not led(address)
    assert led(address, network=Network(allow=("169.254.0.0/16", "fe80::/10")))


@pytest.mark.parametrize("address", PRIVATE)
def test_private_is_for_hosts_in_the_configuration_and_never_for_those_in_data(address: str) -> None:
    assert led(address)
    assert not led(address, host="out-of-data.example")
    assert not led(address, network=Network(allow=("8.8.8.0/24",), hosts=frozenset({NAME})))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_is_for_all_unless_an_allow_list_says_less(address: str) -> None:
    assert led(address)
    assert led(address, host="out-of-data.example")
    assert not led(address, network=Network(allow=("10.0.0.0/8",)))


@pytest.mark.parametrize("address", [*PRIVATE, *PUBLIC, *LINK_LOCAL])
def test_localhost_stays_on_this_machine(address: str) -> None:
    """Credentials may go to it in clear; a resolver that leads it elsewhere is not followed."""
    assert not led(address, "localhost", Network(hosts=frozenset({"localhost"})))


@given(st.integers(0, 2**32 - 1))
def test_an_ipv4_address_is_what_it_is_in_every_ipv6_dress(number: int) -> None:
    plain = kind_of(IPv4Address(number))
    dressed = [
        IPv6Address(0xFFFF_0000_0000 + number),
        IPv6Address((0x64FF9B << 96) + number),
        IPv6Address((0x2002 << 112) + (number << 80)),
        IPv6Address((0x20010000 << 96) + (number ^ 0xFFFF_FFFF)),
    ]
    assert {kind_of(one) for one in dressed} == {plain}


@given(st.integers(0, 2**128 - 1).map(IPv6Address))
def test_what_nobody_was_given_is_no_server(address: IPv6Address) -> None:
    kind = kind_of(address)
    assert kind != "a public" or address in _GLOBAL or address.ipv4_mapped or int(address) >> 32 == 0x64FF9B << 64


_GLOBAL = ip_network("2000::/3")


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving(FakeServer()) as running:
        yield running


Resolver = Callable[..., list[Any]]


def answering(*answers: list[str]) -> tuple[Resolver, list[str]]:
    """A resolver that gives these answers one after the other, and the names that it was asked for."""
    asked: list[str] = []

    def resolve(host: str, port: int, *args: Any, **more: Any) -> list[Any]:
        asked.append(host)
        found = answers[min(len(asked), len(answers)) - 1]
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found
        ]

    return resolve, asked


def test_a_name_that_leads_elsewhere_the_second_time_is_asked_once(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was judged is what is connected to; and one connection serves many requests."""
    resolve, asked = answering(["127.0.0.1"], ["169.254.169.254"])
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    base = server.base.replace("127.0.0.1", NAME)
    channel = Channel(network=Network(allow=("127.0.0.0/8",)).trusting(base))
    transport = Transport(base, channel=channel)
    for _ in range(3):
        assert transport.exchange("GET", "metadata").status == 200
    assert asked == [NAME]
    transport.close()
    with pytest.raises(SiteUnreachable) as caught:
        transport.exchange("GET", "metadata")
    assert (caught.value.code, caught.value.sent) == ("site.address", False)
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("answers", "hint"),
    [
        (["127.0.0.1"], 'allow = ["127.0.0.1"]'),
        (["::1"], 'allow = ["::1"]'),
        (["93.184.216.34", "127.0.0.1"], 'allow = ["127.0.0.1"]'),
        (["169.254.10.1"], 'allow = ["169.254.10.1"]'),
        (["169.254.169.254"], "check base_url and DNS"),
    ],
)
def test_no_connection_is_tried_and_the_hint_says_what_to_write(
    answers: list[str], hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bad address among good ones spoils the name."""
    monkeypatch.setattr(socket, "getaddrinfo", answering(answers)[0])
    monkeypatch.setattr(socket.socket, "connect", lambda *args: pytest.fail("a connection was tried"))
    transport = Transport(f"https://{NAME}/fhir")
    with pytest.raises(SiteUnreachable) as caught:
        transport.exchange("GET", "metadata")
    assert caught.value.code == "site.address"
    assert hint in caught.value.hint


def test_a_name_without_an_address_is_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: Any, **more: Any) -> list[Any]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for host in (NAME, "a" * 70 + ".example"):
        with pytest.raises(SiteUnreachable) as caught:
            Transport(f"https://{host}/fhir").exchange("GET", "metadata")
        assert (caught.value.code, caught.value.sent) == ("site.unreachable", False)


def test_the_next_address_is_tried_where_one_is_silent(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answering(["127.0.0.9", "127.0.0.1"])[0])
    base = server.base.replace("127.0.0.1", "localhost")
    transport = Transport(base)
    assert transport.exchange("GET", "metadata").status == 200
    transport.close()
