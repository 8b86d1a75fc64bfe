"""The two requests that getting a token takes: the server's SMART configuration, and the token itself.

Neither carries patient data, and neither follows a redirect. Of an endpoint's words only the error code is kept, if it
is one of RFC 6749; what it describes may hold anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Protocol
from urllib.parse import urlencode

from fhirbridge.client.auth.token import Token, read_token
from fhirbridge.client.auth.trouble import SHORTEST, Trouble, refused
from fhirbridge.client.patience import retry_after
from fhirbridge.errors import SiteUnreachable, SiteUntrusted
from fhirbridge.fhir.json import Json

_ENDPOINT = "the token endpoint"
_FORM = "application/x-www-form-urlencoded"
_BUSY = frozenset({425, 429, 503})
# A gateway that had no time, or a timeout on the way: the endpoint itself has judged nothing.
_AWAY = frozenset({408})
# RFC 6749 §5.2 and §4.1.2.1, with what to do about each.
_HINTS = {
    "invalid_client": "check client_id, and that the hospital has this key (fhirbridge keys jwks) or secret",
    "unauthorized_client": "the hospital has to allow client credentials for this client",
    "invalid_scope": "set scope to what the hospital has granted",
    "invalid_grant": "does the hospital have this key?",
    "invalid_request": "check token_url and scope",
    "unsupported_grant_type": "the endpoint does not know client credentials: check token_url",
    "access_denied": "the hospital has to allow this client",
}
_PASSING = frozenset({"temporarily_unavailable", "server_error"})


class Answered(Protocol):
    """What came back: the status, the headers by lower-case names, the JSON of the body."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def tree(self) -> Json: ...


class Exchange(Protocol):
    """Connections to anywhere that add no credential: :class:`fhirbridge.client.channel.Channel`."""

    def exchange(self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None) -> Answered:
        """One request and its answer, whatever its status. Raises :class:`SiteUnreachable`, :class:`SiteUntrusted`."""
        ...


def ask(
    channel: Exchange, method: str, url: str, what: str, body: bytes | None, more: Mapping[str, str]
) -> Answered | Trouble:
    """Send one request; ``what`` it is meant for is said in the trouble."""
    headers = {"Accept": "application/json", **more}
    try:
        return channel.exchange(method, url, headers=headers, body=body)
    except SiteUnreachable as error:
        return Trouble("away", error.code, f"{what}: {error.message}", error.hint)
    except SiteUntrusted as error:
        if error.code == "site.redirect":
            return refused(error.code, f"{what} sends elsewhere", "put the final address into token_url")
        return Trouble("away", error.code, f"{what}: {error.message}", error.hint)


def ask_token(
    channel: Exchange, url: str, form: Mapping[str, str], headers: Mapping[str, str], *, now: float, started: float
) -> Token | Trouble:
    """Ask for a token; ``now`` in epoch seconds and ``started`` of ``time.monotonic`` are the same moment."""
    body = urlencode(form).encode("ascii")
    answer = ask(channel, "POST", url, _ENDPOINT, body, {"Content-Type": _FORM, **headers})
    if isinstance(answer, Trouble):
        return answer
    trouble = trouble_in(answer, _ENDPOINT, now)
    if trouble is not None:
        return trouble
    token = read_token(answer.tree, started)
    if token is None:
        return Trouble("away", "site.token_answer", "the token endpoint answered without a token that can be used")
    return token


def trouble_in(answer: Answered, what: str, now: float) -> Trouble | None:
    """What an answer says is wrong; ``None`` if it says success. ``what`` it came from is said in the trouble."""
    error = _error_in(answer.tree)
    if answer.status in _BUSY:
        until = retry_after(answer.headers.get("retry-after"), now).until
        wait = max((until or now) - now, SHORTEST)
        said = f"{what} asks for patience (status {answer.status})"
        return Trouble("busy", "site.token_busy", said, "try again later", wait)
    if answer.status >= 500 or answer.status in _AWAY or error in _PASSING:
        said = f"{what} failed (status {answer.status})"
        return Trouble("away", "site.token_failed", said, "try again later")
    if answer.status >= 400 or error is not None:
        word = error or "no reason given"
        said = f"{what} refused (status {answer.status}, {word})"
        hint = _HINTS.get(word, "ask the hospital")
        date = _date(answer.headers.get("date"))
        return Trouble("refused", "site.token_refused", said, hint, refusal=word, date=date)
    return None


def _error_in(tree: Json) -> str | None:
    """The error code of an answer, if it has one and no token: those of RFC 6749 as they are, all else "other"."""
    if not isinstance(tree, dict) or "error" not in tree or "access_token" in tree:
        return None
    said = tree["error"]
    return said if isinstance(said, str) and (said in _HINTS or said in _PASSING) else "other"


def _date(header: str | None) -> float | None:
    try:
        return parsedate_to_datetime(header).timestamp() if header is not None else None
    except (ValueError, OverflowError):
        return None
