"""Who hears of every request to a site before its first byte leaves, and of how it ended."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

REQUEST_ID = "X-Request-Id"


@dataclass(frozen=True, slots=True)
class Request:
    """What is about to be asked. ``address`` is absolute or below the base; ``inside`` are method and address of each
    entry of a bundle, where it is one."""

    method: str
    address: str = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    inside: Iterable[tuple[str, str]] = field(default=(), repr=False)


class Announced(Protocol):
    """A request that was announced: its ``X-Request-Id``, and where its end is told."""

    @property
    def id(self) -> str:
        """The value of the header."""

    def ended(self, status: int | None, code: str = "") -> None:
        """Hear the status of the answer; ``None`` where there was none that counts, and the code of the error."""


class Witness(Protocol):
    """Hears of requests; may be asked by several threads."""

    def asks(self, request: Request) -> Announced:
        """Hear of a request before it leaves. Whatever this raises, nothing leaves."""


@dataclass(frozen=True, slots=True)
class _Unheard:
    id: str

    def ended(self, status: int | None, code: str = "") -> None:
        """See :class:`Announced`."""


class Nobody:
    """Hears nothing; requests have their ids all the same."""

    def asks(self, request: Request) -> Announced:
        """See :class:`Witness`."""
        return _Unheard(str(uuid.uuid4()))
