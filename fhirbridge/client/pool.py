"""Connections that wait for the next request, by scheme, host and port."""

from __future__ import annotations

import threading
import weakref
from collections import defaultdict
from typing import TypeAlias

from fhirbridge.client.bounded import Connection
from fhirbridge.client.network import Network
from fhirbridge.client.tls import Security, Tls

_Idle: TypeAlias = defaultdict[tuple[str, str, int], list[Connection]]
# As many as work for a site at one time, and no more sockets than that stay open at a server.
_MOST_IDLE = 32


class Pool:
    """Makes connections and keeps those that may be used again; for any number of threads.

    Raises :class:`ConfigError` where the certificates cannot be used.
    """

    def __init__(self, tls: Tls, network: Network, timeout: float) -> None:
        self._tls, self._network, self._timeout = tls, network, timeout
        # What the configuration names is read at once, so that a fault is told at once; the system's authorities, which
        # take a while, only where they are needed.
        self._security = None if tls == Tls() else Security(tls)
        self._lock = threading.Lock()
        self._idle: _Idle = defaultdict(list)
        # Who forgets to close leaves no open sockets behind.
        weakref.finalize(self, _close, self._idle)

    def take(self, scheme: str, host: str, port: int) -> Connection:
        """A connection of one's own: one that still stands, else a new one, which connects when it is used."""
        while True:
            with self._lock:
                idle = self._idle[scheme, host, port]
                connection = idle.pop() if idle else None
            if connection is None:
                return Connection(host, port, self._network, self._secured(scheme), self._timeout)
            if not connection.dropped:
                return connection
            connection.close()

    def _secured(self, scheme: str) -> Security | None:
        if scheme != "https":
            return None
        with self._lock:
            if self._security is None:
                self._security = Security(self._tls)
            return self._security

    def give(self, scheme: str, host: str, port: int, connection: Connection) -> None:
        """Give back a connection whose answer was read to its end."""
        with self._lock:
            idle = self._idle[scheme, host, port]
            if len(idle) < _MOST_IDLE:
                idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close those that wait. Who is at work closes his own."""
        with self._lock:
            _close(self._idle)


def _close(idle: _Idle) -> None:
    while idle:
        for one in idle.popitem()[1]:
            one.close()
