"""How a site is connected to: what may stand in ``[site.NAME.tls]`` and ``[site.NAME.network]``, and what it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fhirbridge.config import load, parse
from fhirbridge.connections import connections
from fhirbridge.errors import ConfigError, SiteUnreachable
from tests.client.server import FakeServer
from tests.client.test_tls import Papers, papers, pin, secured

__all__ = ["papers"]

PIN = "A" * 43 + "="


def site(**more: Any) -> dict[str, Any]:
    return {"clinic": {"demo": True}, "site": {"a": {"base_url": "https://h.example/fhir", **more}}}


def refused(tree: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(tree)
    return str(caught.value)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"tls": {"key": "a.key"}}, "config.key_alone"),
        ({"tls": {"key_password": {"env": "X"}}}, "config.key_alone"),
        ({"tls": {"certificate": "a.pem", "key_password": "canary"}}, "config.secret_in_clear"),
        ({"tls": {"pins": ["sha256//x"]}}, "site.a.tls.pins.0"),
        ({"tls": {"cert": "a.pem"}}, "known here: ca"),
        ({"tls": {"certificat": "a.pem"}}, "did you mean certificate?"),
        ({"base_url": "http://h.example", "tls": {"ca": "a.pem"}}, "config.tls_in_clear"),
        ({"base_url": "http://h.example", "tls": {"pins": [PIN]}}, "config.tls_in_clear"),
        ({"base_url": "http://h.example", "tls": {"certificate": "a.pem"}}, "config.tls_in_clear"),
        ({"network": {"allow": ["10.0.0.1/8"]}}, "config.allow"),
        ({"network": {"allow": ["hospital.example"]}}, "config.allow"),
        ({"network": {"proxy": "https://p.example:3128"}}, "config.proxy"),
        ({"network": {"proxy": "http://user:canary@p.example:3128"}}, "config.proxy"),
        ({"network": {"proxy": "http://p.example:3128/x"}}, "config.proxy"),
        ({"network": {"proxy": "socks5://p.example"}}, "config.proxy"),
        ({"network": {"proxy": "http://p.example", "proxy_user": "u"}}, "config.proxy_credentials"),
        ({"network": {"proxy_user": "u", "proxy_password": {"env": "X"}}}, "config.proxy_missing"),
        ({"network": {"proxi": "http://p.example"}}, "did you mean proxy?"),
        ({"base_url": "https://h\u043espital.example/fhir"}, "config.base_url"),
        ({"base_url": "https://hospital.example./fhir"}, "config.base_url"),
    ],
)
def test_what_cannot_be_meant_is_told(more: dict[str, Any], said: str) -> None:
    message = refused(site(**more))
    assert said in message
    assert "canary" not in message


def test_an_address_stands_for_a_network_of_one() -> None:
    settings = parse(site(network={"allow": ["10.1.2.3", "fd00::/8"], "proxy": "http://p.example/"})).site["a"].network
    assert (settings.allow, settings.proxy) == (("10.1.2.3/32", "fd00::/8"), "http://p.example")


def configured(folder: Path, server: FakeServer, text: str, environ: dict[str, str]) -> SiteUnreachable | None:
    """What asking the server under such a configuration comes to."""
    path = folder / "fhirbridge.toml"
    path.write_text(f'[clinic]\ndemo = true\n[site.a]\nbase_url = "{server.base}"\ntimeout = 5\n{text}')
    config = load(path, environ, folder)
    channel, tokens = connections(config, config.site("a"))
    try:
        for one in (channel, tokens):
            one.exchange("GET", f"{server.base}/metadata", headers={})
    except SiteUnreachable as error:
        return error
    finally:
        channel.close()
        tokens.close()
    return None


def test_what_stands_there_is_what_happens(papers: Papers) -> None:
    """Files are looked for beside the configuration; both channels, the site's and the one for tokens, keep to it."""
    papers.client("clinic", papers.trusted.issue_cert("clinic.example"), b"open sesame")
    cert = papers.trusted.issue_cert("localhost")
    who = '[site.a.tls]\nca = "ca.pem"\ncertificate = "clinic.pem"\nkey = "clinic.key"\nkey_password = {env = "WORD"}\n'
    word = {"WORD": "open sesame"}
    with secured(cert, papers.trusted) as server:
        assert configured(papers.folder, server, f'{who}pins = ["{PIN}", "{pin(cert)}"]', word) is None
        assert len(server.requests) == 2
        error = configured(papers.folder, server, f'{who}pins = ["{PIN}"]', word)
        assert error is not None
        assert error.code == "site.pin"
        error = configured(papers.folder, server, f'{who}[site.a.network]\nallow = ["10.0.0.0/8"]', word)
        assert error is not None
        assert error.code == "site.address"
        assert "allow" in error.hint
        with pytest.raises(ConfigError) as caught:
            configured(papers.folder, server, who, {"WORD": "canary"})
        assert caught.value.code == "config.tls"
        assert "canary" not in str(caught.value)
        assert len(server.requests) == 2
