"""One exchange: nothing leaks, nothing large or foreign is believed, a broken connection says whether it was sent."""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Iterator

import pytest

from fhirbridge.client.auth import Bearer
from fhirbridge.client.rest import Client
from fhirbridge.client.transport import Transport
from fhirbridge.errors import ConfigError, SiteError, SiteRefused, SiteUnreachable, SiteUntrusted
from fhirbridge.fhir.bundle import Address
from fhirbridge.fhir.outcome import Issue
from tests.client.server import FakeServer, Reply, Request, outcome, serving

PATIENT = Address("Patient", "1")


def always(server: FakeServer, reply: Reply) -> None:
    server.misbehave = lambda request: reply


@pytest.fixture
def stranger() -> Iterator[FakeServer]:
    """A host that must never hear of anything."""
    with serving(FakeServer()) as running:
        yield running
        assert running.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(server: FakeServer, stranger: FakeServer, status: int) -> None:
    client = Client(Transport(server.base, authorization=Bearer("token")))
    always(server, Reply(status, headers={"Location": f"{stranger.base}/Patient/1"}))
    with pytest.raises(SiteUntrusted) as caught:
        client.read(PATIENT)
    assert caught.value.code == "site.redirect"
    client.close()


def test_a_next_link_to_another_host_is_not_followed(server: FakeServer, stranger: FakeServer) -> None:
    client = Client(Transport(server.base, authorization=Bearer("token")))
    with pytest.raises(SiteUntrusted):
        client.page(f"{stranger.base}/Patient?page=2")
    assert server.requests == []
    client.close()


