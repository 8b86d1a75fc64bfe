"""OAuth 2.0 client credentials (RFC 6749 §4.4): a client's id and secret for a token that lives for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote_plus

from fhirbridge.client.auth.asked import unavailable
from fhirbridge.client.auth.authorization import basic
from fhirbridge.client.auth.endpoint import Exchange, ask_token
from fhirbridge.client.auth.notice import Notice, Once, Tell, log
from fhirbridge.client.auth.renewed import Renewed
from fhirbridge.client.auth.scope import missing
from fhirbridge.client.auth.token import Token
from fhirbridge.client.auth.trouble import Trouble
from fhirbridge.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Registered:
    """What a client and the hospital have agreed on. ``post``: the secret goes in the body, not in a header."""

    client_id: str
    token_url: str
    scope: str | None = None
    post: bool = False


class ClientCredentials(Renewed):
    """``secret`` is asked at each token request, so that a new one needs no new start; it may raise
    :class:`ConfigError`, and is asked here once, so that a missing one is told at once.

    ``clock`` gives epoch seconds, ``monotonic`` seconds that never go back; ``tell`` hears warnings.
    """

    def __init__(
        self,
        channel: Exchange,
        registered: Registered,
        secret: Callable[[], str],
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        tell: Tell = log,
    ) -> None:
        super().__init__(monotonic)
        secret()
        self._channel, self._registered, self._secret = channel, registered, secret
        self._clock, self._tell = clock, Once(tell)

    def _fetch(self) -> Token | Trouble:
        ours = self._registered
        try:
            secret = self._secret()
        except ConfigError as error:
            away = unavailable(error)
            return Trouble("away", away.code, away.message, away.hint)
        form, headers = {"grant_type": "client_credentials"}, {}
        if ours.scope is not None:
            form["scope"] = ours.scope
        if ours.post:
            form |= {"client_id": ours.client_id, "client_secret": secret}
        else:
            # RFC 6749 §2.3.1: both are form-encoded before they are put together.
            headers["Authorization"] = basic(quote_plus(ours.client_id), quote_plus(secret))
        token = ask_token(self._channel, ours.token_url, form, headers, now=self._clock(), started=self._monotonic())
        if isinstance(token, Token):
            compare(ours.scope, token, self._tell)
        return token


def compare(asked: str | None, token: Token, tell: Tell) -> None:
    """Warn where less was granted than was asked for: what is missing will be refused when it is needed."""
    left = missing(asked, token.granted) if asked is not None and token.granted is not None else ()
    if left:
        hint = "ask the hospital to grant it, or set scope"
        tell(Notice("site.scope", f"the token does not allow {' '.join(left)}", hint))
