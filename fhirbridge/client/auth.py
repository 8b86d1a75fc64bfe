"""What a request carries to say who sends it. The one seam between the transport and any way of authorization."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Authorization(Protocol):
    """Gives the headers of one request; it is asked anew each time, so that a token may be renewed."""

    def headers(self) -> Mapping[str, str]:
        """The headers to add."""
        ...


class Anonymous:
    """A server that asks for nothing."""

    def headers(self) -> Mapping[str, str]:
        """No headers."""
        return {}


class Bearer:
    """A token that somebody else obtained."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __repr__(self) -> str:
        return "Bearer(…)"

    def headers(self) -> Mapping[str, str]:
        """The ``Authorization`` header."""
        return {"Authorization": f"Bearer {self._token}"}
