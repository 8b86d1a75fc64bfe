"""A hospital that says hostile things, a stranger who listens, and a resolver that leads every name to the stranger.

The stranger keeps the raw bytes of every connection, so what is asked of him cannot hide behind a parser; he answers
like a FHIR server, so that a client that trusts him goes on talking. Nothing leaves the machine.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.client.server import Reply

BASE_PATH = "/fhir/tenantA"
SECRETS = (b"canary-bearer", b"canary-api-key")
_ANSWER = b'{"resourceType":"Bundle","type":"searchset"}'
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"


@dataclass
class Stranger:
    """Who must not hear of anything. ``host`` is his first address, with its port."""

    host: str
    port: int
    heard: list[bytes] = field(default_factory=list)
    calls: int = 0

    @property
    def secrets(self) -> int:
        """The bytes of credentials that he has."""
        told = b"".join(self.heard)
        return sum(told.count(one) * len(one) for one in SECRETS)


@dataclass
class Hospital:
    """Answers every request as ``reply`` says, and keeps what was asked outside of its base path."""

    base: str = ""
    port: int = 0
    reply: Callable[[str], Reply] = lambda path: Reply()
    asked: int = 0
    outside: list[str] = field(default_factory=list)


@contextmanager
def listening() -> Iterator[Stranger]:
    """A stranger on 127.0.0.2, on another port of 127.0.0.1 and, where there is one, on ::1."""
    with selectors.DefaultSelector() as selector:
        first = _listen(socket.AF_INET, "127.0.0.2", 0)
        port: int = first.getsockname()[1]
        sockets = [first, _listen(socket.AF_INET, "127.0.0.1", 0)]
        with contextlib.suppress(OSError):  # no IPv6 here
            sockets.append(_listen(socket.AF_INET6, "::1", port))
        stranger, stop = Stranger(f"127.0.0.2:{port}", port), threading.Event()
        for one in sockets:
            selector.register(one, selectors.EVENT_READ)

        def listen() -> None:
            while not stop.is_set():
                for key, _ in selector.select(0.05):
                    stranger.calls += 1
                    _converse(key.fileobj.accept()[0], stranger)  # type: ignore[union-attr]

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        try:
            yield stranger
        finally:
            stop.set()
            thread.join()
            for one in sockets:
                one.close()


def _listen(family: int, host: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.bind((host, port))
        sock.listen(64)
    except OSError:
        sock.close()
        raise
    return sock


def _converse(sock: socket.socket, stranger: Stranger) -> None:
    with sock:
        sock.settimeout(0.5)
        told = b""
        try:
            while b"\r\n\r\n" not in told and (block := sock.recv(65_536)):
                told += block
            stranger.heard.append(told)
            sock.sendall(_HEAD % len(_ANSWER) + _ANSWER)
        except OSError:
            stranger.heard.append(told)  # who called hung up, or said something that is no HTTP


@contextmanager
def hospital() -> Iterator[Hospital]:
    """A hospital at ``http://localhost:PORT/fhir/tenantA``."""
    said = Hospital()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            said.asked += 1
            place = self.path.partition("?")[0]
            if place != BASE_PATH and not place.startswith(f"{BASE_PATH}/"):
                said.outside.append(self.path)
            reply = said.reply(self.path.removeprefix(f"{BASE_PATH}/"))
            body = json.dumps(reply.body).encode() if isinstance(reply.body, dict) else reply.body
            lines = [
                f"HTTP/1.1 {reply.status} X",
                f"Content-Length: {len(body)}",
                f"Content-Type: {reply.content_type}",
            ]
            lines += [f"{name}: {value}" for name, value in reply.headers.items()]
            # Written as it is, with whatever a header may not hold.
            self.wfile.write("\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body)

        do_GET = do_POST = do_PUT = _handle  # noqa: N815 - names that the base class looks for

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            return

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            return

    with Quiet(("127.0.0.1", 0), Handler) as http:
        said.port = http.server_address[1]
        said.base = f"http://localhost:{said.port}{BASE_PATH}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield said
        finally:
            http.shutdown()
            thread.join()


def lead_astray(monkeypatch: pytest.MonkeyPatch, here: Hospital, stranger: Stranger) -> None:
    """Have every host but the hospital's own resolve to the stranger, whatever its port; no variable of the environment
    names a proxy."""
    ours = ("localhost", here.port)

    def resolve(host: Any, port: Any, *args: Any, **more: Any) -> list[Any]:
        name = host.decode() if isinstance(host, bytes) else host
        place = ("127.0.0.1", here.port) if (name, port) == ours else ("127.0.0.2", stranger.port)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
