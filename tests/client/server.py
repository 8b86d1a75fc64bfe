"""A small FHIR server on a loopback port that keeps a log and misbehaves on request."""

from __future__ import annotations

import json
import re
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

Tree = dict[str, Any]
FHIR = "application/fhir+json"


@dataclass
class Reply:
    """What to answer; ``cut`` closes the connection instead, after ``body``."""

    status: int = 200
    body: bytes | Tree = b""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = FHIR
    cut: bool = False


@dataclass
class Request:
    """What was asked; ``path`` is below the base address."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def tree(self) -> Tree:
        tree: Tree = json.loads(self.body)
        return tree


class FakeServer:
    """Stores what is PUT, in transactions and batches. ``misbehave`` may answer a request in the server's place."""

    def __init__(self) -> None:
        self.resources: dict[str, list[Tree]] = {}
        self.requests: list[Request] = []
        self.misbehave: Callable[[Request], Reply | None] = lambda request: None
        self.refuses: Callable[[Tree], bool] = lambda resource: False
        self.system = ["transaction", "batch"]
        self.base = ""

    @property
    def writes(self) -> list[Tree]:
        """Every bundle with a PUT in it, as it came."""
        return [
            one.tree
            for one in self.requests
            if one.method == "POST" and one.path == "" and one.tree["entry"][0]["request"]["method"] == "PUT"
        ]

    def put(self, resource: Tree) -> int:
        """Store a resource; the number of its version."""
        versions = self.resources.setdefault(f"{resource['resourceType']}/{resource['id']}", [])
        number = len(versions) + 1
        meta = {**resource.get("meta", {}), "versionId": str(number)}
        versions.append({**resource, "meta": meta})
        return number

    def answer(self, request: Request) -> Reply:
        """The answer to one request."""
        self.requests.append(request)
        reply = self.misbehave(request)
        return self.behave(request) if reply is None else reply

    def behave(self, request: Request) -> Reply:
        """What a good server answers."""
        path, _, query = request.path.partition("?")
        if path == "metadata":
            interaction = [{"code": code} for code in self.system]
            rest = [{"mode": "server", "interaction": interaction}]
            return Reply(body={"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": rest})
        if request.method == "POST" and path == "":
            return self._bundle(request.tree)
        if path.endswith("/_search") or "/" not in path:
            sought = parse_qs(request.body.decode() or query)
            return self._search(path.partition("/")[0], sought)
        if request.method == "PUT":
            version = self.put(request.tree)
            headers = {"ETag": f'W/"{version}"', "Location": f"{self.base}/{path}/_history/{version}"}
            return Reply(201 if version == 1 else 200, self.resources[path][-1], headers)
        found = self.resources.get(path)
        return Reply(body=found[-1]) if found else Reply(404, outcome("not-found"))

    def _search(self, resource_type: str, sought: dict[str, list[str]]) -> Reply:
        wanted = re.sub(r"\\(.)", r"\1", sought.get("identifier", [""])[0]).partition("|")
        found = [
            versions[-1]
            for address, versions in sorted(self.resources.items())
            if address.startswith(f"{resource_type}/")
            and (
                not wanted[2]
                or any((one.get("system"), one["value"]) == wanted[::2] for one in versions[-1].get("identifier", ()))
            )
        ]
        entries = [{"resource": one, "search": {"mode": "match"}} for one in found]
        return Reply(body={"resourceType": "Bundle", "type": "searchset", "entry": entries})

    def _bundle(self, bundle: Tree) -> Reply:
        refused = [self.refuses(entry.get("resource", {})) for entry in bundle["entry"]]
        if bundle["type"] == "transaction" and any(refused):
            return Reply(400, outcome("processing"))
        entries = []
        for entry, no in zip(bundle["entry"], refused, strict=True):
            url = entry["request"]["url"]
            if entry["request"]["method"] == "GET":
                found = self.resources.get(url)
                entries.append(
                    {"response": {"status": "200"}, "resource": found[-1]} if found else {"response": {"status": "404"}}
                )
            elif no:
                entries.append({"response": {"status": "400", "outcome": outcome("processing")}})
            else:
                version = self.put(entry["resource"])
                status = "201 Created" if version == 1 else "200 OK"
                # Relative, and an ETag without quotes, as HAPI has it.
                entries.append(
                    {"response": {"status": status, "location": f"{url}/_history/{version}", "etag": str(version)}}
                )
        return Reply(body={"resourceType": "Bundle", "type": f"{bundle['type']}-response", "entry": entries})


def outcome(code: str, diagnostics: str = "HAPI-0532: Zebulon Canary was refused", **more: Any) -> Tree:
    """An OperationOutcome that quotes a patient's name, as servers do."""
    issue = {"severity": "error", "code": code, "diagnostics": diagnostics, **more}
    return {"resourceType": "OperationOutcome", "issue": [issue]}


@contextmanager
def serving(server: FakeServer, tls: ssl.SSLContext | None = None) -> Iterator[FakeServer]:
    """Serve on a free loopback port below ``/fhir``; with ``tls`` as ``https://localhost``."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Else the body waits for the client's word on the head, which takes its time.
        disable_nagle_algorithm = True

        def _handle(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            if len(body) < length:
                # Who hung up halfway has asked nothing.
                self.close_connection = True
                return
            path = self.path.removeprefix("/fhir").lstrip("/")
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = server.answer(Request(self.command, path, headers, body))
            data = json.dumps(reply.body).encode() if isinstance(reply.body, dict) else reply.body
            if reply.cut:
                self.wfile.write(data)
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in {"Content-Type": reply.content_type, "Content-Length": str(len(data))}.items():
                if name not in reply.headers:
                    self.send_header(name, value)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815 - names that the base class looks for

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            return

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            # A client that hangs up on an oversized answer does what it should.
            if not isinstance(sys.exception(), ConnectionError):
                super().handle_error(request, client_address)

    with Quiet(("127.0.0.1", 0), Handler) as http:
        host = "http://127.0.0.1" if tls is None else "https://localhost"
        server.base = f"{host}:{http.server_address[1]}/fhir"
        if tls is not None:
            http.socket = tls.wrap_socket(http.socket, server_side=True)
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
