"""A TCP proxy that spoils chosen exchanges: refuses, resets, cuts, holds, sends twice.

It reads whole requests and whole replies, so that "half of it" and "after the server has answered" are exact. An
exchange passes five stages; a rule says at which of them what happens to which exchange.

=============== =====================================================
``connected``    a request has come; the server has none of it
``mid-request``  the server has half of it
``committed``    the server has answered; the client has nothing of it
``mid-reply``    the client has half of the reply
``done``         the client has it all; the connection is still open
=============== =====================================================

At each of them: ``hold`` until released (at ``done`` a slow close; whoever waits for it can kill the client meanwhile),
``stall`` until the client has given up, after which it goes on, and is over before anything that is asked next gets
through, ``reset`` (RST to both), ``close`` (FIN to both: a truncated reply), and at ``connected`` ``repeat``: the
server gets the request once more on a connection of its own.

Whoever has to know what came, and when, sets ``witness``: it is told of each request, whole or not, before the first
stage, with the moment at which its first byte was here.
"""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias, get_args

from tests.faults.scripted import kind_of

Stage: TypeAlias = Literal["connected", "mid-request", "committed", "mid-reply", "done"]
Deed: TypeAlias = Literal["hold", "stall", "reset", "close", "repeat"]
STAGES: tuple[Stage, ...] = get_args(Stage)
DEEDS: tuple[Deed, ...] = get_args(Deed)
WRITES = frozenset({"bundle", "create", "update", "delete"})
_RST = struct.pack("ii", 1, 0)


@dataclass(eq=False)
class Rule:
    """One fault: ``do`` it at ``stage`` of the ``at``-th exchange that fits and ``times`` more (0: all), or of each
    with probability ``rate``. ``kinds`` are those of the server's requests; a ``held`` rule waits for ``go_on``.
    Rules put into ``then`` meanwhile are for this one exchange."""

    stage: Stage
    do: Deed
    at: int = 1
    times: int = 1
    rate: float = 0.0
    seed: int = 0
    kinds: frozenset[str] = WRITES
    held: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    then: list[Rule] = field(default_factory=list)
    hits: int = field(default=0, init=False)
    _seen: int = field(default=0, init=False)
    _dice: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)  # noqa: S311 - repeatable on purpose

    def hits_this(self, kind: str) -> bool:
        """Whether an exchange is hit; looking counts."""
        if kind not in self.kinds:
            return False
        self._seen += 1
        within = self._seen >= self.at and (not self.times or self._seen < self.at + self.times)
        hit = self._dice.random() < self.rate if self.rate else within
        self.hits += hit
        return hit


@dataclass(eq=False)
class _Stalled:
    """An exchange that stands still as long as its client waits for it."""

    client: socket.socket
    rule: Rule
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def is_given_up(self) -> bool:
        """Whether the client has hung up."""
        try:
            return not self.client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True


class Arrival(NamedTuple):
    """A request as it came, and when its first byte did (epoch seconds)."""

    at: float
    request: bytes


class _Spoilt(Exception):
    """The exchange ends here; ``reset`` tells how."""

    def __init__(self, *, reset: bool) -> None:
        self.reset = reset


