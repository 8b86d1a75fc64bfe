"""One exchange on the wire: bounded in time and size whatever the server does, on connections that are used again only
where nothing is left over."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhirbridge.client import bounded
from fhirbridge.client.body import Caps, believed, blocks, lines
from fhirbridge.client.channel import Channel
from fhirbridge.client.incoming import Allowance
from fhirbridge.client.network import Network
from fhirbridge.errors import FhirbridgeError, JsonError, SiteRefused, SiteUnreachable, SiteUntrusted
from tests.client.server import FakeServer, Reply, serving
from tests.hostile.servers import HEAD, Script, whole
from tests.hostile.servers import serving as saying

CAPS = Caps(1 << 20, 1 << 20, 1 << 10)


@contextlib.contextmanager
def channel_to(base: str, timeout: float = 5.0, deadline: float = 60.0) -> Iterator[Channel]:
    channel = Channel(network=Network().trusting(base), timeout=timeout, deadline=deadline, max_body=1 << 20)
    yield channel
    channel.close()


def failed(script: Script, timeout: float = 5.0, deadline: float = 60.0) -> FhirbridgeError:
    with saying(script) as base, channel_to(base, timeout, deadline) as channel:
        with pytest.raises(FhirbridgeError) as caught:
            channel.exchange("GET", f"{base}/x", headers={})
        return caught.value


def dripping(head: bytes, drop: bytes) -> Script:
    """A byte now and then, always in time for the next read."""

    def script(sock: socket.socket, number: int) -> None:
        sock.sendall(head)
        for one in itertools.cycle(drop) if drop else ():
            sock.sendall(bytes([one]))
            time.sleep(0.02)
        threading.Event().wait()

    return script


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"", b"HTTP/1.1 200 OK "),
        (HEAD, b"X-A: b\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;", b"a"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-A: b\r\n"),
        (HEAD, b""),
        (HEAD + b"Content-Length: 9\r\n\r\n{", b""),
    ],
    ids=["status", "headers", "interim", "body", "extension", "chunks", "trailer", "silence", "silence in the body"],
)
def test_the_deadline_holds_for_the_whole_answer(head: bytes, drop: bytes) -> None:
    """Each single byte comes in time, by a timeout of an hour."""
    error = failed(dripping(head, drop), timeout=3600.0, deadline=0.3)
    assert isinstance(error, SiteUnreachable)
    assert error.sent
    assert error.message == "the answer took too long"


@pytest.mark.parametrize(
    ("head", "block"),
    [
        (HEAD, b"X-A: b\r\n"),
        (HEAD + b"X-A: ", b"a"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;", b"a"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"X-A: b\r\n"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n10000\r\n" + b" " * 65_536 + b"\r\n", b"1\r\n \r\n"),
    ],
    ids=["headers", "header", "interim", "extension", "chunks", "trailer", "chunks after a body"],
)
def test_what_is_no_body_is_not_read_for_long(head: bytes, block: bytes) -> None:
    """Refused after less than a megabyte, beside what the sockets hold, where a body might have a gigabyte."""
    sent = 0

    def script(sock: socket.socket, number: int) -> None:
        nonlocal sent
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        sock.sendall(head)
        while True:
            sock.sendall(block * 1_000)
            sent += len(block) * 1_000

    with saying(script) as base:
        channel = Channel(network=Network().trusting(base), timeout=5.0, max_body=1 << 30)
        with pytest.raises(SiteUntrusted) as caught:
            channel.exchange("GET", base, headers={})
        channel.close()
    assert caught.value.code == "site.too_large"
    assert sent < 16 << 20


def test_a_server_that_says_nothing_is_given_up_after_the_timeout() -> None:
    error = failed(lambda sock, number: threading.Event().wait(), timeout=0.1)
    assert isinstance(error, SiteUnreachable)
    assert (error.message, error.sent) == ("the site did not answer in time", True)


def test_a_server_that_does_not_take_a_request_is_given_up_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        base = f"http://127.0.0.1:{deaf.getsockname()[1]}/fhir"
        with channel_to(base, timeout=5.0, deadline=0.3) as channel, pytest.raises(SiteUnreachable) as caught:
            channel.exchange("POST", base, headers={}, body=bytes(16 << 20))
    assert caught.value.sent


@pytest.mark.parametrize(
    "garbage",
    [b"\0" * 100, b"SSH-2.0-x\r\n\r\n", b"HTTP/9 200\r\n\r\n", b"HTTP/1.1 abc OK\r\n\r\n", b"<html>\r\n\r\n",
     HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
     HEAD + b"Content-Length: 5\r\n\r\nab", HEAD + b"Content-Length: x\r\nConnection: close\r\n\r\n{", b"\r\n\r\n"],
)  # fmt: skip
def test_what_is_no_http_is_no_answer(garbage: bytes) -> None:
    def script(sock: socket.socket, number: int) -> None:
        sock.sendall(garbage)
        sock.shutdown(socket.SHUT_WR)

    error = failed(script)
    assert isinstance(error, SiteUnreachable | SiteUntrusted)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([b"HTTP/1.1 ", b"200 OK", b"\r\n", b"\n", b"Content-Length: 2", b"Content-Type: ",
                                 b"application/json", b"Transfer-Encoding: chunked", b"Content-Encoding: gzip",
                                 b"{}", b"2", b"0", b"\xff", b":", b" ", b"\x1f\x8b", b"100", b"\0", b"-1"]),
                max_size=16))  # fmt: skip
def test_no_answer_whatever_crashes_the_client(pieces: list[bytes]) -> None:
    """There is an answer or an error of ours."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"".join(pieces))
        theirs.shutdown(socket.SHUT_WR)
        channel = Channel(timeout=5, max_body=1 << 16)
        with (
            mock.patch.object(bounded, "dial", return_value=ours),
            contextlib.suppress(SiteUnreachable, SiteUntrusted),
        ):
            channel.exchange("GET", "http://localhost/x", headers={})


