"""What a request carries to say who sends it. The one seam between the transport and any way of authorization."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Protocol

from fhirbridge.client.auth.sealed import Sealed


class Authorization(Protocol):
    """Gives the headers of one request; shared by threads, and asked anew each time, so that a token may be renewed."""

    def headers(self) -> Mapping[str, str]:
        """The headers to add.

        May raise :class:`SiteRefused` and :class:`SiteUnreachable` where a token has to be had first: nothing of the
        request has left then, whatever it was.
        """
        ...

    def refused(self, status: int) -> bool:
        """The server answered ``status`` to the request that this thread sent last.

        True if another credential is at hand now, so that the request may go once more. Raises as :meth:`headers`.
        """
        ...


class Anonymous:
    """A server that asks for nothing."""

    def headers(self) -> Mapping[str, str]:
        """No headers."""
        return {}

    def refused(self, status: int) -> bool:
        """There is nothing else to offer."""
        return False


class Bearer(Sealed):
    """A token that somebody else obtained, the same for good."""

    def __init__(self, token: str) -> None:
        self._token = token

    def headers(self) -> Mapping[str, str]:
        """The ``Authorization`` header."""
        return {"Authorization": f"Bearer {self._token}"}

    def refused(self, status: int) -> bool:
        """There is no other token."""
        return False


class Basic(Sealed):
    """A user and a password (RFC 7617), as UTF-8. The user's name has no colon in it."""

    def __init__(self, user: str, password: str) -> None:
        self._headers = {"Authorization": basic(user, password)}

    def headers(self) -> Mapping[str, str]:
        """The ``Authorization`` header."""
        return self._headers

    def refused(self, status: int) -> bool:
        """There is no other password."""
        return False


def basic(user: str, password: str) -> str:
    """The value of an ``Authorization`` header for a user and a password."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode('ascii')}"
