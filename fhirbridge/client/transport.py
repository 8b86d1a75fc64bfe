"""The requests to one site: only addresses inside it, with its credential, at its pace, over one guarded channel."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from fhirbridge.client.auth import Anonymous, Authorization
from fhirbridge.client.bounded import LONGEST_CONNECT
from fhirbridge.client.channel import Answer, Channel
from fhirbridge.client.network import Network
from fhirbridge.client.origin import within
from fhirbridge.errors import ConfigError
from fhirbridge.loopback import in_clear

__all__ = ["FHIR_JSON", "LONGEST_CONNECT", "Answer", "Transport"]

FHIR_JSON = "application/fhir+json"


class Transport:
    """A connection to one site. ``timeout`` is seconds between bytes, ``deadline`` seconds for a whole exchange,
    ``max_body`` bytes of an answer; a ``channel`` that is given has its own, and its own rules of the network.

    Before each request leaves, the thread that asks calls ``turn``, which keeps a pace, has the headers of the
    ``authorization`` made, and calls ``permit``, which says until when the request may leave (see :meth:`exchange`), or
    raises.
    """

    def __init__(
        self,
        base: str,
        *,
        authorization: Authorization | None = None,
        channel: Channel | None = None,
        timeout: float = 30.0,
        deadline: float = 600.0,
        max_body: int = 64 * 2**20,
    ) -> None:
        self.base = base.rstrip("/")
        self._authorization = authorization or Anonymous()
        self._in_clear = in_clear(self.base)
        self._channel = channel or Channel(
            network=Network().trusting(self.base), timeout=timeout, deadline=deadline, max_body=max_body
        )
        self.turn: Callable[[], object] | None = None
        self.permit: Callable[[], float | None] | None = None

    def close(self) -> None:
        """Close the connections."""
        self._channel.close()

    def exchange(
        self,
        method: str,
        address: str,
        *,
        body: bytes | None = None,
        content_type: str = FHIR_JSON,
        headers: Mapping[str, str] | None = None,
        not_after: float | None = None,
    ) -> Answer:
        """Send one request and read its answer, whatever its status.

        ``address`` is absolute or relative to the base. No block of the request begins to leave after ``not_after``
        (``time.monotonic``); whoever gives it has waited for the turn and asked for the permit. Where the site answers
        401 and the authorization has another credential at hand, the request goes once more, under the same rules.

        Raises :class:`SiteUntrusted` (foreign address, redirect, too large, not JSON) and :class:`SiteUnreachable`,
        whose ``sent`` tells whether the server may have acted; and whatever ``permit`` and the authorization raise.
        """
        url = within(self.base, address)
        full = {"Accept": FHIR_JSON, "Cache-Control": "no-cache"}
        if body is not None:
            full["Content-Type"] = content_type
        full |= headers or {}
        answer = self._sent(method, url, full, body, not_after)
        if answer.status == 401 and self._authorization.refused(401) and not _is_over(not_after):
            answer = self._sent(method, url, full, body, not_after)
        return answer

    def _sent(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, not_after: float | None
    ) -> Answer:
        if not_after is None and self.turn is not None:
            self.turn()
        # A token may have to be fetched first, so the permit is asked for after that.
        credential = self._authorization.headers()
        if credential and self._in_clear:
            raise ConfigError("credentials would travel unencrypted", code="config.token_in_clear", hint="use https")
        if not_after is None and self.permit is not None:
            not_after = self.permit()
        return self._channel.exchange(method, url, headers={**headers, **credential}, body=body, not_after=not_after)


def _is_over(moment: float | None) -> bool:
    return moment is not None and time.monotonic() > moment
