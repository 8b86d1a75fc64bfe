"""A real server is what ``docs/servers.md`` says it is, and every way to write holds on it."""

from __future__ import annotations

import importlib.util
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fhirbridge.binding import Release
from fhirbridge.client.rest import Client
from fhirbridge.client.transport import Transport
from fhirbridge.fhir.bundle import resources
from fhirbridge.fhir.outcome import signals
from fhirbridge.sync.doubt import carries, look, verdict
from fhirbridge.sync.retry import Do, Happened, Sent, decide
from fhirbridge.sync.strategy import LADDER, Rung, Strategy
from fhirbridge.sync.writing import Target, Write, proved, proved_alone, target_of, write

Tree = dict[str, Any]
DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
KEYS = "https://fhirbridge.example/fhir/CodeSystem/record-key"
# What a real server here offers; a key that it remembers none does.
OFFERED = [rung for rung in LADDER if rung.name != "idempotency-key" and rung.key != "content"]
rungs = pytest.mark.parametrize("rung", OFFERED, ids=lambda rung: f"{rung.name}-{rung.key}")


@pytest.fixture
def client(server: tuple[str, str, bool]) -> Iterator[Client]:
    made = Client(Transport(server[0]))
    yield made
    made.close()


def a_resource(rung: Rung, release: str) -> Tree:
    """A new resource of the kind that a way is for: an adverse event where no search finds those by identifier."""
    key = uuid.uuid4().hex
    head: Tree = {"id": f"f{key}", "meta": {"tag": [{"system": KEYS, "code": key}]}}
    identifier = {"system": "https://ways.example/sid/x", "value": key}
    if rung.key == "_tag" and release == "r4":
        subject = {"type": "Patient", "identifier": {"system": "https://ways.example/sid/patient", "value": "P-1"}}
        event = {"actuality": "actual", "subject": subject, "date": "2026-11-20"}
        return {"resourceType": "AdverseEvent", **head, "identifier": identifier, **event}
    words = {"status": "final", "code": {"text": "a way to write"}, "valueString": "first"}
    return {"resourceType": "Observation", **head, "identifier": [identifier], **words}


def changed(resource: Tree, words: str) -> Tree:
    """The same resource with other content."""
    if resource["resourceType"] == "AdverseEvent":
        return {**resource, "event": {"text": words}}
    return {**resource, "valueString": words}


def strategy_of(rung: Rung, resource: Tree, release: str) -> Strategy:
    return Strategy(rung, resource["resourceType"], Release(release), index_lag=0.0)


def sent(client: Client, *writes: Write) -> Any:
    return client.post_bundle(
        {"resourceType": "Bundle", "type": "transaction", "entry": [one.entry() for one in writes]}
    )


def found_by(client: Client, way: Strategy, target: Target, resource: Tree) -> list[Tree]:
    asked = look(way, target, resource)
    assert asked is not None
    if asked.address is not None:
        there = client.read(asked.address)
        return [there] if there is not None else []
    page = client.search_by_post(target.type, asked.parameters)
    return [one for one in resources(page) if carries(target, one)]


def test_the_page_says_what_the_server_does(server: tuple[str, str, bool]) -> None:
    """Claimed, proven and chosen, row by row; and nothing is left behind."""
    spec = importlib.util.spec_from_file_location("generate_servers", DOCS / "generate_servers.py")
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    base, release, keeps_digits = server
    name = f"HAPI {release.upper()}" if keeps_digits else "SEKMET"
    found = program.column(base, release)
    page = program.column_of((DOCS / "servers.md").read_text("utf-8"), name)
    assert found == page, "run: python docs/generate_servers.py"
    assert found["left behind"] == "nothing"


@rungs
def test_a_way_writes_once_and_a_doubt_finds_it(rung: Rung, client: Client, server: tuple[str, str, bool]) -> None:
    release = server[1]
    resource = a_resource(rung, release)
    way, target = strategy_of(rung, resource, release), target_of(resource, KEYS)
    assert found_by(client, way, target, resource) == []
    assert verdict(look(way, target, resource), way, 0, 2) == "resend"
    one = write(way, target, resource, client.base)
    (first,) = proved([one], sent(client, one))
    assert first.state == "created"
    assert first.address is not None
    assert len(found_by(client, way, target, resource)) == 1
    assert verdict(look(way, target, resource), way, 1, 1) == "adopt"
    if rung.name != "search-then-create":
        # The server itself keeps a repetition from making a second one.
        (again,) = proved([one], sent(client, one))
        alone = proved_alone(one, client.ask(one.method, one.url, one.resource, one.headers()))
        assert {again.state, alone.state} <= {"updated", "existed"}
        assert {again.address, alone.address} <= {first.address, None}
        assert len(found_by(client, way, target, resource)) == 1


@rungs
def test_an_update_names_its_version_and_a_stale_one_is_merged(
    rung: Rung, client: Client, server: tuple[str, str, bool]
) -> None:
    release = server[1]
    resource = a_resource(rung, release)
    way = strategy_of(rung, resource, release)
    one = write(way, target_of(resource, KEYS), resource, client.base)
    (first,) = proved([one], sent(client, one))
    assert first.address is not None
    known = target_of(resource, KEYS, server_id=first.address.id, version=first.version)
    update = write(way, known, changed(resource, "second"), client.base)
    done = proved_alone(update, client.ask(update.method, update.url, update.resource, update.headers()))
    assert (done.state, done.address) == ("updated", first.address)
    assert done.version != first.version
    stale = write(way, known, changed(resource, "third"), client.base)
    refused = proved_alone(stale, client.ask(stale.method, stale.url, stale.resource, stale.headers()))
    assert refused.state == "refused"
    event = Happened(None, refused.status, signals(refused.issues))
    request = Sent.of([stale], bundle=False, attempt=1)
    assert decide(event, request, now=0.0, chance=0.0).do is Do.MERGE
    (there,) = found_by(client, way, known, resource)
    assert there["meta"]["versionId"] == done.version
