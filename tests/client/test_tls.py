"""TLS against a real server: only the right certificate, key and version will do, on both sides."""

from __future__ import annotations

import contextlib
import datetime as dt
import ssl
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509 import load_pem_x509_certificate

from fhirbridge.client.channel import Channel
from fhirbridge.client.network import Network
from fhirbridge.client.tls import Tls, pin_of
from fhirbridge.errors import ConfigError, SiteUnreachable
from tests.client.server import FakeServer, serving

YESTERDAY = dt.datetime.now(tz=dt.UTC) - dt.timedelta(days=1)
BEFORE = YESTERDAY - dt.timedelta(days=9)


@dataclass
class Papers:
    """Two authorities, of which one is trusted, and what they issued; the authority's file."""

    trusted: trustme.CA
    other: trustme.CA
    ca: Path
    folder: Path

    def client(self, name: str, cert: trustme.LeafCert, password: bytes | None = None) -> Tls:
        """TLS that shows a certificate."""
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(b"".join(one.bytes() for one in cert.cert_chain_pems))
        data = cert.private_key_pem.bytes()
        if password is not None:
            private = load_pem_private_key(data, None)
            data = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password))
        key.write_bytes(data)
        return Tls(self.ca, (), certificate, key, password)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    folder = tmp_path_factory.mktemp("papers")
    found = Papers(trustme.CA(), trustme.CA(), folder / "ca.pem", folder)
    found.trusted.cert_pem.write_to_path(found.ca)
    return found


@contextlib.contextmanager
def secured(
    cert: trustme.LeafCert, clients: trustme.CA | None = None, **versions: ssl.TLSVersion
) -> Iterator[FakeServer]:
    """A server with a certificate, which wants one of ``clients`` from whoever comes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert.configure_cert(context)
    if clients is not None:
        clients.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old versions are what this is about
        for name, version in versions.items():
            setattr(context, name, version)
    if versions.get("maximum_version", ssl.TLSVersion.TLSv1_3) < ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("ALL:@SECLEVEL=0")
    with serving(FakeServer(), context) as server:
        yield server


def asked(server: FakeServer, tls: Tls) -> SiteUnreachable | None:
    """Ask the server for something: how that failed, if it did."""
    channel = Channel(tls=tls, network=Network().trusting(server.base), timeout=5)
    with contextlib.closing(channel):
        try:
            assert channel.exchange("GET", f"{server.base}/metadata", headers={}).status == 200
        except SiteUnreachable as error:
            return error
    return None


def pin(cert: trustme.LeafCert) -> str:
    first = load_pem_x509_certificate(cert.cert_chain_pems[0].bytes())
    found = pin_of(first.public_bytes(Encoding.DER))
    assert found is not None
    return found


def test_a_server_that_the_authority_vouches_for_is_believed(papers: Papers) -> None:
    with secured(papers.trusted.issue_cert("localhost")) as server:
        assert asked(server, Tls(ca=papers.ca)) is None


@pytest.mark.parametrize(
    "which", ["other host", "expired", "not yet", "other authority", "vouches for itself", "system"]
)
def test_a_server_that_nobody_vouches_for_hears_nothing(papers: Papers, which: str) -> None:
    cert, tls = papers.trusted.issue_cert("localhost"), Tls(ca=papers.ca)
    match which:
        case "other host":
            cert = papers.trusted.issue_cert("other.example")
        case "expired":
            cert = papers.trusted.issue_cert("localhost", not_before=BEFORE, not_after=YESTERDAY)
        case "not yet":
            tomorrow = YESTERDAY + dt.timedelta(days=3)
            cert = papers.trusted.issue_cert(
                "localhost", not_before=tomorrow, not_after=tomorrow + dt.timedelta(days=9)
            )
        case "other authority":
            cert = papers.other.issue_cert("localhost")
        case "vouches for itself":
            cert = trustme.CA().issue_cert("localhost")
        case "system":
            tls = Tls()
    with secured(cert) as server:
        error = asked(server, tls)
        assert error is not None
        assert (error.code, error.sent) == ("site.unreachable", False)
        assert "certificate" in error.message
        assert server.requests == []


def test_pins_hold_beside_the_authority_and_rotate(papers: Papers) -> None:
    """With two pins the server may change from one key to the other; one whose pin was taken away is out."""
    old, new, stolen = (papers.trusted.issue_cert("localhost") for _ in range(3))
    pins = Tls(ca=papers.ca, pins=(pin(old), pin(new)))
    for cert, good in ((old, True), (new, True), (stolen, False)):
        with secured(cert) as server:
            error = asked(server, pins)
            assert (error is None) == good
            assert good == bool(server.requests)
            if error is not None:
                assert (error.code, error.sent) == ("site.pin", False)
    with secured(papers.other.issue_cert("localhost")) as server:
        assert asked(server, pins) is not None, "a pin does not stand in for the authority"


def test_tls_1_1_is_not_spoken(papers: Papers) -> None:
    old = ssl.TLSVersion.TLSv1_1
    with secured(papers.trusted.issue_cert("localhost"), minimum_version=old, maximum_version=old) as server:
        error = asked(server, Tls(ca=papers.ca))
        assert error is not None
        assert (error.code, error.sent) == ("site.unreachable", False)
        assert "1.2" in error.hint
        assert server.requests == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_is_shown_and_wrong_ones_are_told(papers: Papers, version: ssl.TLSVersion) -> None:
    """In TLS 1.3 a server's refusal comes after the first words were sent; it has looked at none of them."""
    good = papers.trusted.issue_cert("clinic.example")
    expired = papers.trusted.issue_cert("clinic.example", not_before=BEFORE, not_after=YESTERDAY)
    server_cert = papers.trusted.issue_cert("localhost")
    with secured(server_cert, papers.trusted, minimum_version=version, maximum_version=version) as server:
        assert asked(server, papers.client("good", good)) is None
        assert asked(server, papers.client("locked", good, b"open sesame")) is None
        assert len(server.requests) == 2
        for tls in (
            Tls(ca=papers.ca),
            papers.client("stranger", papers.other.issue_cert("clinic.example")),
            papers.client("expired", expired),
        ):
            error = asked(server, tls)
            assert error is not None
            assert not error.sent
            if tls.certificate is not None or version is ssl.TLSVersion.TLSv1_3:
                assert error.code == "site.client_certificate"
            assert len(server.requests) == 2


def test_what_cannot_be_used_is_told_before_anything_is_sent(papers: Papers, tmp_path: Path) -> None:
    good = papers.client("good", papers.trusted.issue_cert("clinic.example"))
    other = papers.client("other", papers.trusted.issue_cert("clinic.example"))
    locked = papers.client("locked", papers.trusted.issue_cert("clinic.example"), b"open sesame")
    empty = tmp_path / "empty.pem"
    empty.write_bytes(b"")
    for tls in (
        Tls(ca=tmp_path / "missing.pem"),
        Tls(ca=empty),
        Tls(certificate=tmp_path / "missing.pem"),
        Tls(certificate=good.certificate, key=other.key),
        Tls(certificate=good.certificate, key=empty),
        Tls(certificate=locked.certificate, key=locked.key, key_password=b"wrong canary"),
        Tls(certificate=locked.certificate, key=locked.key),
    ):
        with pytest.raises(ConfigError) as caught:
            Channel(tls=tls)
        assert caught.value.code == "config.tls"
        assert "canary" not in f"{caught.value!r} {tls!r}"
