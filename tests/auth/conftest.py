"""A FHIR server behind a token endpoint, keys of both sorts, and what asks that endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from fhirbridge.client.auth import Notice, Service, SmartBackend
from fhirbridge.client.auth.signing import SigningKey
from fhirbridge.client.channel import Channel
from fhirbridge.client.network import Network
from tests.auth.tokens import Ticks, Tokens
from tests.client.server import FakeServer, serving


@pytest.fixture(scope="session")
def es() -> SigningKey:
    return SigningKey(ec.generate_private_key(ec.SECP384R1()), "es-1")


@pytest.fixture(scope="session")
def es2() -> SigningKey:
    return SigningKey(ec.generate_private_key(ec.SECP384R1()), "es-2")


@pytest.fixture(scope="session")
def rs() -> SigningKey:
    return SigningKey(rsa.generate_private_key(public_exponent=65537, key_size=2048), "rs-1")


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving(FakeServer()) as running:
        yield running


@pytest.fixture
def tokens(server: FakeServer) -> Tokens:
    """The endpoint in front of the server; it knows no key yet."""
    made = Tokens()
    made.guard(server)
    return made


@pytest.fixture
def channel(server: FakeServer) -> Iterator[Channel]:
    made = Channel(network=Network().trusting(server.base), timeout=5)
    yield made
    made.close()


class Clinic:
    """Makes the client's side. ``ticks`` is its monotonic clock, ``off`` by how much its own clock is wrong (seconds),
    ``notices`` what it warned of."""

    def __init__(self, tokens: Tokens, channel: Channel, base: str) -> None:
        self.tokens, self.channel, self.base = tokens, channel, base
        self.ticks, self.off = Ticks(), 0.0
        self.notices: list[Notice] = []

    def smart(self, *keys: SigningKey, **service: Any) -> SmartBackend:
        """A client with these keys; ``service`` as :class:`Service` takes it."""
        wanted = {"needs": {"Observation": "cruds", "Patient": "rs"}, "client_id": self.tokens.client_id, **service}
        return SmartBackend(
            self.channel,
            Service(self.base, **wanted),
            keys,
            clock=lambda: self.tokens.clock() + self.off,
            monotonic=self.ticks,
            tell=self.notices.append,
        )


@pytest.fixture
def clinic(tokens: Tokens, channel: Channel, server: FakeServer) -> Clinic:
    return Clinic(tokens, channel, server.base)