def test_one_connection_serves_one_request_after_the_other() -> None:
    seen: set[int] = set()

    def script(sock: socket.socket, number: int) -> None:
        seen.add(sock.fileno())
        whole(sock, b'{"n":%d}' % number)

    with saying(script) as base, channel_to(base) as channel:
        assert [channel.exchange("GET", base, headers={}).tree["n"] for _ in range(5)] == [1, 2, 3, 4, 5]
    assert len(seen) == 1


def test_what_stands_behind_an_answer_is_never_taken_for_the_next() -> None:
    """A server that sends two answers to one question poisons the next question of somebody else."""

    callers: set[object] = set()

    def script(sock: socket.socket, number: int) -> None:
        callers.add(sock.getpeername())
        one = HEAD + b"Content-Length: 7\r\n\r\n"
        sock.sendall(one + b'{"n":%d}' % number + one + b'{"n":9}')

    with saying(script) as base, channel_to(base) as channel:
        assert [channel.exchange("GET", base, headers={}).tree["n"] for _ in range(3)] == [1, 2, 3]
    assert len(callers) == 3


def test_a_channel_that_is_forgotten_closes_its_connections() -> None:
    ended = threading.Event()

    def script(sock: socket.socket, number: int) -> None:
        whole(sock, b"{}")
        if not sock.recv(1):
            ended.set()

    with saying(script) as base:
        channel = Channel(network=Network().trusting(base), timeout=5)
        channel.exchange("GET", base, headers={})
        del channel
        assert ended.wait(10)


def test_a_connection_that_was_closed_meanwhile_is_not_used() -> None:
    closed = threading.Semaphore(0)

    def script(sock: socket.socket, number: int) -> None:
        whole(sock, b'{"n":%d}' % number)
        sock.shutdown(socket.SHUT_RDWR)
        closed.release()

    with saying(script) as base, channel_to(base) as channel:
        for number in (1, 2, 3):
            assert channel.exchange("GET", base, headers={}).tree == {"n": number}
            closed.acquire()


def test_an_answer_before_the_end_of_the_request_counts() -> None:
    """A server that has heard enough says 413 and hangs up."""

    def script(sock: socket.socket, number: int) -> None:
        sock.sendall(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1 << 16):
            pass

    with saying(script) as base, channel_to(base) as channel:
        assert channel.exchange("POST", base, headers={}, body=bytes(4 << 20)).status == 413


