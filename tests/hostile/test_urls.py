"""Whatever address a server or a record says: no byte goes to a stranger, and none beside the configured path.

Judged at the socket. The same scene shows that two usual clients hand over their token.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.leaky import CLIENTS, next_link, redirect
from tests.hostile.scene import Hospital, Stranger, hospital, lead_astray, listening
from tests.hostile.urls import hostile
from tests.hostile.vectors import BESIDE_THE_BASE, VECTORS, Visit

REDIRECTS = [one for one in VECTORS if one.startswith("redirect")]


@pytest.fixture
def here() -> Iterator[Hospital]:
    with hospital() as running:
        yield running


@pytest.fixture
def stranger(here: Hospital, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stranger]:
    with listening() as running:
        lead_astray(monkeypatch, here, running)
        yield running


def test_there_are_more_than_300_hostile_addresses() -> None:
    assert len(hostile(8080, "127.0.0.2:9")) >= 300


@pytest.mark.parametrize("vector", VECTORS)
def test_no_byte_goes_astray(vector: str, here: Hospital, stranger: Stranger) -> None:
    """Redirects share the addresses among their five codes here."""
    urls = hostile(here.port, stranger.host)
    if vector in REDIRECTS:
        urls = urls[REDIRECTS.index(vector) :: len(REDIRECTS)]
    nothing_goes_astray(vector, urls, here, stranger)


@pytest.mark.long
@pytest.mark.parametrize("vector", REDIRECTS)
def test_no_byte_follows_a_redirect(vector: str, here: Hospital, stranger: Stranger) -> None:
    nothing_goes_astray(vector, hostile(here.port, stranger.host), here, stranger)


def nothing_goes_astray(vector: str, urls: list[str], here: Hospital, stranger: Stranger) -> None:
    visit = Visit.at(here)
    for url in urls:
        before = here.asked
        VECTORS[vector](visit, url)
        assert stranger.calls == 0, url
        assert not here.outside or vector in BESIDE_THE_BASE, url
        assert here.asked > before or "manifest" in vector, "the address was never said"
    visit.close()
    assert stranger.heard == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("client", CLIENTS)
def test_the_same_scene_shows_the_leaks_of_usual_clients(client: str, here: Hospital, stranger: Stranger) -> None:
    """Both send the bearer token to a ``next`` link, one of them only if our base stands somewhere in it; across a
    redirect they drop that and keep the other header."""
    here.reply = next_link(f"http://{stranger.host}/Patient?from={here.base}")
    CLIENTS[client](here)
    assert b"canary-bearer" in b"".join(stranger.heard)
    stranger.heard.clear()
    here.reply = redirect(f"http://{stranger.host}/fhir/tenantA/Patient")
    CLIENTS[client](here)
    assert b"canary-api-key" in b"".join(stranger.heard)
