"""A session of requests whose connections are ours: it keeps those that may be used again, and nothing else."""

from __future__ import annotations

import functools
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import Retry

from fhirbridge.client.bounded import Connection, Route, SecureConnection

# As many as work for a site at one time, and no more sockets than that stay open at a server.
_MOST_IDLE = 32
_MOST_SITES = 32


class Session(requests.Session):
    """Sends what was prepared, over the connections of a ``route``: once, to that address, adding nothing to it."""

    def __init__(self, route: Route) -> None:
        super().__init__()
        self.trust_env = False
        self.headers.clear()
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        self.adapters.clear()
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter(route))

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nowhere. Where a redirect is not to be followed, requests would read and unpack its whole body all the
        same, to prepare the request that nobody wants."""


class _Adapter(HTTPAdapter):
    def __init__(self, route: Route) -> None:
        self._route = route
        super().__init__(_MOST_SITES, _MOST_IDLE, max_retries=Retry(0, read=False))

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        super().init_poolmanager(*args, **more)
        self.poolmanager.pool_classes_by_scheme = {
            "http": functools.partial(_Pool, route=self._route),
            "https": functools.partial(_SecurePool, route=self._route),
        }

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Look for no file of certificates: the connections have their own TLS, which is always checked."""


class _Keeping:
    """What the pools of both schemes do with a connection that comes back."""

    def _put_conn(self, conn: Any) -> None:
        # Who takes it looks again, but until then one that is spoilt should hold no socket.
        if conn is not None and not conn.is_connected:
            conn.close()
        super()._put_conn(conn)  # type: ignore[misc]


class _Pool(_Keeping, HTTPConnectionPool):
    # What a pool is given and does not know it gives to its connections, as it does with the route.
    ConnectionCls = Connection


class _SecurePool(_Keeping, HTTPSConnectionPool):
    ConnectionCls = SecureConnection
