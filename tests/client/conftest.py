"""A server and a client for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fhirbridge.client.rest import Client
from fhirbridge.client.transport import Transport
from tests.client.server import FakeServer, serving


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving(FakeServer()) as running:
        yield running


@pytest.fixture
def client(server: FakeServer) -> Iterator[Client]:
    made = Client(Transport(server.base, timeout=5, max_body=1 << 20))
    yield made
    made.close()