def test_no_cookie_is_kept_and_no_header_of_the_library_is_sent() -> None:
    server = FakeServer()
    server.misbehave = lambda request: Reply(body={"a": 1}, headers={"Set-Cookie": "session=1; Path=/"})
    with serving(server), channel_to(server.base) as channel:
        for _ in range(2):
            channel.exchange("GET", f"{server.base}/x", headers={"Accept": "application/json"})
    assert set(server.requests[1].headers) == {"host", "accept", "accept-encoding", "user-agent"}


def test_threads_do_not_get_each_others_answers() -> None:
    server = FakeServer()
    server.misbehave = lambda request: Reply(body={"said": request.path})
    with serving(server), channel_to(server.base) as channel:
        found: list[bool] = []

        def ask(name: int) -> None:
            for number in range(20):
                path = f"{name}-{number}"
                found.append(channel.exchange("GET", f"{server.base}/{path}", headers={}).tree == {"said": path})

        threads = [threading.Thread(target=ask, args=(name,)) for name in range(6)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    assert found == [True] * 120


@pytest.mark.parametrize("header", ["a\r\nX-Evil: 1", "a\nb", "\u2603"])
def test_a_header_cannot_be_broken_out_of(header: str) -> None:
    server = FakeServer()
    with serving(server), channel_to(server.base) as channel:
        with pytest.raises(SiteUntrusted) as caught:
            channel.exchange("GET", f"{server.base}/x", headers={"If-Match": header})
        assert caught.value.code == "site.request"
    assert server.requests == []


# Bodies.


def response(body: bytes, chunked: int | None) -> http.client.HTTPResponse:
    ours, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
    theirs.sendall(b"HTTP/1.1 200 OK\r\n")
    if chunked is None:
        theirs.sendall(b"Content-Length: %d\r\n\r\n" % len(body) + body)
    else:
        theirs.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(body), chunked):
            part = body[start : start + chunked]
            theirs.sendall(b"%x\r\n%b\r\n" % (len(part), part))
        theirs.sendall(b"0\r\n\r\n")
    theirs.close()
    found = http.client.HTTPResponse(ours)
    found.begin()
    ours.close()
    return found


@settings(deadline=None)
@given(st.lists(st.binary(max_size=3_000), max_size=4), st.integers(5, 2_000) | st.none(), st.booleans())
def test_what_was_packed_is_unpacked(parts: list[bytes], chunked: int | None, packed: bool) -> None:
    """Also out of several gzip members, one behind the other."""
    data = b"".join(map(gzip.compress, parts)) if packed else b"".join(parts)
    headers = {"content-encoding": "gzip"} if packed else {}
    found = blocks(response(data, chunked), headers, CAPS, Allowance(time.monotonic() + 9, 9))
    assert b"".join(found) == b"".join(parts)


def test_a_server_may_send_small_chunks() -> None:
    def script(sock: socket.socket, number: int) -> None:
        sock.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"8\r\n[1,2,3,4\r\n" * 100_000 + b"0\r\n\r\n")

    # All of it came: what it says is no JSON.
    assert failed(script).code == "site.broken_json"


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=3_000), st.data())
def test_a_packed_body_that_was_cut_is_not_believed(data: bytes, draw: st.DataObject) -> None:
    packed = gzip.compress(data)
    cut = packed[: draw.draw(st.integers(1, len(packed) - 1))]
    with pytest.raises(SiteUntrusted):
        list(blocks(response(cut, None), {"content-encoding": "gzip"}, CAPS, Allowance(time.monotonic() + 9, 9)))


@pytest.mark.parametrize(
    "packed", [gzip.compress(bytes(16 << 20)), gzip.compress(b"") * 2_000], ids=["dense", "members"]
)
def test_what_unpacks_as_no_text_does_is_refused_far_below_the_cap(packed: bytes) -> None:
    """Sixteen megabytes of zeros, or one empty gzip after the other: both would be within a cap of a gigabyte."""
    allowance, found = Allowance(time.monotonic() + 9, 9), []
    unpacked = blocks(response(packed, None), {"content-encoding": "gzip"}, Caps(1 << 30, 1 << 30), allowance)
    with pytest.raises(SiteUntrusted) as caught:
        found.extend(map(len, unpacked))
    assert caught.value.code == "site.too_large"
    assert sum(found) <= 2 << 20


