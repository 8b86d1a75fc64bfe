"""Pages come in order, and never in a circle, out of the site or without an end."""

from __future__ import annotations

import pytest

from fhirbridge.client.paging import MOST_STALE, pages
from fhirbridge.client.rest import Client
from fhirbridge.errors import SiteUntrusted
from fhirbridge.fhir.bundle import resources
from tests.client.server import FakeServer, Reply, Request


def linked(server: FakeServer, following: dict[str, str | None]) -> None:
    """Page ``n`` is ``Patient?page=n`` and holds Patient n; ``following`` gives each page's next link."""

    def page(request: Request) -> Reply:
        number = request.path.rpartition("=")[2]
        link = following[number]
        links = [{"relation": "self", "url": "x"}] + ([{"relation": "next", "url": link}] if link else [])
        entries = [
            {"resource": {"resourceType": "Patient", "id": number}},
            {"resource": {"resourceType": "Organization", "id": "o"}, "search": {"mode": "include"}},
            {"resource": {"resourceType": "OperationOutcome"}, "search": {"mode": "outcome"}},
        ]
        return Reply(body={"resourceType": "Bundle", "type": "searchset", "link": links, "entry": entries})

    server.misbehave = page


def ids(client: Client, most: int = 100) -> list[str]:
    first = client.search("Patient", {"page": "1"})
    return [one["id"] for page in pages(client, first, most) for one in resources(page)]


def test_relative_and_absolute_links_are_followed_and_only_matches_count(server: FakeServer, client: Client) -> None:
    linked(
        server, {"1": "Patient?page=2", "2": f"{server.base}/Patient?page=3", "3": "/fhir/Patient?page=4", "4": None}
    )
    assert ids(client) == ["1", "2", "3", "4"]


@pytest.mark.parametrize("back_to", ["1", "2", "3"])
def test_a_circle_is_noticed(server: FakeServer, client: Client, back_to: str) -> None:
    linked(server, {"1": "Patient?page=2", "2": "Patient?page=3", "3": f"Patient?page={back_to}"})
    with pytest.raises(SiteUntrusted) as caught:
        ids(client)
    assert caught.value.code == "site.page_loop"
    assert len(server.requests) <= 5


def test_there_is_an_end_to_pages(server: FakeServer, client: Client) -> None:
    linked(server, {str(number): f"Patient?page={number + 1}" for number in range(1, 50)})
    with pytest.raises(SiteUntrusted) as caught:
        ids(client, most=10)
    assert caught.value.code == "site.too_many_pages"


@pytest.mark.parametrize("entries", [[], [{"resource": {"resourceType": "Patient", "id": "1"}}]])
def test_pages_with_nothing_new_end_though_each_link_is_another(
    server: FakeServer, client: Client, entries: list[object]
) -> None:
    """Empty ones, or the same resource again and again."""

    def page(request: Request) -> Reply:
        links = [{"relation": "next", "url": f"Patient?page={len(server.requests)}"}]
        return Reply(body={"resourceType": "Bundle", "type": "searchset", "link": links, "entry": entries})

    server.misbehave = page
    with pytest.raises(SiteUntrusted) as caught:
        list(pages(client, client.search("Patient", {})))
    assert caught.value.code == "site.page_loop"
    assert len(server.requests) <= MOST_STALE + 2


def test_empty_pages_between_full_ones_are_in_order(server: FakeServer, client: Client) -> None:
    """What a search found may be filtered afterwards."""

    def page(request: Request) -> Reply:
        number = len(server.requests)
        links = [{"relation": "next", "url": f"Patient?page={number}"}] if number < 3 * MOST_STALE else []
        found = [{"resource": {"resourceType": "Patient", "id": str(number)}}] if number % (MOST_STALE - 1) == 0 else []
        return Reply(body={"resourceType": "Bundle", "type": "searchset", "link": links, "entry": found})

    server.misbehave = page
    assert len(list(pages(client, client.search("Patient", {})))) == 3 * MOST_STALE


def test_a_link_out_of_the_site_ends_it(server: FakeServer, client: Client) -> None:
    linked(server, {"1": "http://evil.example/Patient?page=2"})
    with pytest.raises(SiteUntrusted) as caught:
        ids(client)
    assert caught.value.code == "site.foreign_link"
