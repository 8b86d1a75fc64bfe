"""``[site.NAME.auth]``: every fault at once, with its path; no credentials in clear, wherever they are set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fhirbridge.client.auth import Anonymous, AskedBearer, Basic, ClientCredentials, SmartBackend, new_key
from fhirbridge.config import Config, parse
from fhirbridge.credentials import authorization, token_hosts
from fhirbridge.errors import ConfigError
from fhirbridge.site import Site
from tests.auth.conftest import Clinic

ENV = {"env": "SECRET"}
BASIC = {"kind": "basic", "user": "clinic", "password": ENV}
BEARER = {"kind": "bearer", "token": ENV}
CLIENT = {"kind": "client-credentials", "client_id": "c", "secret": ENV, "token_url": "https://h.example/token"}
SMART = {"kind": "smart-backend", "client_id": "c", "keys": [ENV]}
EVERY = [BASIC, BEARER, CLIENT, SMART]


def tree(auth: Any, base: str = "https://h.example/fhir", **more: Any) -> dict[str, Any]:
    return {"clinic": {"demo": True}, "site": {"a": {"base_url": base, "auth": auth, **more}}}


def refused(auth: Any, base: str = "https://h.example/fhir", **more: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(tree(auth, base, **more))
    return str(caught.value)


@pytest.mark.parametrize("auth", EVERY, ids=lambda auth: auth["kind"])
def test_no_credentials_go_in_clear_but_to_this_machine(auth: dict[str, Any]) -> None:
    for base in ("http://h.example/fhir", "http://10.0.0.1/fhir", "http://localhost.evil.example/fhir"):
        told = refused(auth, base)
        assert "[config.token_in_clear] (use https)" in told
    for base in ("http://127.0.0.1:8080/fhir", "http://[::1]/fhir", "http://localhost/fhir", "https://h.example/fhir"):
        parse(tree(auth, base))
    parse(tree({"kind": "none"}, "http://h.example/fhir"))


@pytest.mark.parametrize("name", ["token_url", "token_origins"])
def test_a_token_endpoint_in_clear_or_in_disguise_is_refused(name: str) -> None:
    def said(url: str) -> str:
        return refused({**SMART, name: [url] if name == "token_origins" else url})

    assert "[config.token_in_clear]" in said("http://login.example")
    for url in ("https://u:canary@login.example", "https://login.example/#x", "https://login.example\\@evil.example"):
        told = said(url)
        assert f"site.a.auth.{name}" in told
        assert "canary" not in told
    settings = parse(tree({**SMART, "token_origins": ["HTTPS://Login.Example:443/"]})).site["a"]
    assert token_hosts(settings) == ("https://login.example",)
    assert "site.a.auth.token_origins.0" in refused({**SMART, "token_origins": ["https://login.example/path"]})


@pytest.mark.parametrize(
    ("auth", "told"),
    [
        ({}, "site.a.auth: no such way to say who we are [config.auth_kind]"),
        ({"kind": "oauth"}, "kind is one of none, basic, bearer, client-credentials, smart-backend"),
        ({"kind": "none", "token": ENV}, "site.a.auth.token: no such key"),
        ({"kind": "basic", "user": "a:b", "password": ENV}, "site.a.auth.user"),
        ({**BASIC, "pasword": ENV}, "did you mean password?"),
        ({**BASIC, "password": "canary-secret"}, "site.a.auth.password: a secret does not stand in this file"),
        ({**BEARER, "token": {"evn": "X"}}, "did you mean env?"),
        ({**CLIENT, "secret": {"file": 5}}, "site.a.auth.secret.file"),
        ({**CLIENT, "method": "jwt"}, "site.a.auth.method"),
        ({**CLIENT, "scope": 'a "b"'}, "site.a.auth.scope"),
        ({**SMART, "key": ENV}, "did you mean keys?"),
        ({**SMART, "keys": []}, "site.a.auth.keys"),
        ({**SMART, "keys": ["canary-pem"]}, "site.a.auth.keys.0: a secret does not stand in this file"),
        ({**SMART, "keys": [{**ENV, "kdi": "x"}]}, "did you mean kid?"),
        ({**SMART, "jku": "http://c.example/jwks.json"}, "site.a.auth.jku"),
        ({**SMART, "client_id": "a\nb"}, "site.a.auth.client_id"),
        ("canary-token", "site.a.auth"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_path(auth: Any, told: str) -> None:
    found = refused(auth)
    assert told in found
    assert "canary" not in found


def test_all_faults_are_told_at_once() -> None:
    told = refused({"kind": "smart-backend", "keys": [{"env": "1"}], "token_url": "x", "scop": "y"}, timeout=-1)
    for path in ("auth.client_id", "auth.keys.0.env", "auth.token_url", "auth.scop", "timeout"):
        assert f"site.a.{path}" in told


def test_a_token_where_it_stood_before_is_told_where_it_belongs() -> None:
    site = {"base_url": "https://h.example", "token": ENV, "timeout": 0}
    with pytest.raises(ConfigError) as caught:
        parse({"clinic": {"demo": True}, "site": {"a": site}})
    assert "[config.token_moved]" in str(caught.value)
    assert "[site.a.auth]" in str(caught.value)
    assert "site.a.timeout" in str(caught.value)


def test_a_site_may_be_named_as_the_table_is() -> None:
    site = {"base_url": "https://h.example", "relase": "r4"}
    with pytest.raises(ConfigError, match=r"site\.auth\.relase: no such key .*did you mean release"):
        parse({"clinic": {"demo": True}, "site": {"auth": site}})


def test_each_way_is_made_of_its_settings_and_reads_its_secret_at_once(clinic: Clinic) -> None:
    made = {"none": Anonymous, "basic": Basic, "bearer": AskedBearer, "client-credentials": ClientCredentials}
    for auth in ({"kind": "none"}, *EVERY):
        environ = {"SECRET": new_key("ES384").pem().decode() if auth is SMART else "s3cret"}
        config = Config(parse(tree(auth)), Path(), environ)
        found = authorization(config, config.site("a"), clinic.channel, ["Observation"])
        assert isinstance(found, made.get(auth["kind"], SmartBackend))
        assert "s3cret" not in repr(found)
        if auth["kind"] != "none":
            with pytest.raises(ConfigError, match="SECRET is not set"):
                Site.open("a", Config(parse(tree(auth)), Path(), {}), kinds={})


def test_what_no_token_or_password_can_be_is_told_before_anything_is_sent(clinic: Clinic, tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"\xff canary")
    instead = {"password": {"file": "s"}, "token": {"file": "s"}, "secret": {"file": "s"}, "keys": [{"file": "s"}]}
    for auth in EVERY:
        own = {name: instead.get(name, value) for name, value in auth.items()}
        config = Config(parse(tree(own)), tmp_path, {})
        with pytest.raises(ConfigError) as caught:
            authorization(config, config.site("a"), clinic.channel, [])
        assert "canary" not in str(caught.value)


def test_two_keys_of_one_name_are_told(clinic: Clinic) -> None:
    config = Config(parse(tree({**SMART, "keys": [ENV, ENV]})), Path(), {"SECRET": new_key("ES384").pem().decode()})
    with pytest.raises(ConfigError, match="same kid"):
        authorization(config, config.site("a"), clinic.channel, [])
