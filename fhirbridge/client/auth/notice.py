"""What a way of authorization has to say beside its headers: warnings, of codes and of our own settings only."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

_LOG = logging.getLogger("fhirbridge.auth")


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning: ``code`` is stable, ``hint`` says what to do."""

    code: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        advice = f" ({self.hint})" if self.hint else ""
        return f"{self.message} [{self.code}]{advice}"


Tell: TypeAlias = Callable[[Notice], object]


def log(notice: Notice) -> None:
    """Write a notice to the log ``fhirbridge.auth``; on standard error where nobody set up a log."""
    _LOG.warning("%s", notice)


class Once:
    """Hands on each notice once: a token is fetched every few minutes, and nothing new is to be said of it."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._told: set[Notice] = set()

    def __call__(self, notice: Notice) -> None:
        if notice not in self._told:
            self._told.add(notice)
            self._tell(notice)
