"""The laboratory's FHIR server: deterministic, with a personality, a durable log, and faults on request.

In a test::

    with serving(FaultServer(tmp_path / "log", personality("azure"))) as server: ...

As a process that can be killed and started again on the same log and port::

    python -m tests.faults.server --log log --personality hapi --port 0

which prints its base address. Beside ``/fhir`` it has ``/lab`` for whoever runs the experiment; see :mod:`lab`.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias

from fhirbridge.errors import JsonError
from fhirbridge.fhir.json import dump, parse_object
from tests.faults import bundles
from tests.faults.interactions import Conditions, Effect, Refusal, Visit, outcome
from tests.faults.lab import control
from tests.faults.personalities import LIES, PERSONALITIES, Lie, Personality, personality, statement
from tests.faults.scripted import Fault, Script, kind_of
from tests.faults.store import Change, Commit, Store

Tree: TypeAlias = dict[str, Any]
FHIR = "application/fhir+json"
PAGE = b"<!doctype html><title>Sign in</title><p>Your session has ended."


@dataclass
class Request:
    """What was asked; ``path`` is below the base, ``number`` counts requests from 1."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = field(repr=False)
    number: int = 0
    kind: str = ""
    arrived: int = 0


@dataclass
class Reply:
    """What to answer. ``ending`` other than ``whole`` spoils it on the wire: ``none``, ``half``, ``twice``."""

    status: int
    body: Tree | bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = FHIR
    ending: str = "whole"


