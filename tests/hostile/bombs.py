"""Answers and files that cost little to send and much to take: what each costs here.

    python -m tests.hostile.bombs            a table; exit code 1 where one is not refused within 2 s and 64 MiB
    python -m tests.hostile.bombs NAME …     only these

Each goes off in a process of its own, in which a few good requests have been made before; counted are the seconds until
it is refused, and how far the largest resident size lay above that before. All limits are
those that a site has if nothing is set. Linux only: the size is read from /proc.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from fhirbridge.client.body import Caps
from fhirbridge.client.channel import Channel
from fhirbridge.client.network import Network
from fhirbridge.client.paging import pages
from fhirbridge.client.rest import Client
from fhirbridge.client.transport import Transport
from fhirbridge.errors import FhirbridgeError, SourceError
from fhirbridge.fhir.json import parse
from fhirbridge.sources.documents import from_lines
from tests.hostile import servers
from tests.hostile.servers import HEAD, Script, endlessly, serving, whole, zipped

MOST_SECONDS = 2.0
MOST_BYTES = 64 * 2**20
_CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
_NDJSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+ndjson\r\n"
_GIB = 1 << 30
Use: TypeAlias = Callable[[str], object]


@dataclass(frozen=True)
class Bomb:
    """``script`` answers, ``use`` takes the answer, and a code out of ``codes`` has to refuse it."""

    script: Script
    codes: frozenset[str]
    use: Use


def read(base: str) -> object:
    """One exchange."""
    transport = Transport(base, timeout=5)
    try:
        return transport.exchange("GET", "Patient/1").tree
    finally:
        transport.close()


def search(base: str) -> object:
    """A search with all its pages."""
    transport = Transport(base, timeout=5)
    client = Client(transport)
    try:
        return sum(1 for _ in pages(client, client.search("Patient", {})))
    finally:
        transport.close()


def download(base: str) -> object:
    """A file of NDJSON, which may be far larger than memory."""
    channel = Channel(network=Network().trusting(base), timeout=5)
    try:
        caps = Caps(packed=1 << 40, unpacked=1 << 40)
        with channel.lines(f"{base}/file", headers={}, caps=caps, deadline=60) as lines:
            return sum(1 for _ in lines)
    finally:
        channel.close()


def says(body: bytes) -> Script:
    """A server that answers just that."""
    return lambda sock, number: whole(sock, body)


def packed(name: bytes) -> Script:
    """A server that names an encoding."""
    return lambda sock, number: whole(sock, b"x" * 1000, HEAD + b"Content-Encoding: " + name + b"\r\n")


def paged(link: Callable[[int], str], entries: list[Any]) -> Script:
    """A server whose pages go on."""

    def script(sock: socket.socket, number: int) -> None:
        links = [{"relation": "next", "url": link(number)}]
        body = {"resourceType": "Bundle", "type": "searchset", "link": links, "entry": entries}
        whole(sock, json.dumps(body).encode())

    return script


_SAME = [{"resource": {"resourceType": "Patient", "id": "1"}}]


def _bombs() -> dict[str, Bomb]:
    large, broken = frozenset({"site.too_large"}), frozenset({"site.broken_json"})
    encoding, loop = frozenset({"site.encoding"}), frozenset({"site.page_loop"})
    return {
        "1 GiB in gzip": Bomb(lambda sock, _: zipped(sock, _GIB), large, read),
        "1 GiB of zeros in gzip": Bomb(lambda sock, _: zipped(sock, _GIB, b"\0"), large, read),
        "1 GiB in gzip in gzip": Bomb(lambda sock, _: zipped(sock, _GIB, layers=2), broken, read),
        "empty gzip members": Bomb(lambda sock, _: servers.members(sock), large, read),
        **{
            f"encoding {one}": Bomb(packed(one.encode()), encoding, read)
            for one in ("gzip, gzip", "deflate", "br", "zstd", "compress", "x-gzip", "identity, gzip", "gzip;q=1")
        },
        "depth of 1e6": Bomb(says(b"[" * 10**6), broken, read),
        "depth of 1e6 in members": Bomb(says(b'{"a":' * 10**6), broken, read),
        "1e999999999": Bomb(says(b'{"value":1e999999999}'), broken, read),
        "1e-999999999": Bomb(says(b'{"value":[1e-999999999]}'), broken, read),
        "a number of 1e6 digits": Bomb(says(b'{"value":' + b"9" * 10**6 + b"}"), broken, read),
        "a fraction of 1e6 digits": Bomb(says(b'{"value":0.' + b"9" * 10**6 + b"}"), broken, read),
        "numbers of 4300 digits": Bomb(says(b"[" + b",".join([b"9" * 4_300] * 4_000) + b"]"), broken, read),
        "Content-Length of 1e18": Bomb(
            lambda sock, _: sock.sendall(HEAD + b"Content-Length: 1" + b"0" * 18 + b"\r\n\r\n"), large, read
        ),
        "endless body": Bomb(lambda sock, _: endlessly(sock, HEAD + b'\r\n{"a":"', b"a" * 65_536), large, read),
        "endless blanks": Bomb(lambda sock, _: endlessly(sock, HEAD + b"\r\n", b" " * 65_536), large, read),
        "endless page of a proxy": Bomb(
            lambda sock, _: endlessly(sock, b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", b"<p>" * 20_000),
            frozenset({"site.not_json"}),
            read,
        ),
        "endless headers": Bomb(lambda sock, _: endlessly(sock, HEAD, b"X-A: " + b"a" * 1000 + b"\r\n"), large, read),
        "endless header": Bomb(lambda sock, _: endlessly(sock, HEAD + b"X-A: ", b"a" * 65_536), large, read),
        "endless 100 Continue": Bomb(
            lambda sock, _: endlessly(sock, b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100), large, read
        ),
        "endless chunk extension": Bomb(lambda sock, _: endlessly(sock, _CHUNKED + b"5;", b"a" * 65_536), large, read),
        "endless chunk trailer": Bomb(
            lambda sock, _: endlessly(sock, _CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-A: a\r\n" * 9_000), large, read
        ),
        "chunk of 1e18 bytes": Bomb(
            lambda sock, _: endlessly(sock, _CHUNKED + b"ffffffffffffff\r\n", b"a" * 65_536), large, read
        ),
        "chunks of one byte": Bomb(lambda sock, _: endlessly(sock, _CHUNKED, b"1\r\na\r\n" * 10_000), large, read),
        "a circle of pages": Bomb(paged(lambda n: f"Patient?page={n % 7}", _SAME), loop, search),
        "pages without an end, empty": Bomb(paged(lambda n: f"Patient?page={n}", []), loop, search),
        "pages without an end, the same": Bomb(paged(lambda n: f"Patient?page={n}", _SAME), loop, search),
        "endless line": Bomb(lambda sock, _: endlessly(sock, _NDJSON + b"\r\n", b"a" * 65_536), large, download),
        "1 GiB line in gzip": Bomb(lambda sock, _: _zipped_line(sock), large, download),
        "a file's line of 256 MiB": Bomb(lambda sock, _: None, frozenset({"source.too_long"}), _long_line),
        "a line of 1e6 brackets": Bomb(lambda sock, _: None, frozenset({"json"}), lambda base: parse(b"[" * 10**6)),
        "a line of 1e6 digits": Bomb(lambda sock, _: None, frozenset({"json"}), lambda base: parse(b"9" * 10**6)),
    }


def _zipped_line(sock: socket.socket) -> None:
    sock.sendall(_NDJSON.replace(b"\r\nC", b"\r\nContent-Encoding: gzip\r\nC", 1))
    zipped(sock, _GIB)


class _Letters(io.RawIOBase):
    """A file of one line."""

    left = 256 * 2**20

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), self.left)
        buffer[:count] = b"a" * count
        self.left -= count
        return count


def _long_line(base: str) -> object:
    for document in from_lines(io.BufferedReader(_Letters(), 1 << 16), "file"):
        if document.fault is not None:
            raise SourceError(document.fault.reason, code=document.fault.code)
    return None


BOMBS = _bombs()


@dataclass(frozen=True)
class Cost:
    """What refused a bomb, after how many seconds, and how many bytes the peak lay above what was held before."""

    name: str
    code: str
    seconds: float
    grown: int


def costs(names: Sequence[str]) -> list[Cost]:
    """Let bombs off, one after the other, in one new process; fewer than asked for where that died."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    with contextlib.ExitStack() as stack:
        good = stack.enter_context(serving(says(b'{"resourceType":"Bundle","type":"searchset"}')))
        bases = [stack.enter_context(serving(BOMBS[name].script)) for name in names]
        process = context.Process(target=_go_off, args=(names, bases, good, theirs), daemon=True)
        process.start()
        theirs.close()
        found = []
        with contextlib.suppress(EOFError):
            while len(found) < len(names) and ours.poll(60):
                found.append(ours.recv())
        process.kill()
        process.join()
        ours.close()
    return found