@given(st.lists(st.binary(max_size=20)), st.integers(1, 7))
def test_lines_are_lines_however_they_come(whole_lines: list[bytes], size: int) -> None:
    data = b"\n".join(whole_lines)
    parts = (data[start : start + size] for start in range(0, len(data), size))
    assert list(lines(parts, 1 << 10)) == [one.strip() for one in data.split(b"\n") if one.strip()]


@given(st.integers(1, 50), st.integers(1, 7))
def test_a_line_that_is_too_long_is_refused_before_all_of_it_is_there(longest: int, size: int) -> None:
    came = 0

    def parts() -> Iterator[bytes]:
        nonlocal came
        while True:
            came += size
            yield b"a" * size

    with pytest.raises(SiteUntrusted):
        next(lines(parts(), longest))
    assert came <= longest + size


@pytest.mark.parametrize(
    "number", ["1e999999999", "-1E+9999", "1e-0099999", "9" * 402, "0." + "1" * 500, "1." + "0" * 400 + "e5"]
)
def test_numbers_of_unreasonable_size_are_refused(number: str) -> None:
    for text in (f'{{"a":[1, {number}]}}', f'{{"a":{number}}}', f"[{number},-0]"):
        with pytest.raises(JsonError):
            believed(text.encode())


@pytest.mark.parametrize(
    "text",
    ['{"a":", 1e99999"}', '{"a":":1e99999 "}', '["[1e99999"]', '{"a":1e300,"b":1.0E-245}', "[" + "9" * 300 + "]"],
)
def test_text_that_looks_like_such_a_number_is_text(text: str) -> None:
    believed(text.encode())


# Files of lines.


@contextlib.contextmanager
def file_of(reply: Reply) -> Iterator[Callable[..., list[bytes]]]:
    server = FakeServer()
    server.misbehave = lambda request: reply

    with serving(server), channel_to(server.base) as channel:

        def download(caps: Caps = CAPS) -> list[bytes]:
            with channel.lines(f"{server.base}/file", headers={}, caps=caps, deadline=60) as found:
                return list(found)

        yield download


NDJSON = "application/fhir+ndjson"


def test_a_file_comes_line_by_line_packed_or_not() -> None:
    data = b'{"a":1}\n\n{"a":2}\r\n{"a":3}'
    for reply in (
        Reply(body=data, content_type=NDJSON),
        Reply(body=gzip.compress(data), content_type=f"{NDJSON}; charset=utf-8", headers={"Content-Encoding": "gzip"}),
    ):
        with file_of(reply) as download:
            assert download() == [b'{"a":1}', b'{"a":2}', b'{"a":3}']


@pytest.mark.parametrize(
    ("reply", "caps", "code"),
    [
        (Reply(body=b"{}\n" * 100, content_type="text/html"), CAPS, "site.not_json"),
        (Reply(body=b"{}\n" * 100, content_type=NDJSON), Caps(99, 10**6, 99), "site.too_large"),
        (Reply(body=b"{}\n" * 100, content_type=NDJSON), Caps(10**6, 99, 99), "site.too_large"),
        (Reply(body=b"{" * 100 + b"\n", content_type=NDJSON), Caps(10**6, 10**6, 99), "site.too_large"),
        (Reply(307, headers={"Location": "http://127.0.0.1/x"}), CAPS, "site.redirect"),
    ],
)
def test_a_file_over_its_caps_or_of_another_kind_is_refused(reply: Reply, caps: Caps, code: str) -> None:
    with file_of(reply) as download, pytest.raises(SiteUntrusted) as caught:
        download(caps)
    assert caught.value.code == code


def test_a_file_that_is_not_there_is_a_refusal() -> None:
    with file_of(Reply(503, headers={"Retry-After": "7"})) as download, pytest.raises(SiteRefused) as caught:
        download()
    assert (caught.value.status, caught.value.retry_after) == (503, "7")


def test_an_error_of_who_reads_a_file_stays_his() -> None:
    """A full disk is not a broken connection."""
    server = FakeServer()
    server.misbehave = lambda request: Reply(body=b"{}\n", content_type=NDJSON)
    with serving(server), channel_to(server.base) as channel:

        def read() -> None:
            with channel.lines(f"{server.base}/file", headers={}, caps=CAPS, deadline=60) as found:
                next(found)
                raise OSError("disk full")

        with pytest.raises(OSError, match="disk full"):
            read()
