"""What a server says of its token endpoint is not taken on trust."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.client.auth.discovery import Place, place_in
from fhirbridge.client.auth.trouble import Trouble
from fhirbridge.origins import origin_of

BASE = "https://hospital.example/fhir"
LOGIN = "https://login.hospital.example"
PIECES = [
    *("https:", "http:", "HTTPS:", "/", "//", "\\", "@", ".", ":", "443", "8443", "%2e", "#", "?", "fhir", "token"),
    *("hospital.example", "login.hospital.example", "evil.example", "[", "]", "::1", "\u0430"),
]
PARTS = st.lists(st.sampled_from([*PIECES, " ", "\t", "\n", "\x00"]), max_size=9).map("".join)


@given(st.one_of(PARTS, PARTS.map(lambda rest: f"{BASE}{rest}"), PARTS.map(lambda rest: f"https://{rest}"), st.text()))
def test_only_the_site_and_what_is_configured_is_ever_asked(url: str) -> None:
    found = place_in({"token_endpoint": url}, BASE, [LOGIN])
    if isinstance(found, Place):
        assert url.startswith(("https://hospital.example", "https://login.hospital.example")) or url != url.lower()
        assert url.lower().partition("://")[2].partition("/")[0] in (
            "hospital.example", "hospital.example:443", "login.hospital.example", "login.hospital.example:443",
        )  # fmt: skip
    else:
        assert found.code in ("site.token_origin", "site.no_smart")


@pytest.mark.parametrize(
    "url",
    [
        "https://hospital.example.evil.example/token",
        "https://hospital.example@evil.example/token",
        "https://evil.example/hospital.example/token",
        "https://hospital.example:8443/token",
        "https://hospital.example./token",
        "https://xn--hspital-q4a.example/token",
        "https://hosp\u0456tal.example/token",
        "https:/\\evil.example/token",
        "https://hospital.example\\@evil.example/token",
        "https://hospital.example\t.evil.example",
        "//evil.example/token",
        "token",
        "",
        "javascript:alert(1)",
        "http://hospital.example/token",
        "https://169.254.169.254/token",
        "https://[::ffff:127.0.0.1]/token",
    ],
)
def test_a_look_alike_is_refused(url: str) -> None:
    found = place_in({"token_endpoint": url}, BASE, [])
    assert isinstance(found, Trouble)
    assert (found.sort, found.code) == ("refused", "site.token_origin")


def test_an_origin_that_is_configured_is_taken_and_one_in_clear_is_not() -> None:
    assert isinstance(place_in({"token_endpoint": f"{LOGIN}/t"}, BASE, [LOGIN]), Place)
    plain = place_in({"token_endpoint": "http://login.hospital.example/t"}, BASE, ["http://login.hospital.example"])
    assert isinstance(plain, Trouble)
    assert isinstance(place_in({"token_endpoint": "http://127.0.0.1:8080/t"}, "http://127.0.0.1:8080/fhir", []), Place)


@pytest.mark.parametrize("document", [None, [], {}, {"token_endpoint": 5}, {"token_endpoint": None}])
def test_a_configuration_without_an_endpoint_is_none(document: object) -> None:
    found = place_in(document, BASE, [])
    assert isinstance(found, Trouble)
    assert found.code == "site.no_smart"


def test_an_origin_has_one_spelling() -> None:
    assert origin_of("HTTPS://Hospital.Example:443/fhir?x=1") == "https://hospital.example"
    assert origin_of("https://h.example:8443") == "https://h.example:8443"
    assert origin_of("http://[::1]:80/") == "http://[::1]"
    assert origin_of("https://h.example:99999") is None
    assert origin_of(f"https://h.example/{'a' * 3_000}") is None
