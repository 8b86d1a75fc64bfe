"""The library below does what it is for and no more: what is sent is what was asked for, a redirect costs nothing, no
log tells of an exchange, its errors are told for what they are; and who tests with ``responses`` can."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import re
import socket
import threading
from collections.abc import Iterator

import pytest
import requests
import responses

from fhirbridge.client.auth import Bearer
from fhirbridge.client.body import Caps
from fhirbridge.client.bounded import Late
from fhirbridge.client.channel import Channel
from fhirbridge.client.network import Network
from fhirbridge.client.tls import Tls
from fhirbridge.client.transport import Transport
from fhirbridge.errors import FhirbridgeError, SiteUnreachable, SiteUntrusted
from tests.client.server import FakeServer, Reply, serving
from tests.client.test_tls import Papers, papers, secured
from tests.hostile.servers import HEAD, Script, endlessly, whole
from tests.hostile.servers import serving as saying

__all__ = ["papers"]

SITE = "https://hospital.example/fhir"
CANARY = "MRN-4711-canary"


@contextlib.contextmanager
def channel_to(base: str, timeout: float = 5.0) -> Iterator[Channel]:
    channel = Channel(network=Network().trusting(base), timeout=timeout, max_body=1 << 20)
    yield channel
    channel.close()


def cut(sock: socket.socket, number: int) -> None:
    sock.sendall(HEAD + b"Content-Length: 9\r\n\r\n{")
    sock.shutdown(socket.SHUT_WR)


def broken(head: bytes) -> Script:
    return lambda sock, number: sock.sendall(head)


@pytest.mark.parametrize(
    "target",
    [
        "Patient/%41%7e?identifier=a%7cb&x=%41",
        "Patient?x=%zz",
        "Patient?x=a|b{c}",
        "a//b/./c/../d?x=1?y=2",
        "?",
        "%C3%a9",
    ],
)
def test_an_address_goes_out_as_it_was_given(target: str) -> None:
    """requests and urllib3 would write some of it in another way, after it was judged."""
    lines: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            sock, _ = listener.accept()
            with sock, sock.makefile("rb") as heard:
                lines.append(heard.readline())
                whole(sock, b"{}")

        thread = threading.Thread(target=answer)
        thread.start()
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with channel_to(base) as channel:
            assert channel.exchange("GET", f"{base}/fhir/{target}", headers={}).tree == {}
        thread.join()
    # A question mark with nothing behind it is no query.
    assert lines == [f"GET /fhir/{target.removesuffix('?')} HTTP/1.1\r\n".encode()]


def test_of_a_redirect_no_more_than_the_head_is_read() -> None:
    """requests reads and unpacks the whole body, also where it is not to follow."""
    head = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Encoding: gzip\r\n\r\n"
    with saying(broken(head)) as base, channel_to(base) as channel, pytest.raises(SiteUntrusted) as caught:
        channel.exchange("GET", base, headers={})
    assert caught.value.code == "site.redirect"


@pytest.mark.parametrize(
    "script",
    [
        lambda sock, number: whole(sock, b"{}"),
        lambda sock, number: sock.shutdown(socket.SHUT_RDWR),
        lambda sock, number: threading.Event().wait(),
        lambda sock, number: endlessly(sock, HEAD, b"X-A: b\r\n"),
        cut,
        broken(b"HTTP/1.1 200 OK\r\nno header\r\nContent-Length: 2\r\n\r\n{}"),
        broken(HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
        broken(HEAD + b"Content-Length: 2, 3\r\n\r\n{}"),
        broken(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"),
        broken(b"HTTP/1.1 429 Slow\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"),
        broken(b"nonsense\r\n\r\n"),
    ],
    ids=[
        "good",
        "closed",
        "silent",
        "endless",
        "cut",
        "defect",
        "framings",
        "lengths",
        "redirect",
        "later",
        "nonsense",
    ],
)
def test_no_log_at_any_level_tells_of_an_exchange(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    """urllib3 logs addresses, with the identifiers in their queries; it warns so, too."""
    caplog.set_level(logging.DEBUG)
    with saying(script) as base, channel_to(base, timeout=0.2) as channel:
        for _ in range(2):
            with contextlib.suppress(FhirbridgeError):
                channel.exchange("GET", f"{base}/Patient?identifier={CANARY}", headers={"If-Match": CANARY})
    assert [one for one in caplog.records if one.name.startswith(("urllib3", "requests"))] == []
    assert CANARY not in caplog.text


def test_no_log_tells_of_an_exchange_with_tls(papers: Papers, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    stranger = papers.other.issue_cert("localhost")
    with secured(stranger) as server, channel_to(server.base) as channel, pytest.raises(SiteUnreachable) as caught:
        channel.exchange("GET", f"{server.base}/Patient?identifier={CANARY}", headers={})
    assert CANARY not in f"{caplog.text} {caught.value!r}"


def test_what_others_do_with_the_library_is_logged_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    """Also in the middle of a file, in whose lines somebody asks something else."""
    caplog.set_level(logging.DEBUG)
    server = FakeServer()
    server.misbehave = lambda request: Reply(body=b"{}\n{}\n", content_type="application/fhir+ndjson")
    with (
        serving(server),
        channel_to(server.base) as channel,
        channel.lines(f"{server.base}/{CANARY}", headers={}, caps=Caps(99, 99), deadline=9) as lines,
    ):
        next(lines)
        requests.get(f"{server.base}/other", timeout=5)
        next(lines)
    assert "/fhir/other" in caplog.text
    assert CANARY not in caplog.text


@pytest.mark.parametrize("answer", [b"", HEAD + b"Content-Length: 2, 3\r\n\r\n{}"], ids=["none", "lengths"])
def test_an_error_of_somebody_else_is_not_taken_for_that_of_the_exchange(answer: bytes) -> None:
    """Who asks because of an error asks with that error as the context of the next."""

    def script(sock: socket.socket, number: int) -> None:
        sock.sendall(answer)
        sock.shutdown(socket.SHUT_RDWR)

    with saying(script) as base, channel_to(base) as channel:
        try:
            raise Late  # noqa: TRY301 - to be in the middle of handling it
        except Late:
            with pytest.raises(SiteUnreachable) as caught:
                channel.exchange("GET", base, headers={})
    assert (caught.value.message, caught.value.sent) == ("the connection broke off", True)


def test_a_connection_with_something_behind_an_answer_is_closed_at_once() -> None:
    """And not only when somebody would use it again."""
    ended = threading.Event()

    def script(sock: socket.socket, number: int) -> None:
        sock.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n")
        if not sock.recv(1):
            ended.set()

    with saying(script) as base, channel_to(base) as channel:
        channel.exchange("GET", base, headers={})
        assert ended.wait(10)


def test_no_bundle_of_certificates_is_looked_for(papers: Papers, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is trusted is said in the configuration; requests' own bundle may be missing."""
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(papers.folder / "missing"))
    with secured(papers.trusted.issue_cert("localhost")) as server:
        channel = Channel(tls=Tls(ca=papers.ca), network=Network().trusting(server.base), timeout=5)
        assert channel.exchange("GET", f"{server.base}/metadata", headers={}).status == 200
        channel.close()


