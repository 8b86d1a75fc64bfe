"""The ways in which an address out of somebody's data could reach a connection: one function for each.

Each has the hospital say the address in its place, does what the product does there, and comes back when that is
refused or done. A way that is added to :data:`VECTORS` is tried with every hostile address.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest

from fhirbridge.client.auth import Service, SmartBackend, new_key
from fhirbridge.client.channel import Channel
from fhirbridge.client.network import Network
from fhirbridge.client.paging import pages
from fhirbridge.client.rest import Client
from fhirbridge.client.transport import Transport
from fhirbridge.errors import SiteError, SiteUntrusted
from fhirbridge.fhir.bundle import resources
from tests.client.server import Reply
from tests.hostile.scene import Hospital

Vector: TypeAlias = Callable[["Visit", str], None]


class Twofold:
    """A bearer token and a header of one's own, which clients forget to guard."""

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": "Bearer canary-bearer", "X-Api-Key": "canary-api-key"}

    def refused(self, status: int) -> bool:
        return False


@dataclass
class Visit:
    """A client at a hospital, and one that asks for tokens first."""

    hospital: Hospital
    transport: Transport
    client: Client
    backend: Transport
    tokens: Channel

    @classmethod
    def at(cls, hospital: Hospital) -> Visit:
        transport = Transport(hospital.base, authorization=Twofold(), timeout=5)
        channel = Channel(network=Network().trusting(hospital.base), timeout=5)
        service = Service(hospital.base, "canary-bearer", scope="system/*.rs")
        backend = Transport(hospital.base, authorization=Asked(channel, service), timeout=5)
        return cls(hospital, transport, Client(transport), backend, channel)

    def close(self) -> None:
        self.transport.close()
        self.backend.close()
        self.tokens.close()


class Asked:
    """Asks the hospital anew each time where tokens are to be had."""

    def __init__(self, channel: Channel, service: Service) -> None:
        self._channel, self._service, self._key = channel, service, new_key("ES384")

    def headers(self) -> Mapping[str, str]:
        return SmartBackend(self._channel, self._service, [self._key]).headers()

    def refused(self, status: int) -> bool:
        return False


def next_link(visit: Visit, url: str) -> None:
    bundle = {"resourceType": "Bundle", "type": "searchset", "link": [{"relation": "next", "url": url}]}
    visit.hospital.reply = lambda path: Reply(body=bundle)
    _untrusted(lambda: list(pages(visit.client, visit.client.search("Patient", {}))))


def redirect(status: int) -> Vector:
    def vector(visit: Visit, url: str) -> None:
        visit.hospital.reply = lambda path: Reply(status, headers={"Location": url})
        with contextlib.suppress(SiteError):  # an address with a line end in it makes no header
            visit.client.search("Patient", {})
            raise AssertionError("a redirect was taken for an answer")

    return vector


def created_at(header: str) -> Vector:
    """After a create, the resource is read where the header says that it is."""

    def vector(visit: Visit, url: str) -> None:
        visit.hospital.reply = lambda path: Reply(201, headers={header: url})
        with contextlib.suppress(SiteError):
            stored = visit.client.create({"resourceType": "Patient"})
            visit.client.read(stored.address)

    return vector


def named_address(visit: Visit, url: str) -> None:
    """What a manifest's entry, an attachment's url or a literal reference is fetched by."""
    _untrusted(lambda: visit.transport.exchange("GET", url))


def other_links(visit: Visit, url: str) -> None:
    """Addresses that nothing follows: they may stand there."""
    relations = ("self", "first", "last", "previous", "prev", "alternate", "Next")
    resource: dict[str, Any] = {
        "resourceType": "DocumentReference",
        "id": "1",
        "subject": {"reference": url},
        "content": [{"attachment": {"url": url}}],
    }
    links = [{"relation": one, "url": url} for one in relations]
    entries = [{"fullUrl": url, "resource": resource, "link": links, "response": {"location": url}}]
    bundle = {"resourceType": "Bundle", "type": "searchset", "link": links, "entry": entries}
    visit.hospital.reply = lambda path: Reply(body=bundle)
    for page in pages(visit.client, visit.client.search("DocumentReference", {})):
        assert [one["id"] for one in resources(page)] == ["1"]


def token_endpoint(visit: Visit, url: str) -> None:
    document = {
        "token_endpoint": url,
        "grant_types_supported": ["client_credentials"],
        "capabilities": ["permission-v2"],
    }
    visit.hospital.reply = lambda path: Reply(body=document)
    with contextlib.suppress(SiteError):
        visit.backend.exchange("GET", "Patient")


VECTORS: dict[str, Vector] = {
    "next link": next_link,
    **{f"redirect {status}": redirect(status) for status in (301, 302, 303, 307, 308)},
    "Location": created_at("Location"),
    "Content-Location": created_at("Content-Location"),
    "manifest, attachment, reference": named_address,
    "other links": other_links,
    "token endpoint": token_endpoint,
}
# A token endpoint may stand beside the FHIR server, on its own origin.
BESIDE_THE_BASE = frozenset({"token endpoint"})


def _untrusted(act: Callable[[], object]) -> None:
    with pytest.raises(SiteUntrusted) as caught:
        act()
    assert caught.value.code == "site.foreign_link"