class Proxy:
    """Listens on a loopback port of its own and passes on to ``upstream``, an address and a port."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.upstream = upstream
        self.exchanges = 0
        self.witness: Callable[[Arrival], object] | None = None
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._stalled: list[_Stalled] = []
        self._listener = _listening(0)
        self.port: int = self._listener.getsockname()[1]
        self._accept(self._listener)

    def add(self, rule: Rule) -> Rule:
        """Put a rule in force."""
        with self._lock:
            self._rules.append(rule)
        return rule

    def remove(self, rule: Rule) -> None:
        """End a rule and let go of what it holds."""
        with self._lock:
            self._rules.remove(rule)
        rule.go_on.set()

    def clear(self) -> None:
        """End all rules and let go of what they hold."""
        with self._lock:
            rules, self._rules = self._rules, []
        for rule in rules:
            rule.go_on.set()

    def refuse(self) -> None:
        """Refuse connections, and reset those that are open."""
        # Closing alone would not wake the thread that waits in accept().
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._drop()

    def accept(self) -> None:
        """Take connections again, on the same port."""
        self._listener = _listening(self.port)
        self._accept(self._listener)

    def close(self) -> None:
        """End everything."""
        self.clear()
        self.refuse()

    def _drop(self) -> None:
        with self._lock:
            dropped, self._open = self._open, set()
        for one in dropped:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            _end(one, reset=True)

    def _accept(self, listener: socket.socket) -> None:
        def loop() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

        threading.Thread(target=loop, daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server: socket.socket | None = None
        reset = False
        try:
            server = socket.create_connection(self.upstream, timeout=60)
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open |= {client, server}
            incoming, outgoing = _Stream(client), _Stream(server)
            while request := incoming.message():
                if self.witness is not None:
                    self.witness(Arrival(incoming.began, request))
                self._exchange(request, client, server, outgoing)
        except _Spoilt as spoilt:
            reset = spoilt.reset
        except (OSError, ValueError):
            reset = True
        finally:
            with self._lock:
                self._open -= {client} | ({server} if server else set())
                over = [one for one in self._stalled if one.client is client]
                self._stalled = [one for one in self._stalled if one.client is not client]
            for stalled in over:
                stalled.over.set()
            for each in (client, server):
                if each is not None:
                    _end(each, reset=reset)

    def _exchange(self, request: bytes, client: socket.socket, server: socket.socket, replies: _Stream) -> None:
        head, _, body = request.partition(b"\r\n\r\n")
        method, target = head.split(b" ", 2)[:2]
        kind = kind_of(method.decode(), target.decode().removeprefix("/fhir").lstrip("/"), body)
        self._let_the_late_pass()
        with self._lock:
            self.exchanges += 1
            rules = [rule for rule in self._rules if rule.hits_this(kind)]
        self._at("connected", rules, client)
        if any(rule.do == "repeat" for rule in rules):
            with socket.create_connection(self.upstream, timeout=60) as second:
                second.sendall(request)
                _Stream(second).message()
        middle = len(request) // 2
        server.sendall(request[:middle])
        self._at("mid-request", rules, client)
        server.sendall(request[middle:])
        reply = replies.message()
        self._at("committed", rules, client)
        middle = max(1, len(reply) // 2) if reply else 0
        client.sendall(reply[:middle])
        self._at("mid-reply", rules, client)
        client.sendall(reply[middle:])
        self._at("done", rules, client)
        if not _is_whole(reply):
            raise _Spoilt(reset=False)

    def _let_the_late_pass(self) -> None:
        with self._lock:
            late = [one for one in self._stalled if one.is_given_up]
        for one in late:
            one.rule.go_on.set()
            one.over.wait()

    def _at(self, stage: Stage, rules: list[Rule], client: socket.socket) -> None:
        # The list grows while it is walked, by what a held rule was given.
        for rule in rules:
            if rule.stage != stage:
                continue
            if rule.do in ("hold", "stall"):
                if rule.do == "stall":
                    with self._lock:
                        self._stalled.append(_Stalled(client, rule))
                rule.held.set()
                rule.go_on.wait()
                rules += rule.then
            elif rule.do != "repeat":
                raise _Spoilt(reset=rule.do == "reset")


class _Stream:
    """HTTP messages off a socket. No ``makefile``: its references would keep the socket open when it is to end."""

    def __init__(self, source: socket.socket) -> None:
        self._source, self._ahead = source, b""
        # When the first byte of the newest message was here; 0 while there is none.
        self.began = 0.0

    def message(self) -> bytes:
        """One message, whole, as it came; what there is of it if the connection ends."""
        self.began = time.time() if self._ahead else 0.0
        head = self._until(b"\r\n\r\n")
        fields = dict(_fields(head))
        if b"chunked" in fields.get(b"transfer-encoding", b""):
            body = b""
            while line := self._until(b"\r\n"):
                size = int(line.split(b";")[0], 16)
                body += line + self._read(size + 2)
                if not size:
                    break
            return head + body
        return head + self._read(int(fields.get(b"content-length", b"0")))

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._ahead and self._more():
            pass
        found, mark, self._ahead = self._ahead.partition(mark)
        return found + mark

    def _read(self, size: int) -> bytes:
        while len(self._ahead) < size and self._more():
            pass
        found, self._ahead = self._ahead[:size], self._ahead[size:]
        return found

    def _more(self) -> bool:
        data = self._source.recv(1 << 16)
        self.began = self.began or time.time()
        self._ahead += data
        return bool(data)


def _fields(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        yield name.strip().lower(), value.strip().lower()


def _is_whole(reply: bytes) -> bool:
    head, found, body = reply.partition(b"\r\n\r\n")
    return bool(found) and len(body) >= int(dict(_fields(head)).get(b"content-length", b"0"))


def _listening(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    return listener


def _end(one: socket.socket, *, reset: bool) -> None:
    with suppress(OSError):
        if reset:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
        else:
            one.shutdown(socket.SHUT_RDWR)
    one.close()


@contextmanager
def between(base: str) -> Iterator[tuple[Proxy, str]]:
    """A proxy before the server at ``base``, and the address to give to the client."""
    host, _, port = base.removeprefix("http://").partition("/")[0].partition(":")
    proxy = Proxy((host, int(port)))
    try:
        yield proxy, base.replace(f":{port}/", f":{proxy.port}/")
    finally:
        proxy.close()
