"""Tokens in the course of a push: whatever becomes of them, each record arrives once, now or with the next push."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fhirbridge.client.auth.signing import SigningKey
from fhirbridge.client.rest import Client
from fhirbridge.client.transport import Transport
from fhirbridge.config import Config, parse
from fhirbridge.errors import ConfigError, SiteRefused
from fhirbridge.ledger import Ledger, State
from fhirbridge.site import Site
from fhirbridge.sync import How, RecordOutcome, push
from tests.auth.conftest import Clinic
from tests.auth.tokens import Tokens, busy
from tests.client.pushing import CLOCK, KINDS, LEDGERS, STORE, how, ledger_of, lines, rate, register, site_of
from tests.client.server import FakeServer, Reply, Request

WHO = ["P-1", "P-2", "P-3"]
TREES = [rate(f"v{number}", WHO[number % 3], value=60 + number) for number in range(18)]


@pytest.fixture
def ledger(server: FakeServer, tmp_path: Path) -> Iterator[Ledger]:
    (tmp_path / "kept").mkdir()
    LEDGERS[id(server)] = tmp_path / "kept"
    register(server, *WHO)
    with ledger_of(server, CLOCK) as opened:
        yield opened


@pytest.fixture
def site(clinic: Clinic, server: FakeServer, tokens: Tokens, es: SigningKey) -> Iterator[Site]:
    """A hospital with small bundles, whose tokens we keep by the clock of the push."""
    tokens.know(es)
    clinic.ticks = CLOCK  # type: ignore[assignment]
    with site_of(server, bundle_entries=3) as plain:
        transport = Transport(server.base, authorization=clinic.smart(es))
        with Site("s", plain.settings, plain.mappings, Client(transport)) as made:
            yield made


def pushed(site: Site, ledger: Ledger, how_: How | None = None) -> list[str]:
    found: list[RecordOutcome] = list(push(lines(*TREES), site, ledger, how_ or how()))
    assert len(found) == len(TREES)
    return sorted(one.state for one in found)


def everything_is_there_once(server: FakeServer) -> bool:
    kept = {name: versions for name, versions in server.resources.items() if name.startswith("Observation/")}
    return len(kept) == len(TREES) and all(len(versions) == 1 for versions in kept.values())


def meddle(server: FakeServer, tokens: Tokens, at: int, what: Any) -> None:
    """Do something before the bundle number ``at`` is answered."""
    count = iter(range(1_000))

    def answer(request: Request) -> Reply | None:
        if request.method == "POST" and request.path == "" and b'"PUT"' in request.body and next(count) == at:
            what()
        return tokens.answer(request)

    server.misbehave = answer


def test_a_token_that_is_revoked_in_the_middle_is_renewed_once_and_everything_arrives(
    site: Site, server: FakeServer, tokens: Tokens, ledger: Ledger
) -> None:
    meddle(server, tokens, 2, tokens.revoke)
    assert pushed(site, ledger) == ["created"] * 18
    assert tokens.verdicts == ["issued", "issued"]
    assert tokens.turned_away >= 1
    assert everything_is_there_once(server)


@pytest.mark.parametrize(
    "reply", [busy(429, "20"), busy(503, "20"), Reply(500), Reply(cut=True)], ids=["429", "503", "500", "cut"]
)
def test_an_endpoint_that_has_no_time_in_the_middle_only_delays(
    site: Site, server: FakeServer, tokens: Tokens, ledger: Ledger, reply: Reply
) -> None:
    def trouble() -> None:
        tokens.revoke()
        tokens.instead = deque([reply, reply])

    meddle(server, tokens, 1, trouble)
    assert pushed(site, ledger, how(patience=1_000)) == ["created"] * 18
    assert tokens.verdicts == ["issued", "instead", "instead", "issued"]
    assert everything_is_there_once(server)


def test_an_endpoint_that_has_no_time_for_long_fails_no_record(
    site: Site, server: FakeServer, tokens: Tokens, ledger: Ledger
) -> None:
    """What did not go waits in the ledger, queued, and the next push finds it there."""

    def trouble() -> None:
        tokens.revoke()
        tokens.instead = deque([busy(503, "3000")])

    meddle(server, tokens, 2, trouble)
    first = pushed(site, ledger)
    assert 0 < first.count("created") < 18
    assert set(first) == {"created", "failed"}
    assert states(ledger) == {State.ACKED: first.count("created"), State.QUEUED: first.count("failed")}
    # Not earlier than the endpoint has said, and some of them later, so that not all come at once.
    CLOCK.sleep(3_400)
    assert set(pushed(site, ledger)) <= {"created", "unchanged"}
    assert everything_is_there_once(server)
    assert tokens.verdicts == ["issued", "instead", "issued"]


def test_a_client_that_is_locked_out_in_the_middle_stops_with_one_refused_request(
    site: Site, server: FakeServer, tokens: Tokens, ledger: Ledger, es: SigningKey
) -> None:
    def trouble() -> None:
        tokens.revoke()
        tokens.jwks = []

    meddle(server, tokens, 2, trouble)
    found = list(push(lines(*TREES), site, ledger, how(patience=1_000)))
    left = [one for one in found if one.state == "failed"]
    assert left
    told = {fault.code for one in left for fault in one.faults}
    assert "site.token_refused" in told
    assert told <= {"site.token_refused", "site.token_closed", "site.waits", "site.failed"}
    assert tokens.verdicts == ["issued", "kid"]
    assert states(ledger) == {State.ACKED: 18 - len(left), State.QUEUED: len(left)}
    tokens.know(es)
    CLOCK.sleep(61)
    assert set(pushed(site, ledger)) <= {"created", "unchanged"}
    assert everything_is_there_once(server)


def test_a_server_that_takes_no_token_gets_one_new_one_and_no_more(
    site: Site, server: FakeServer, tokens: Tokens, ledger: Ledger
) -> None:
    """A 401 that no token cures stops the run; the endpoint is not stormed."""
    pushed(site, ledger)
    again = [rate(f"w{number}", WHO[number % 3], value=60) for number in range(18)]
    tokens.know()
    server.misbehave = lambda request: tokens.answer(request) if "auth/" in request.path else Reply(401)
    before = len(tokens.verdicts)
    tokens.instead = deque(
        [Reply(200, b'{"access_token": "t", "token_type": "bearer"}', content_type="application/json")] * 9
    )
    found = list(push(lines(*again), site, ledger, how(patience=1_000)))
    assert {one.state for one in found} == {"failed"}
    assert len(tokens.verdicts) - before == 1


def test_without_a_token_nothing_is_taken_for_what_the_server_can(
    site: Site, server: FakeServer, tokens: Tokens, ledger: Ledger
) -> None:
    tokens.know()
    with pytest.raises(SiteRefused) as caught:
        pushed(site, ledger)
    assert caught.value.code == "site.token_refused"


def test_all_of_it_out_of_a_configuration(
    server: FakeServer, tokens: Tokens, ledger: Ledger, es: SigningKey, tmp_path: Path
) -> None:
    """Discovery, scopes made from what the site does, the key out of a file: as somebody would set it up."""
    tokens.know(es)
    (tmp_path / "key.pem").write_bytes(es.pem())
    auth = {"kind": "smart-backend", "client_id": tokens.client_id, "keys": [{"file": "key.pem", "kid": es.kid}]}
    table = {"base_url": server.base, "timeout": 5, "consent": STORE, "auth": auth}
    config = Config(parse({"clinic": {"demo": True}, "site": {"s": table}}), tmp_path, {})
    with Site.open("s", config, kinds=KINDS) as made:
        assert pushed(made, ledger) == ["created"] * 18
    assert tokens.verdicts == ["issued"]
    (scope,) = tokens.scopes
    assert "system/Observation.cruds" in scope.split()
    assert "system/Patient.rs" in scope.split()


def test_a_secret_that_is_missing_is_told_before_anything_is_sent(server: FakeServer, tmp_path: Path) -> None:
    auth = {"kind": "bearer", "token": {"file": "nowhere"}}
    table = {"base_url": server.base, "auth": auth}
    config = Config(parse({"clinic": {"demo": True}, "site": {"s": table}}), tmp_path, {})
    with pytest.raises(ConfigError, match="nowhere"):
        Site.open("s", config, kinds=KINDS)
    assert server.requests == []


def states(ledger: Ledger) -> dict[State, int]:
    rows = ledger.known("s", {(tree["kind"], tree["id"]) for tree in TREES})
    found: dict[State, int] = {}
    for row in rows:
        if row.state is not None:
            found[row.state] = found.get(row.state, 0) + 1
    return found