class FaultServer:
    """One server over one log. ``behind`` and ``lag`` are in transactions and in requests, never in time.

    ``stalled`` counts the requests that stand still until ``going_on``.
    """

    def __init__(
        self,
        log: Path,
        ways: Personality = PERSONALITIES["strict"],
        *,
        release: str = "r4",
        lie: Lie = "",
        behind: int = 0,
        lag: int = 0,
    ) -> None:
        self.ways, self.release, self.lie, self.lag = ways, release, lie, lag
        self.store = Store(log, behind)
        self.script = Script()
        self.requests: list[Request] = []
        self.tokens: frozenset[str] = frozenset()
        self.base = ""
        self.going_on = threading.Event()
        self.stalled = threading.Semaphore(0)
        self._heads: list[int] = []
        self._writes = self._entries = 0
        self._lock = threading.Lock()

    def answer(self, request: Request) -> Reply:
        """The answer to one request, faults included."""
        fault = self._arrive(request)
        if fault is not None and fault.do in ("stall", "status", "html", "cut"):
            if fault.do != "stall":
                return _instead(fault)
            self._stall()
        try:
            with self._lock:
                reply = self._behave(request, fault)
        except Refusal as refusal:
            reply = Reply(refusal.status, refusal.body, refusal.headers)
        if fault is None:
            return reply
        if fault.do == "stall-after":
            self._stall()
        return _spoilt(fault, reply)

    def commit_as_hospital(self, method: str, resource: Tree) -> Commit:
        """A write by somebody else: past every rule, fault and count. Needs an id."""
        address = (str(resource["resourceType"]), str(resource["id"]))
        with self._lock:
            there = self.store.holds(address)
            match method:
                case "PUT":
                    change = Change(method, *address, "update" if there else "create", resource, resource)
                case "DELETE":
                    change = Change(method, *address, "delete", resource, None)
                case _:
                    # A row that is gone without a trace, as after the loss of an acknowledged write.
                    change = Change(method, *address, "forget", resource, None)
            return self.store.commit([change], 0, by="hospital")[0]

    def _stall(self) -> None:
        self.stalled.release()
        self.going_on.wait()

    def _arrive(self, request: Request) -> Fault | None:
        path = request.path.partition("?")[0]
        request.kind = kind_of(request.method, path, request.body)
        with self._lock:
            self.requests.append(request)
            request.number = len(self.requests)
            request.arrived = self.store.head
            self._heads.append(self.store.head)
            return self.script.for_request(request.kind, path.partition("/")[0], request.path)

    def _behave(self, request: Request, fault: Fault | None) -> Reply:
        path, _, query = request.path.partition("?")
        if request.kind == "metadata":
            return Reply(200, statement(self.ways, self.release, self.lie))
        if self.tokens and request.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            raise Refusal(401, "the token is not valid", outcome("login", "the token is not valid"))
        writes = request.kind in ("bundle", "create", "update", "delete")
        self._writes += writes
        if writes and self.ways.throttle_every and self._writes % self.ways.throttle_every == 0:
            body = outcome("throttled", self.ways.text("throttled"))
            raise Refusal(429, "", body, Retry_After=self.ways.retry_after)
        stale = fault.commits if fault is not None and fault.do == "stale" else 0
        searchable = self._heads[max(0, request.number - 1 - self.lag)] if self.lag else self.store.head
        visit = Visit(
            self.ways,
            self.release,
            self.base,
            self.store,
            arrived=request.arrived,
            searchable=max(0, searchable - stale),
        )
        if request.method == "POST" and not path:
            return self._bundle(visit, request, fault)
        return self._single(visit, request, path, query)

    def _single(self, visit: Visit, request: Request, path: str, query: str) -> Reply:
        kind, _, own = path.partition("/")
        if request.kind == "search":
            return Reply(200, visit.search(kind, request.body.decode() if own else query).body)
        if request.kind == "read":
            return self._rendered(visit.read((kind, own.partition("/_history/")[0]), own.partition("/_history/")[2]))
        conditions = Conditions(
            if_match=request.headers.get("if-match", ""),
            if_none_match=request.headers.get("if-none-match", ""),
            if_none_exist=request.headers.get("if-none-exist", ""),
            key=request.headers.get(self.ways.idempotency_key, "") if self.ways.idempotency_key else "",
        )
        if request.kind == "delete":
            effect = visit.delete((kind, own), conditions)
            self._commit([effect], request)
            return Reply(200, effect.body or outcome("informational", "deleted", "information"))
        resource, new_id = _resource(request), f"s{self.store.head + 1}"
        if resource.get("resourceType") != kind:
            raise Refusal(400, "the body is of another type")
        if request.kind == "create":
            effect = visit.create(resource, new_id, conditions)
        elif own:
            effect = visit.update((kind, own), resource, conditions)
        else:
            effect = visit.update_where(resource, query, new_id, conditions)
        return self._rendered(effect, self._commit([effect], request)[0])

    def _bundle(self, visit: Visit, request: Request, fault: Fault | None) -> Reply:
        bundle = _resource(request)
        entries, kind = bundle.get("entry", []), str(bundle.get("type"))
        if kind not in self.ways.system:
            raise Refusal(404 if not self.ways.system else 400, "bundles of this type are not taken")
        if self.ways.entries and len(entries) > self.ways.entries:
            raise Refusal(self.ways.entries_status, self.ways.text("limit"))

        def commit(effects: list[Effect]) -> list[Commit | None]:
            return self._commit(effects, request)

        def status_of(number: int) -> int:
            if fault is not None and fault.do == "entry-status" and fault.entry == number:
                return fault.status
            self._entries += 1
            every = self.ways.throttle_entry_every
            return 429 if every and self._entries % every == 0 else 0

        if kind == "transaction":
            answers = bundles.transaction(visit, entries, commit)
        else:
            answers = bundles.batch(visit, entries, commit, status_of)
        return Reply(200, {"resourceType": "Bundle", "type": f"{kind}-response", "entry": answers})

    def _commit(self, effects: list[Effect], request: Request) -> list[Commit | None]:
        changes = [one.change for one in effects if one.change is not None]
        made = iter(self.store.commit(changes, request.number) if changes else ())
        return [next(made) if one.change is not None else None for one in effects]

    def _rendered(self, effect: Effect, made: Commit | None = None) -> Reply:
        commit = made or effect.held
        assert commit is not None
        version = f"/_history/{commit.version}" if self.ways.location_has_version else ""
        headers = {"ETag": f'W/"{commit.version}"'}
        if made is not None or effect.status == 201 or effect.unchanged:
            headers["Location"] = f"{self.base}/{commit.type}/{commit.id}{version}"
        if made is not None and not self.ways.answers_with_body:
            return Reply(effect.status, None, {"Location": headers["Location"]})
        return Reply(effect.status, commit.body, headers)


