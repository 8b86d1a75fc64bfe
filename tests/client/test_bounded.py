"""No byte leaves after the moment that was named, and what had left by then is told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain, repeat
from types import SimpleNamespace

import pytest

from fhirbridge.client import bounded
from fhirbridge.client.transport import Transport
from fhirbridge.errors import SiteUnreachable
from tests.client.server import FakeServer, serving


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving(FakeServer()) as running:
        yield running


def test_a_request_whose_time_is_over_does_not_leave(server: FakeServer) -> None:
    transport = Transport(server.base)
    for body in (None, b"{}"):
        with pytest.raises(SiteUnreachable) as caught:
            transport.exchange("POST" if body else "GET", "metadata", body=body, not_after=time.monotonic() - 1)
        assert not caught.value.sent
    assert server.requests == []
    transport.exchange("GET", "metadata", not_after=time.monotonic() + 60)
    transport.close()
    assert len(server.requests) == 1


def test_a_body_is_broken_off_where_its_time_ends(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the server may have something of it, which is a doubt; the next request has a connection of its own."""
    ticks = chain([0.0, 1.0, 2.0], repeat(100.0))
    # A clock of its own for the one who is asked: the server's threads look at the time too.
    clock = SimpleNamespace(monotonic=lambda: next(ticks))
    transport = Transport(server.base)
    with monkeypatch.context() as patched:
        patched.setattr(bounded, "time", clock)
        with pytest.raises(SiteUnreachable) as caught:
            transport.exchange("POST", "Observation", body=b" " * 200_000, not_after=50.0)
    assert caught.value.sent
    assert not [one for one in server.requests if one.method == "POST"]
    assert transport.exchange("GET", "metadata").status == 200
    transport.close()


def test_who_names_no_moment_is_asked_for_a_permit_after_the_turn(server: FakeServer) -> None:
    heard: list[str] = []

    def permit() -> float | None:
        heard.append("permit")
        return None

    transport = Transport(server.base)
    transport.turn, transport.permit = (lambda: heard.append("turn")), permit
    transport.exchange("GET", "metadata")
    transport.exchange("GET", "metadata", not_after=time.monotonic() + 60)
    transport.close()
    assert heard == ["turn", "permit"]


def test_a_permit_that_is_refused_sends_nothing(server: FakeServer) -> None:
    def permit() -> float | None:
        raise PermissionError

    transport = Transport(server.base)
    transport.permit = permit
    with pytest.raises(PermissionError):
        transport.exchange("GET", "metadata")
    transport.close()
    assert server.requests == []
