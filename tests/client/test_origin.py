"""Credentials and patient data go only to the configured origin and path, whatever a server writes into a link."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests import PreparedRequest

from fhirbridge.client.origin import within
from fhirbridge.errors import SiteUntrusted

BASE = "https://hospital.example/tenant/a/fhir"
HOSTILE = [
    "https://evil.example/tenant/a/fhir/Patient",
    "http://hospital.example/tenant/a/fhir/Patient",
    "https://hospital.example:8443/tenant/a/fhir/Patient",
    "https://hospital.example.evil.example/tenant/a/fhir",
    "https://hospital.example@evil.example/tenant/a/fhir",
    "https://user:word@hospital.example/tenant/a/fhir",
    "https://evil.example/?x=https://hospital.example/tenant/a/fhir",
    "//evil.example/tenant/a/fhir",
    "/tenant/ab/fhir/Patient",
    "/tenant/a/fhirs",
    "/tenant/a/fhir/../../b",
    "/tenant/a/fhir/%2e%2e/%2e%2e/b",
    "/tenant/a/fhir/%2E./b",
    "/tenant/a/fhir/..%2f..%2fb",
    "/tenant/a/fhir/%252e%252e/b",
    "..",
    "../../b",
    "Patient/../../../b",
    "\\\\evil.example\\x",
    "/\\evil.example",
    "https:\\\\evil.example/x",
    "https://hospital.example\\@evil.example/tenant/a/fhir",
    "https://evil.example#@hospital.example/tenant/a/fhir",
    "javascript:alert(1)",
    "file:///etc/passwd",
    "Patient\r\nHost: evil.example",
    "https://[::1/tenant/a/fhir",
    "https://hospital.example:port/tenant/a/fhir",
    "https://hospital.example\u3002evil.example/tenant/a/fhir",
]


@pytest.mark.parametrize("link", HOSTILE)
def test_a_link_that_leads_out_is_never_followed(link: str) -> None:
    with pytest.raises(SiteUntrusted):
        within(BASE, link)


@pytest.mark.parametrize(
    ("link", "address"),
    [
        ("Patient/1", f"{BASE}/Patient/1"),
        ("?_getpages=1", f"{BASE}/?_getpages=1"),
        (f"{BASE}?_getpages=1&x=..%2f", f"{BASE}?_getpages=1&x=..%2f"),
        ("https://HOSPITAL.example:443/tenant/a/fhir/x", f"{BASE}/x"),
        ("/tenant/a/fhir/Patient?identifier=https://x|y#part", f"{BASE}/Patient?identifier=https://x%7Cy"),
    ],
)
def test_a_link_that_stays_inside_is_followed(link: str, address: str) -> None:
    assert within(BASE, link) == address


@given(st.lists(st.sampled_from(["..", ".", "%2e", "%2f", "/", "\\", "a", "@", ":", "?", "#", "evil.example", "https:",
                                 "//", "tenant", "hospital.example", "%25", ";", " "]), max_size=9))  # fmt: skip
def test_what_is_sent_is_inside_whatever_the_link(pieces: list[str]) -> None:
    """Judged on what requests makes of the address, which is what goes over the wire."""
    try:
        address = within(BASE, "".join(pieces))
    except SiteUntrusted:
        return
    prepared = PreparedRequest()
    prepared.prepare_url(address, None)
    assert prepared.url is not None
    path = prepared.url.partition("?")[0]
    assert path == BASE or path.startswith(f"{BASE}/")
