"""A bearer token that somebody else obtains and keeps in a place: a file, a keyring, a command that prints it."""

from __future__ import annotations

import base64
import binascii
import threading
import time
from collections.abc import Callable, Mapping

from fhirbridge.client.auth.sealed import Sealed
from fhirbridge.errors import ConfigError, JsonError, SiteUnreachable
from fhirbridge.fhir.json import parse_object

_UNAUTHORIZED = 401
# Seconds. Before its end a token is asked for anew; but a place is not asked more often than this, as it may be a
# command that takes its time.
_MARGIN = 30.0
_BETWEEN_LOOKS = 10.0


class _Mine(threading.local):
    """The token that this thread sent last."""

    token = ""


class AskedBearer(Sealed):
    """``ask`` looks at the place and may raise :class:`ConfigError`, which the first look, made here, hands on.

    The place is looked at again when the token is a JWT whose time is over, and after a 401.
    """

    def __init__(
        self,
        ask: Callable[[], str],
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._clock, self._monotonic = clock, monotonic
        self._lock = threading.Lock()
        self._mine = _Mine()
        self._token = ask()
        self._ends = expiry(self._token)
        self._looked: float | None = None

    def headers(self) -> Mapping[str, str]:
        """The ``Authorization`` header."""
        with self._lock:
            if self._ends is not None and self._clock() > self._ends - _MARGIN:
                self._look()
            token = self._mine.token = self._token
        return {"Authorization": f"Bearer {token}"}

    def refused(self, status: int) -> bool:
        """Whether there is another token in the place by now."""
        if status != _UNAUTHORIZED:
            return False
        with self._lock:
            if self._token == self._mine.token:
                self._look()
            return self._token != self._mine.token

    def _look(self) -> None:
        now = self._monotonic()
        if self._looked is not None and now < self._looked + _BETWEEN_LOOKS:
            return
        self._looked = now
        try:
            self._token = self._ask()
        except ConfigError as error:
            raise unavailable(error) from None
        self._ends = expiry(self._token)


def unavailable(error: ConfigError) -> SiteUnreachable:
    """A secret that was there when the work began and now is not: the site waits, no record is the worse for it."""
    said = f"a secret cannot be read any more: {error.message}"
    return SiteUnreachable(said, sent=False, code="site.secret", hint=error.hint)


def expiry(token: str) -> float | None:
    """When a token ends, in epoch seconds, if it is a JWT that says so; its signature is the server's affair."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = parse_object(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError, JsonError):
        return None
    ends = claims.get("exp")
    return float(ends) if isinstance(ends, int) and not isinstance(ends, bool) else None