def test_the_environment_has_no_say(server: FakeServer, stranger: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy variable or a netrc would send the token, or another one, elsewhere."""
    monkeypatch.setenv("HTTP_PROXY", stranger.base)
    monkeypatch.setenv("NO_PROXY", "")
    client = Client(Transport(server.base, authorization=Bearer("token")))
    assert client.read(PATIENT) is None
    assert server.requests[0].headers["authorization"] == "Bearer token"
    client.close()


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(body=b"<html>sign in</html>", content_type="text/html"), "site.not_json"),
        (Reply(body=b'{"a":1,"a":2}'), "site.broken_json"),
        (Reply(body=b'{"a":'), "site.broken_json"),
        (Reply(body=b"[1]"), "site.no_resource"),
        (Reply(body=b" " * (2 << 20)), "site.too_large"),
        (Reply(body=gzip.compress(bytes(64 << 20), mtime=0), headers={"Content-Encoding": "gzip"}), "site.too_large"),
        (Reply(body=b"not gzip at all", headers={"Content-Encoding": "gzip"}), "site.encoding"),
        (Reply(body=b"x", headers={"Content-Encoding": "br"}), "site.encoding"),
        (Reply(body=b"x", headers={"Content-Encoding": "gzip, gzip"}), "site.encoding"),
    ],
)
def test_what_is_not_fhir_json_of_a_sane_size_is_not_believed(
    server: FakeServer, client: Client, reply: Reply, code: str
) -> None:
    always(server, reply)
    with pytest.raises(SiteUntrusted) as caught:
        client.read(PATIENT)
    assert caught.value.code == code


def test_a_packed_answer_is_unpacked(server: FakeServer, client: Client) -> None:
    body = gzip.compress(json.dumps({"resourceType": "Patient", "id": "1"}).encode())
    always(server, Reply(body=body, headers={"Content-Encoding": "gzip"}))
    assert client.read(PATIENT) == {"resourceType": "Patient", "id": "1"}


def test_no_connection_means_that_nothing_was_sent() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        client = Client(Transport(f"http://127.0.0.1:{unused.getsockname()[1]}/fhir", timeout=2))
        with pytest.raises(SiteUnreachable) as caught:
            client.update({"resourceType": "Patient", "id": "1"})
        assert not caught.value.sent
        client.close()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b"", cut=True),
        Reply(body=b"HTTP/1.1 20", cut=True),
        Reply(body=b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nContent-Length: 99\r\n\r\n{", cut=True),
    ],
)
def test_a_connection_that_breaks_after_the_request_may_have_done_its_work(
    server: FakeServer, client: Client, reply: Reply
) -> None:
    always(server, reply)
    with pytest.raises(SiteUnreachable) as caught:
        client.update({"resourceType": "Patient", "id": "1"})
    assert caught.value.sent


def test_a_refusal_has_code_path_and_number_but_never_the_servers_words(server: FakeServer) -> None:
    """They are for a listener that somebody asked for."""
    heard: list[Issue] = []
    client = Client(Transport(server.base), heard.append)
    where = ["Patient.name[0].family", "Patient.where(name='Canary')"]
    always(server, Reply(422, outcome("required", expression=where)))
    with pytest.raises(SiteRefused) as caught:
        client.update({"resourceType": "Patient", "id": "1"})
    assert caught.value.status == 422
    (fault,) = caught.value.issues
    assert (fault.code, fault.path) == ("site.required", "Patient.name[0].family")
    assert "HAPI-0532" in fault.reason
    assert "Canary" not in f"{caught.value} {caught.value!r} {heard!r} {fault}"
    assert "Canary" in heard[0].text
    client.close()


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'{"resourceType":"OperationOutcome","issue":[7,{"code":{}}]}', b"[]"]
)
def test_an_error_without_a_proper_outcome_is_still_a_refusal(server: FakeServer, client: Client, body: bytes) -> None:
    always(server, Reply(500, body))
    with pytest.raises(SiteRefused) as caught:
        client.read(PATIENT)
    assert caught.value.status == 500


@pytest.mark.parametrize(
    "headers",
    [
        {"Location": "{base}/Patient/1/_history/4"},
        {"Location": "Patient/1/_history/4", "ETag": 'W/"4"'},
        {"Location": "/fhir/Patient/1", "ETag": '"4"'},
    ],
)
def test_an_empty_201_says_all_in_its_headers(server: FakeServer, client: Client, headers: dict[str, str]) -> None:
    always(server, Reply(201, headers={name: value.format(base=server.base) for name, value in headers.items()}))
    stored = client.create({"resourceType": "Patient"})
    assert (stored.address, stored.version, stored.created) == (PATIENT, "4", True)


def test_a_write_that_does_not_say_where_it_went_is_not_believed(server: FakeServer, client: Client) -> None:
    always(server, Reply(201))
    with pytest.raises(SiteUntrusted):
        client.create({"resourceType": "Patient"})
    always(server, Reply(200, headers={"Location": "Patient/2/_history/1"}))
    with pytest.raises(SiteUntrusted):
        client.update({"resourceType": "Patient", "id": "1"})


def test_every_request_asks_for_fhir_json(server: FakeServer, client: Client) -> None:
    client.read(PATIENT)
    client.update({"resourceType": "Patient", "id": "1"}, if_match="3")
    client.search_by_post("Patient", {"identifier": "s|v"})
    assert {one.headers["accept"] for one in server.requests} == {"application/fhir+json"}
    assert server.requests[1].headers["if-match"] == 'W/"3"'
    assert "v" not in server.requests[2].path.partition("?")[2]


def test_no_token_is_in_any_error_or_repr(server: FakeServer) -> None:
    def refuse(request: Request) -> Reply:
        return Reply(401, outcome("login", request.headers["authorization"]))

    server.misbehave = refuse
    client = Client(Transport(server.base, authorization=Bearer("canary-token")))
    with pytest.raises(SiteError) as caught:
        client.read(PATIENT)
    assert "canary-token" not in f"{caught.value} {caught.value!r} {Bearer('canary-token')!r}"
    client.close()


class Renewing:
    """A token that the server takes only after it was renewed; at most one renewal."""

    def __init__(self, asked: list[str], renewals: int = 1) -> None:
        self._asked, self._left, self._number = asked, renewals, 1

    def headers(self) -> dict[str, str]:
        self._asked.append("headers")
        return {"Authorization": f"Bearer {self._number}"}

    def refused(self, status: int) -> bool:
        self._asked.append(f"refused {status}")
        self._left, self._number = self._left - 1, self._number + 1
        return self._left >= 0


@pytest.mark.parametrize(
    ("renewals", "tokens"), [(0, ["Bearer 1"]), (1, ["Bearer 1", "Bearer 2"]), (9, ["Bearer 1", "Bearer 2"])]
)
def test_a_401_is_tried_once_more_with_another_credential_under_the_same_rules(
    server: FakeServer, renewals: int, tokens: list[str]
) -> None:
    always(server, Reply(401))
    asked: list[str] = []
    transport = Transport(server.base, authorization=Renewing(asked, renewals))
    transport.turn, transport.permit = (lambda: asked.append("turn")), (lambda: asked.append("permit"))
    assert transport.exchange("GET", "Patient/1").status == 401
    transport.close()
    assert [one.headers["authorization"] for one in server.requests] == tokens
    once = ["turn", "headers", "permit"]
    assert asked == once + ["refused 401"] + once * (len(tokens) - 1)


def test_no_second_try_after_its_time(server: FakeServer) -> None:
    late = time.monotonic() + 0.05

    def refuse(request: Request) -> Reply:
        while time.monotonic() <= late:
            pass
        return Reply(401)

    server.misbehave = refuse
    transport = Transport(server.base, authorization=Renewing([]))
    assert transport.exchange("PUT", "Patient/1", body=b"{}", not_after=late).status == 401
    transport.close()
    assert len(server.requests) == 1


def test_no_credential_leaves_in_clear_for_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **more: pytest.fail("a name was resolved"))
    with pytest.raises(ConfigError) as caught:
        Transport("http://hospital.example/fhir", authorization=Bearer("canary")).exchange("GET", "metadata")
    assert caught.value.code == "config.token_in_clear"
