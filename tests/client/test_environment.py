"""No variable of the environment and no file in the home directory changes where a request goes, what it carries, or
whom it trusts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fhirbridge.client.auth import Bearer
from fhirbridge.client.channel import Channel
from fhirbridge.client.network import Network
from fhirbridge.client.tls import Tls
from fhirbridge.client.transport import Transport
from fhirbridge.errors import SiteUnreachable
from tests.client.server import FakeServer, serving
from tests.client.test_tls import Papers, asked, papers, secured

__all__ = ["papers"]


@pytest.fixture
def stranger() -> Iterator[FakeServer]:
    """Where a variable would lead."""
    with serving(FakeServer()) as running:
        yield running
        assert running.requests == []


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("name", ["http_proxy", "https_proxy", "all_proxy", "no_proxy", "ftp_proxy"])
def test_a_proxy_out_of_the_environment_has_no_effect(
    name: str, upper: bool, stranger: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name.upper() if upper else name, stranger.base if "no" not in name else "")
    with serving(FakeServer()) as server:
        transport = Transport(server.base, authorization=Bearer("token"))
        assert transport.exchange("GET", "metadata").status == 200
        transport.close()
    assert server.requests[0].path == "metadata"


def test_a_netrc_has_no_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """requests 2.34 replaces an explicit bearer token by what stands there."""
    for name in (".netrc", "_netrc"):
        (tmp_path / name).write_text(
            "machine 127.0.0.1 login canary password canary\ndefault login canary password x\n"
        )
        (tmp_path / name).chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with serving(FakeServer()) as server:
        for authorization in (Bearer("token"), None):
            transport = Transport(server.base, authorization=authorization)
            transport.exchange("GET", "metadata")
            transport.close()
    assert [one.headers.get("authorization") for one in server.requests] == ["Bearer token", None]


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_an_authority_out_of_the_environment_is_not_trusted(
    name: str, papers: Papers, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = papers.ca.parent
    monkeypatch.setenv(name, str(folder if name.endswith("DIR") else papers.ca))
    with secured(papers.trusted.issue_cert("localhost")) as server:
        error = asked(server, Tls())
        assert error is not None
        assert "certificate" in error.message


def test_nor_does_the_environment_take_an_authority_away(papers: Papers, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, os.devnull)
    with secured(papers.trusted.issue_cert("localhost")) as server:
        assert asked(server, Tls(ca=papers.ca)) is None


def test_the_keys_of_a_session_are_written_nowhere(
    papers: Papers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    with secured(papers.trusted.issue_cert("localhost")) as server:
        channel = Channel(tls=Tls(ca=papers.ca), network=Network().trusting(server.base), timeout=5)
        channel.exchange("GET", f"{server.base}/metadata", headers={})
        channel.close()
    assert not keys.exists()


def test_a_host_file_entry_for_localhost_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens may go to localhost in clear, so localhost has to be this machine."""
    import socket

    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **more: answer)
    with pytest.raises(SiteUnreachable) as caught:
        Transport("http://localhost/fhir", authorization=Bearer("token")).exchange("GET", "metadata")
    assert (caught.value.code, caught.value.sent) == ("site.address", False)