def test_cookies_are_dropped_before_anybody_looks_into_them() -> None:
    head = HEAD + b"Set-Cookie: a=1; Path=/\r\nset-cookie: b=2\r\nSet-Cookie2: c=3\r\nContent-Length: 2\r\n\r\n{}"
    with saying(broken(head)) as base, channel_to(base) as channel:
        assert set(channel.exchange("GET", base, headers={}).headers) == {"content-type", "content-length"}


# With ``responses``.


@responses.activate
def test_an_exchange_can_be_answered_by_responses() -> None:
    responses.get(f"{SITE}/Patient/1", json={"resourceType": "Patient"}, content_type="application/fhir+json")
    responses.get(re.compile(f"{SITE}/Group"), status=404)
    responses.post(f"{SITE}/Patient", status=201, headers={"Location": "Patient/2"})
    transport = Transport(SITE, authorization=Bearer("token"))
    assert transport.exchange("GET", "Patient/1").tree == {"resourceType": "Patient"}
    answer = transport.exchange("POST", "Patient", body=b'{"a":1}')
    assert transport.exchange("GET", "Group?x=%41&y=a%7cb").status == 404
    transport.close()
    assert (answer.status, answer.headers["location"], answer.tree) == (201, "Patient/2", None)
    asked = [one.request for one in responses.calls]
    assert asked[0].headers["Authorization"] == "Bearer token"
    assert (asked[1].url, asked[1].body) == (f"{SITE}/Patient", b'{"a":1}')
    assert asked[2].url == f"{SITE}/Group?x=%41&y=a%7cb"


@responses.activate
def test_the_caps_hold_for_what_responses_answers() -> None:
    dense = gzip.compress(bytes(16 << 20))
    packed = {"Content-Encoding": "gzip"}
    responses.get(f"{SITE}/large", body=b" " * (2 << 20), content_type="application/json")
    responses.get(f"{SITE}/dense", body=dense, headers=packed, content_type="application/json")
    responses.get(f"{SITE}/moved", status=302, headers={"Location": f"{SITE}/large"})
    responses.get(f"{SITE}/page", body="<html>", content_type="text/html")
    responses.get(f"{SITE}/packed", body=gzip.compress(b"[1]"), headers=packed, content_type="application/json")
    with channel_to(SITE) as channel:
        codes = []
        for name in ("large", "dense", "moved", "page"):
            with pytest.raises(SiteUntrusted) as caught:
                channel.exchange("GET", f"{SITE}/{name}", headers={})
            codes.append(caught.value.code)
        assert channel.exchange("GET", f"{SITE}/packed", headers={}).tree == [1]
    assert codes == ["site.too_large", "site.too_large", "site.redirect", "site.not_json"]


@responses.activate
def test_lines_can_be_answered_by_responses() -> None:
    responses.get(f"{SITE}/file", body='{"a":1}\n{"a":2}\n', content_type="application/fhir+ndjson")
    with channel_to(SITE) as channel, channel.lines(f"{SITE}/file", headers={}, caps=Caps(99, 99), deadline=9) as found:
        assert [json.loads(one) for one in found] == [{"a": 1}, {"a": 2}]


@responses.activate
def test_an_error_that_responses_raises_is_one_of_ours() -> None:
    """Nobody who waited for an answer in vain can say that nothing was sent."""
    responses.get(f"{SITE}/slow", body=requests.ReadTimeout())
    responses.get(f"{SITE}/gone", body=requests.ConnectionError())
    told = []
    with channel_to(SITE) as channel:
        for name in ("slow", "gone"):
            with pytest.raises(SiteUnreachable) as caught:
                channel.exchange("GET", f"{SITE}/{name}", headers={})
            told.append((caught.value.message, caught.value.sent))
    assert told == [("the site did not answer in time", True), ("the connection broke off", False)]
