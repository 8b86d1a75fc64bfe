"""SMART Backend Services against SEKMET, a server that others wrote.

What SEKMET 0.1.1 does not do, and the endpoint of these tests does: it tries every key instead of looking for the
``kid`` (and fails with 500 where one of them is of the other type), takes any ``typ``, cannot revoke a token, never
throttles. A bundle it lets in by a scope for all types
only, whatever stands in the bundle; so ``scope`` has to be set for it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from fhirbridge.client.auth import Notice, Service, SmartBackend
from fhirbridge.client.auth import assertion as assertions
from fhirbridge.client.auth.signing import SigningKey
from fhirbridge.client.channel import Channel
from fhirbridge.client.network import Network
from fhirbridge.client.rest import Client
from fhirbridge.client.transport import Transport
from fhirbridge.demo.server import Server, sekmet_server
from fhirbridge.errors import SiteError, SiteRefused
from tests.auth.tokens import Ticks

pytestmark = [pytest.mark.sekmet, pytest.mark.xdist_group("sekmet-smart")]
EVERYTHING = "system/*.cruds"
# Seconds that a token lives on this server; ours are kept by a clock that stands still.
LIFE = 3
ES = SigningKey(ec.generate_private_key(ec.SECP384R1()), "es")
RS = SigningKey(rsa.generate_private_key(public_exponent=65537, key_size=2048), "rs")
FOREIGN = SigningKey(ec.generate_private_key(ec.SECP384R1()), "new")
PERSON = {"resourceType": "Patient", "id": "p1", "active": True}


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    """SEKMET that lets in three clients with tokens, two for everything, one for observations."""
    es, rs = ({"keys": [one.public()]} for one in (ES, RS))
    clients = [
        {"client_id": "all", "jwks": es, "scopes": EVERYTHING},
        {"client_id": "rsa", "jwks": rs, "scopes": EVERYTHING},
        {"client_id": "few", "jwks": es, "scopes": "system/Observation.cruds system/Patient.rs"},
    ]
    with sekmet_server({"types": ["smart"], "smart_clients": clients, "token_lifetime": LIFE}) as server:
        yield server


class Here:
    """A client of that server. ``off`` is by how many seconds its clock is wrong."""

    def __init__(self, server: Server, *keys: SigningKey, off: float = 0.0, **service: Any) -> None:
        self.channel = Channel(network=Network().trusting(server.base, "http://localhost"), timeout=10)
        self.notices: list[Notice] = []
        self.ticks = Ticks()
        wanted = {"client_id": "all", "scope": EVERYTHING, **service}
        self.smart = SmartBackend(
            self.channel,
            Service(server.base, **wanted),
            keys or (ES,),
            clock=lambda: time.time() + off,
            monotonic=self.ticks,
            tell=self.notices.append,
        )
        self.client = Client(Transport(server.base, authorization=self.smart, channel=self.channel))

    def code(self) -> str:
        """Why there is no token."""
        with pytest.raises(SiteError) as caught:
            self.smart.headers()
        return caught.value.code


class Make:
    """Makes clients of that server, and closes them."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.base = server.base
        self.made: list[Here] = []

    def __call__(self, *keys: SigningKey, off: float = 0.0, **service: Any) -> Here:
        self.made.append(Here(self._server, *keys, off=off, **service))
        return self.made[-1]


@pytest.fixture
def here(guarded: Server) -> Iterator[Make]:
    make = Make(guarded)
    yield make
    for one in make.made:
        one.channel.close()


@pytest.mark.parametrize(("key", "name"), [(ES, "all"), (RS, "rsa")], ids=["ES384", "RS384"])
def test_a_token_of_either_algorithm_lets_in(here: Make, key: SigningKey, name: str) -> None:
    clinic = here(key, client_id=name)
    assert clinic.client.update(PERSON).address.id == "p1"
    assert clinic.notices == []


def test_without_a_token_nobody_is_let_in(here: Make) -> None:
    transport = Transport(here.base)
    assert transport.exchange("GET", "Patient/p1").status == 401
    transport.close()


def test_a_token_that_has_run_out_is_renewed_once_and_the_request_goes_again(here: Make) -> None:
    clinic = here()
    clinic.client.update(PERSON)
    before = clinic.smart.headers()
    while clinic.channel.exchange("GET", f"{here.base}/Patient/p1", headers=before).status != 401:
        time.sleep(0.1)
    assert clinic.client.update(PERSON).address.id == "p1"
    assert clinic.smart.headers() != before


def test_a_wrong_audience_is_refused_and_nothing_more_is_asked(here: Make) -> None:
    """The endpoint by another name than the one that it knows itself by."""
    clinic = here(token_url=here.base.replace("/fhir", "/auth/token").replace("127.0.0.1", "localhost"))
    assert [clinic.code(), clinic.code()] == ["site.token_refused", "site.token_closed"]


@pytest.mark.parametrize("off", [-600, 600])
def test_a_clock_that_is_off_is_corrected_by_the_date_of_the_server(here: Make, off: float) -> None:
    """Expired, and too far in the future: this server checks both."""
    clinic = here(off=off)
    assert clinic.smart.headers()
    assert [one.code for one in clinic.notices] == ["site.clock"]


def test_a_jti_is_taken_once(here: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """This server remembers them: only because ours never repeat are the others let in."""
    monkeypatch.setattr(assertions, "new_jti", lambda: "always the same")
    assert here().smart.headers()
    assert here().code() == "site.token_refused"


def test_a_key_that_is_not_registered_yet_gives_way_to_the_older_one(here: Make) -> None:
    clinic = here(FOREIGN, ES)
    assert clinic.smart.headers()
    assert [one.code for one in clinic.notices] == ["site.key"]
    assert here(FOREIGN).code() == "site.token_refused"


def test_what_the_token_does_not_allow_is_warned_of_and_refused(here: Make) -> None:
    clinic = here(client_id="few", scope="system/Observation.cruds system/Patient.rs system/Consent.cruds")
    clinic.smart.headers()
    assert ["system/Consent.cruds" in one.message for one in clinic.notices] == [True]
    with pytest.raises(SiteRefused) as caught:
        clinic.client.update(PERSON)
    assert caught.value.status == 403


def test_scopes_that_are_made_from_what_is_needed_are_granted(here: Make) -> None:
    clinic = here(client_id="few", scope=None, needs={"Observation": "cruds", "Patient": "rs"})
    assert clinic.client.search("Patient", {})["resourceType"] == "Bundle"
    assert clinic.notices == []


def test_a_bundle_needs_a_scope_for_all_types_here(here: Make) -> None:
    """A gap of this server, which SMART does not have: it does not look into the bundle."""
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": "Patient/p1"}}]}
    assert here().client.post_bundle(bundle)["type"] == "batch-response"
    few = here(client_id="few", scope="system/Observation.cruds system/Patient.rs")
    with pytest.raises(SiteRefused) as caught:
        few.client.post_bundle(bundle)
    assert caught.value.status == 403
