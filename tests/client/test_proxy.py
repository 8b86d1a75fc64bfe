"""A proxy is used where the configuration names one, and only for a tunnel: it never sees a request."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fhirbridge.client.auth import Bearer
from fhirbridge.client.channel import Channel
from fhirbridge.client.network import Network
from fhirbridge.client.tls import Tls
from fhirbridge.client.transport import Transport
from fhirbridge.errors import SiteUnreachable
from tests.client.server import FakeServer, serving
from tests.client.test_tls import Papers, papers, secured
from tests.hostile.servers import endlessly
from tests.hostile.servers import serving as saying

__all__ = ["papers"]


class Proxy:
    """Answers CONNECT and hands bytes on to ``target`` whatever was asked for; what was said to it stands in ``heard``,
    what went through in ``passed``."""

    def __init__(self, target: int) -> None:
        self.target, self.heard, self.passed = target, b"", b""
        self.url = ""


@contextmanager
def proxying(proxy: Proxy) -> Iterator[Proxy]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy.url = f"http://127.0.0.1:{listener.getsockname()[1]}"

        def serve() -> None:
            sock, _ = listener.accept()
            with sock, socket.create_connection(("127.0.0.1", proxy.target)) as far:
                while b"\r\n\r\n" not in proxy.heard:
                    proxy.heard += sock.recv(65_536)
                sock.sendall(b"HTTP/1.1 200 Established\r\n\r\n")
                back = threading.Thread(target=_pump, args=(far, sock, lambda data: None))
                back.start()
                _pump(sock, far, lambda data: setattr(proxy, "passed", proxy.passed + data))
                back.join()

        thread = threading.Thread(target=serve)
        thread.start()
        yield proxy
        thread.join()


def _pump(source: socket.socket, sink: socket.socket, note: Callable[[bytes], None]) -> None:
    try:
        while data := source.recv(65_536):
            note(data)
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # one of them hung up


def test_a_proxy_sees_a_name_and_its_own_credentials_and_tls(papers: Papers) -> None:
    """The site's name is for the proxy to resolve; the certificate has to be that of the site."""
    cert = papers.trusted.issue_cert("hospital.example")
    with secured(cert) as server, proxying(Proxy(int(server.base.rpartition(":")[2].partition("/")[0]))) as proxy:
        network = Network(proxy=proxy.url, proxy_credentials="clinic:canary word")
        channel = Channel(tls=Tls(ca=papers.ca), network=network, timeout=5)
        transport = Transport("https://hospital.example/fhir", authorization=Bearer("canary-token"), channel=channel)
        assert transport.exchange("GET", "metadata").status == 200
        transport.close()
        assert "canary" not in repr(network)
    packed = base64.b64encode(b"clinic:canary word").decode()
    assert proxy.heard.decode().split("\r\n") == [
        "CONNECT hospital.example:443 HTTP/1.1", "Host: hospital.example:443", f"Proxy-Authorization: Basic {packed}",
        "", "",
    ]  # fmt: skip
    assert server.requests[0].headers["authorization"] == "Bearer canary-token"
    assert b"canary" not in proxy.passed
    assert "proxy-authorization" not in server.requests[0].headers


def test_a_proxy_is_no_way_around_the_certificate(papers: Papers) -> None:
    cert = papers.trusted.issue_cert("other.example")
    with secured(cert) as server, proxying(Proxy(int(server.base.rpartition(":")[2].partition("/")[0]))) as proxy:
        channel = Channel(tls=Tls(ca=papers.ca), network=Network(proxy=proxy.url), timeout=5)
        with pytest.raises(SiteUnreachable) as caught:
            channel.exchange("GET", "https://hospital.example/fhir/metadata", headers={})
        channel.close()
        assert not caught.value.sent
    assert server.requests == []


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 403 No\r\n\r\n",
     b"HTTP/1.1 302 Go\r\nLocation: /\r\n\r\n",
     b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{}", b"220 smtp\r\n\r\n", b"\0\0\r\n\r\n"],
)  # fmt: skip
def test_what_gives_no_tunnel_is_told_and_nothing_is_sent(answer: bytes) -> None:
    def script(sock: socket.socket, number: int) -> None:
        sock.sendall(answer)
        sock.shutdown(socket.SHUT_WR)

    with saying(script) as proxy:
        channel = Channel(network=Network(proxy=proxy.removesuffix("/fhir")), timeout=5)
        with pytest.raises(SiteUnreachable) as caught:
            channel.exchange("GET", "http://hospital.example/fhir", headers={})
        assert (caught.value.code, caught.value.sent) == ("site.proxy", False)
        channel.close()


def test_a_proxy_that_answers_without_end_is_left() -> None:
    with saying(
        lambda sock, number: endlessly(sock, b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"a" * 5_000 + b"\r\n")
    ) as proxy:
        channel = Channel(network=Network(proxy=proxy.removesuffix("/fhir")), timeout=5)
        with pytest.raises(SiteUnreachable) as caught:
            channel.exchange("GET", "http://hospital.example/fhir", headers={})
        assert caught.value.code == "site.proxy"


@pytest.mark.parametrize("host", ["169.254.169.254", "[fd00:ec2::254]", "127.0.0.1", "[::ffff:10.0.0.1]", "0.0.0.0"])  # noqa: S104
def test_a_proxy_is_no_way_around_the_rules_for_addresses(host: str) -> None:
    def script(sock: socket.socket, number: int) -> None:
        pytest.fail("the proxy was asked")

    with saying(script) as proxy:
        channel = Channel(network=Network(proxy=proxy.removesuffix("/fhir")), timeout=5)
        with pytest.raises(SiteUnreachable) as caught:
            channel.exchange("GET", f"http://{host}/fhir", headers={})
        assert caught.value.code == "site.address"


def test_a_proxy_that_is_not_there_is_no_connection() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        network = Network(proxy=f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(SiteUnreachable) as caught:
            Channel(network=network, timeout=2).exchange("GET", "https://hospital.example/fhir", headers={})
        assert not caught.value.sent


def test_without_one_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeServer()
    with serving(server):
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        transport = Transport(server.base)
        assert transport.exchange("GET", "metadata").status == 200
        transport.close()
