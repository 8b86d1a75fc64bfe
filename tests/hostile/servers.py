"""Servers that answer with bombs: raw sockets, so that they may do what no HTTP server does."""

from __future__ import annotations

import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Script: TypeAlias = Callable[[socket.socket, int], None]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\n"


@contextmanager
def serving(script: Script) -> Iterator[str]:
    """Have every request answered by ``script``, which is given the connection and the number of the request; the base
    address. Who hangs up ends the script."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        count = iter(range(1, 10**9))

        def converse(sock: socket.socket) -> None:
            with sock:
                try:
                    while _heard(sock):
                        script(sock, next(count))
                except OSError:
                    pass  # the client has had enough

        def accept() -> None:
            try:
                while True:
                    threading.Thread(target=converse, args=(listener.accept()[0],), daemon=True).start()
            except OSError:
                pass  # closed

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/fhir"
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def _heard(sock: socket.socket) -> bool:
    told = b""
    while b"\r\n\r\n" not in told:
        block = sock.recv(65_536)
        if not block:
            return False
        told += block
    return True


def endlessly(sock: socket.socket, head: bytes, block: bytes) -> None:
    """A head, and one block again and again."""
    sock.sendall(head)
    while True:
        sock.sendall(block)


def whole(sock: socket.socket, body: bytes, head: bytes = HEAD) -> None:
    """A proper answer."""
    sock.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)


def zipped(sock: socket.socket, size: int, prefix: bytes = b'{"a":"', layers: int = 1) -> None:
    """A gzip that unpacks to ``prefix`` and ``size`` letters, sent as it is made; a second layer is gzip in gzip.

    A megabyte is packed once and then repeated, which deflate allows after a full flush, so it costs next to nothing.
    """
    head = HEAD + b"Content-Encoding: gzip\r\n"
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    start = packer.compress(prefix) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(b"a" * (1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    if layers == 1:
        sock.sendall(head + b"\r\n" + start)
        for _ in range(size >> 20):
            sock.sendall(block)
        return
    outer = zlib.compressobj(9, zlib.DEFLATED, 31)
    whole(sock, outer.compress(start + block * (size >> 20)) + outer.flush(), head)


def members(sock: socket.socket) -> None:
    """One empty gzip member after the other."""
    empty = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0" + struct.pack("<LL", 0, 0)
    endlessly(sock, HEAD + b"Content-Encoding: gzip\r\n\r\n", empty * 4_096)