def _resource(request: Request) -> Tree:
    try:
        return parse_object(request.body)
    except JsonError:
        raise Refusal(400, "the body is not a resource in JSON") from None


def _instead(fault: Fault) -> Reply:
    if fault.do == "html":
        return Reply(200, PAGE, content_type="text/html")
    if fault.do == "cut":
        return Reply(200, ending="none")
    headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
    return Reply(fault.status, outcome(fault.code, fault.text), headers)


def _spoilt(fault: Fault, reply: Reply) -> Reply:
    if fault.do in ("status-after", "html-after", "cut-after"):
        return _instead(replace(fault, do=fault.do.removesuffix("-after")))
    if fault.do in ("truncate", "repeat"):
        return replace(reply, ending={"truncate": "half", "repeat": "twice"}[fault.do])
    if fault.do == "empty":
        return replace(reply, body=None)
    entries = reply.body.get("entry") if isinstance(reply.body, dict) else None
    if not entries or fault.do not in ("reorder", "drop-entry", "double-entry"):
        return reply
    assert isinstance(reply.body, dict)
    at = fault.entry % len(entries)
    changed = {
        "reorder": entries[::-1],
        "drop-entry": entries[:at] + entries[at + 1 :],
        "double-entry": [*entries[: at + 1], *entries[at:]],
    }[fault.do]
    return replace(reply, body={**reply.body, "entry": changed})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Http

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:
            # Cut off in the middle of the request: nobody to answer, nothing to do.
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        if self.path.startswith("/lab/"):
            reply = Reply(*control(self.server.faults, self.command, self.path.removeprefix("/lab/"), body))
        else:
            path = self.path.removeprefix("/fhir").lstrip("/")
            reply = self.server.faults.answer(Request(self.command, path, headers, body))
        self._send(reply)

    def _send(self, reply: Reply) -> None:
        if reply.ending == "none":
            self.close_connection = True
            return
        data = reply.body if isinstance(reply.body, bytes) else b"" if reply.body is None else dump(reply.body)
        for _ in range(2 if reply.ending == "twice" else 1):
            self.send_response(reply.status)
            if data:
                self.send_header("Content-Type", reply.content_type)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if reply.ending == "half" else data)
        # After a broken or doubled reply nothing on this connection can be understood.
        self.close_connection = self.close_connection or reply.ending != "whole"

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815 - names that the base class looks for

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        return


class _Http(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def __init__(self, faults: FaultServer, port: int) -> None:
        self.faults = faults
        super().__init__(("127.0.0.1", port), _Handler)
        faults.base = f"http://127.0.0.1:{self.server_address[1]}/fhir"

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients that hang up or are killed are what this is for.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serving(server: FaultServer, port: int = 0) -> Iterator[FaultServer]:
    """Serve on a loopback port in threads of this process."""
    with _Http(server, port) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.going_on.set()
            http.shutdown()
            thread.join()
            server.store.close()


def main(arguments: list[str] | None = None) -> None:
    """Serve until a signal ends it; the first line printed is the base address."""
    parser = argparse.ArgumentParser(description="a FHIR server that misbehaves on request")
    parser.add_argument("--log", type=Path, required=True, help="commit log, continued when it exists")
    parser.add_argument("--personality", choices=sorted(PERSONALITIES), default="strict")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="change the personality")
    parser.add_argument("--release", choices=["r4", "r4b", "r5"], default="r4")
    parser.add_argument("--lie", choices=LIES, default="", help="what its CapabilityStatement is like")
    parser.add_argument("--behind", type=int, default=0, help="acknowledged transactions that a kill loses")
    parser.add_argument("--lag", type=int, default=0, help="requests until a search knows of a write")
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args(arguments)
    ways = personality(given.personality, dict(one.split("=", 1) for one in given.set))
    server = FaultServer(given.log, ways, release=given.release, lie=given.lie, behind=given.behind, lag=given.lag)
    with _Http(server, given.port) as http:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        sys.stdout.write(f"{server.base}\n")
        sys.stdout.flush()
        try:
            http.serve_forever(poll_interval=0.05)
        finally:
            server.store.close()


if __name__ == "__main__":
    main()