def _go_off(names: Sequence[str], bases: Sequence[str], good: str, pipe: Any) -> None:
    for _ in range(3):
        search(good)
    for name, base in zip(names, bases, strict=True):
        # The peak begins anew at what is held now.
        Path("/proc/self/clear_refs").write_text("5")
        before, started = _peak(), time.perf_counter()
        try:
            BOMBS[name].use(base)
            code = "taken for good"
        except FhirbridgeError as error:
            code = error.code
        pipe.send(Cost(name, code, time.perf_counter() - started, _peak() - before))


def _peak() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def main(names: list[str]) -> int:
    """Print the table; 1 where a bomb was not refused as it should be, or cost too much."""
    worst = 0
    print(f"{'bomb':34} {'refused by':18} {'seconds':>8} {'MiB':>7}")  # noqa: T201
    for name in names or BOMBS:
        (one,) = costs([name]) or [Cost(name, "nothing: it died", 0.0, 0)]
        good = one.code in BOMBS[name].codes and one.seconds <= MOST_SECONDS and one.grown <= MOST_BYTES
        worst = max(worst, int(not good))
        verdict = "" if good else "   TOO MUCH"
        print(f"{name:34} {one.code:18} {one.seconds:8.3f} {one.grown / 2**20:7.1f}{verdict}", flush=True)  # noqa: T201
    return worst


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*BOMBS, []])
    sys.exit(main(parser.parse_args().names))
